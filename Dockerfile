# The image holds what requirements-runtime.lock lists: of the bytes that the tests run with, those that pgnotary needs
# to run, and hatchling, which builds it. Nothing is compiled and nothing is fetched that has no hash in that file.
# `demo` is not for the image: it would need PostgreSQL's programs.
FROM python:3.11-slim-bookworm AS build
RUN python -m venv /opt/pgnotary
WORKDIR /src
COPY requirements-runtime.lock ./
RUN /opt/pgnotary/bin/pip install --no-cache-dir --require-hashes -r requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY proxy proxy
RUN /opt/pgnotary/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.11-slim-bookworm
# The folder belongs to the user, so that a volume mounted there does too.
RUN useradd --uid 10001 --create-home pgnotary \
    && install --directory --owner=pgnotary --group=pgnotary --mode=0700 /var/lib/pgnotary
COPY --from=build /opt/pgnotary /opt/pgnotary
ENV PATH=/opt/pgnotary/bin:$PATH
USER pgnotary
WORKDIR /var/lib/pgnotary
ENTRYPOINT ["pgnotary"]
CMD ["serve", "--config", "/var/lib/pgnotary/pgnotary.toml"]
