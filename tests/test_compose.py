"""The container files say what they must; no container is started here, since not every machine has an engine."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

TOP = Path(__file__).resolve().parent.parent
# The image's entry point is pgnotary, so that a command is a word of its command line and its arguments.
WORDS = {"serve", "requests", "verify"}
PINNED = re.compile(r"[a-z0-9./-]+:[a-z0-9][a-z0-9.-]*")

COMMENTS = (TOP / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMMENTS)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("pgnotary:")]
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in (TOP / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


# The keys of the Compose specification that the file uses, and what they hold: a type, [of each element], {key: value},
# or {"*": value} for names of our own.
SERVICE: dict[str, Any] = {
    "build": str,
    "cap_drop": [str],
    "command": [str],
    "depends_on": {"*": {"condition": str}},
    "environment": {"*": str},
    "healthcheck": {"test": [str], "interval": str, "timeout": str, "retries": int},
    "image": str,
    "network_mode": str,
    "profiles": [str],
    "read_only": bool,
    "secrets": [str],
    "security_opt": [str],
    "tmpfs": [str],
    "volumes": [str],
}
SCHEMA: dict[str, Any] = {
    "name": str,
    "services": {"*": SERVICE},
    "volumes": {"*": {}},
    "secrets": {"*": {"file": str}},
}
DURATION = re.compile(r"[1-9][0-9]*s")


def misfits(value: object, schema: Any, where: str = "") -> Iterator[str]:
    """Yield where `value` is not what a schema says."""
    if isinstance(schema, dict) and isinstance(value, dict):
        for key, inner in value.items():
            if key in schema or "*" in schema:
                yield from misfits(inner, schema.get(key, schema.get("*")), f"{where}.{key}")
            else:
                yield f"{where}.{key}"
    elif isinstance(schema, list) and isinstance(value, list):
        for inner in value:
            yield from misfits(inner, schema[0], f"{where}[]")
    elif not (isinstance(schema, type) and type(value) is schema):
        yield where


def arguments(instruction: str) -> list[str]:
    return [rest for name, rest in INSTRUCTIONS if name == instruction]


def test_the_file_has_only_keys_of_the_specification_with_values_of_their_kinds() -> None:
    assert list(misfits(COMPOSE, SCHEMA)) == []
    for name, service in SERVICES.items():
        check = service.get("healthcheck", {})
        assert all(DURATION.fullmatch(check[key]) for key in ("interval", "timeout") if key in check), name
        assert not check or check["test"][0] in ("CMD", "CMD-SHELL"), name


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("services", "proxy", "depend_on"), {}),
        (("services", "proxy", "command"), "serve"),
        (("services", "proxy", "read_only"), "yes"),
        (("services", "postgres", "healthcheck", "retries"), "30"),
        (("services", "postgres", "volumes"), [{"data": "/"}]),
        (("secret",), {}),
        (("volumes", "data"), None),
    ],
)
def test_a_slip_in_the_file_would_be_found(path: tuple[str, ...], value: object) -> None:
    changed = deepcopy(COMPOSE)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (where,) = misfits(changed, SCHEMA)
    assert where.removesuffix("[]") == "".join(f".{key}" for key in path)


def test_the_dockerfile_has_only_instructions_that_there_are() -> None:
    assert {name for name, _ in INSTRUCTIONS} <= {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "ENTRYPOINT", "CMD"}
    for words in (*arguments("ENTRYPOINT"), *arguments("CMD")):
        assert all(isinstance(word, str) for word in json.loads(words))


def test_the_ledger_is_not_called_after_a_container_that_is_gone_tomorrow() -> None:
    (init,) = re.findall(r"#   docker compose run --rm proxy init (.*?)\n#\n", COMMENTS, re.DOTALL)
    assert "--name compose.localhost/shop " in init


def test_there_is_a_database_a_proxy_and_a_profile_for_each_of_the_three_people() -> None:
    assert set(SERVICES) == {"postgres", "proxy", "engineer", "approver", "auditor"}
    assert {name: service.get("profiles") for name, service in SERVICES.items()} == {
        "postgres": None,
        "proxy": None,
        "engineer": ["engineer"],
        "approver": ["approver"],
        "auditor": ["auditor"],
    }


def test_every_command_of_our_image_begins_with_a_word_of_pgnotary() -> None:
    assert OURS == ["proxy", "approver", "auditor"]
    assert {SERVICES[name]["command"][0] for name in OURS} == WORDS
    assert not any("entrypoint" in service for service in SERVICES.values())
    assert arguments("ENTRYPOINT") == ['["pgnotary"]']
    assert [command.startswith('["serve", ') for command in arguments("CMD")] == [True]


def test_every_container_of_ours_works_in_the_folder_that_the_others_see() -> None:
    [folder] = arguments("WORKDIR")[-1:]
    for name in OURS:
        assert SERVICES[name]["volumes"] == [f"pgnotary:{folder}"], name
    # Where `init --folder .` writes it, and where the commands look for it when they are not told.
    assert SERVICES["proxy"]["command"][1:] == ["--config", f"{folder}/pgnotary.toml"]


@pytest.mark.parametrize("name", SERVICES)
def test_no_secret_is_written_into_the_file(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        secret = re.search("PASS|SECRET|KEY|TOKEN", variable)
        assert not secret or str(value).startswith("/run/secrets/"), variable
    assert all(set(secret) == {"file"} for secret in COMPOSE["secrets"].values())
    # A URL with credentials, or a password given as a word.
    assert not re.search(r"://[^\s/@:]+:[^\s/@]+@|password=", str(SERVICES[name]), re.IGNORECASE)


def test_files_with_secrets_are_never_committed() -> None:
    ignored = (TOP / ".gitignore").read_text(encoding="utf-8").splitlines()
    for secret in COMPOSE["secrets"].values():
        assert f"/{Path(secret['file']).parent}/" in ignored


def test_postgresql_trusts_nobody_and_nothing_is_reachable_from_outside() -> None:
    assert "listen_addresses=127.0.0.1" in SERVICES["postgres"]["command"]
    assert SERVICES["postgres"]["environment"]["POSTGRES_INITDB_ARGS"] == "--auth=scram-sha-256"
    others = {service["network_mode"] for name, service in SERVICES.items() if name != "postgres"}
    assert others == {"service:postgres"}
    assert not any("ports" in service for service in SERVICES.values())


def test_only_postgresql_is_given_its_password() -> None:
    assert [name for name, service in SERVICES.items() if "secrets" in service] == ["postgres"]


def test_what_a_service_names_is_declared() -> None:
    for name, service in SERVICES.items():
        volumes = {volume.split(":")[0] for volume in service.get("volumes", [])}
        assert volumes <= set(COMPOSE["volumes"]), name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in SERVICES[needed], name


def test_images_are_pinned_to_a_tag_that_is_not_latest() -> None:
    images = [image.split()[0] for image in arguments("FROM")]
    images += [service["image"] for service in SERVICES.values()]
    assert len(images) == 2 + len(SERVICES)
    for image in images:
        assert PINNED.fullmatch(image), image
        assert not image.endswith(":latest"), image


def test_the_image_runs_as_a_user_of_its_own() -> None:
    last = len(INSTRUCTIONS) - [name for name, _ in reversed(INSTRUCTIONS)].index("FROM") - 1
    users = [rest for name, rest in INSTRUCTIONS[last:] if name == "USER"]
    assert users == ["pgnotary"]
    assert "user" not in SERVICES["proxy"]


def test_the_image_installs_only_what_the_lock_file_has_hashes_for() -> None:
    installs = [rest for rest in arguments("RUN") if "pip install" in rest]
    assert len(installs) == 2
    assert "--require-hashes -r requirements-runtime.lock" in installs[0]
    assert "--no-deps --no-build-isolation ." in installs[1]


def test_the_image_copies_only_files_that_exist() -> None:
    for copy in arguments("COPY"):
        *sources, _ = copy.split()
        if not sources[0].startswith("--from="):
            assert all((TOP / source).exists() for source in sources), copy


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = [line for line in (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    everything, *allowed, caches = lines
    assert (everything, caches) == ("*", "**/__pycache__")
    copied = {source for line in arguments("COPY") if not line.startswith("--from=") for source in line.split()[:-1]}
    assert {line.removeprefix("!") for line in allowed} == copied
    assert all(line.startswith("!") for line in allowed)
