"""The approval API over TLS from end to end: real psql, a real proxy, and the real commands of people elsewhere."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from nacl.signing import SigningKey
from tests.flow.forked import Forked
from tests.flow.ports import free_port
from tests.flow.served import PATIENCE_S, Served, until
from tests.pki import Pki
from tests.second.agreement import both_over_folder

from pgnotary.approval.bodies import Standing
from pgnotary.approval.client import ApprovalClient
from pgnotary.approval.place import UnixSocket, server_at
from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.request.openssh import PrivateKey, private_key_file, public_line, read_private_key

DELETE = "DELETE FROM orders WHERE id <= 10"
EVA = PrivateKey(bytes([5]) * 32, bytes(SigningKey(bytes([5]) * 32).verify_key))


class Networked(Served):
    """A proxy with its approval API on a port, with TLS, and metrics; eva's key may make calls and nothing else."""

    def __init__(self, postgres: EmbeddedPostgres, folder: Path, pki: Pki) -> None:
        super().__init__(postgres, folder, hold_s=60)
        self.api_port, self.metrics_port = free_port(), free_port()
        self.ca = pki.ca
        self.shown = folder / "tls.pem", folder / "tls.key"
        self.show(pki)
        with self.config.open("a") as file:
            file.write(
                f'\n[approval]\nroster = "allowed_signers"\naddress = "127.0.0.1:{self.api_port}"\ncalls_per_s = 50\n'
                '[approval.tls]\ncertificate_file = "tls.pem"\nkey_file = "tls.key"\n'
                f'[metrics]\naddress = "127.0.0.1:{self.metrics_port}"\n'
            )
        with self.roster.open("a") as file:
            file.write(f'eva namespaces="request@pgnotary" {public_line(EVA.public)}\n')
        self.eva_key = folder / "eva.key"
        self.eva_key.write_text(private_key_file(EVA.seed, "eva", 7))
        self.eva_key.chmod(0o600)

    def show(self, pki: Pki) -> None:
        """Put another certificate in place."""
        files = pki.issue("localhost", "127.0.0.1")
        shutil.copy(files.certificate, self.shown[0])
        shutil.copy(files.key, self.shown[1])

    @property
    def url(self) -> str:
        return f"https://localhost:{self.api_port}"

    def called_by(self, key: PrivateKey) -> ApprovalClient:
        """Return a client over TLS."""
        return ApprovalClient(server_at(self.url, self.vkey, self.ca), key, timeout_s=PATIENCE_S)

    @property
    def vkey(self) -> str:
        return (self.folder / "proxy.vkey").read_text().strip()

    def elsewhere(self, *arguments: str, expected: int = 0) -> str:
        """Run a command of bo's as on another machine: with URL, authority and the proxy's key alone."""
        options = ["--server", self.url, "--ca", str(self.ca), "--proxy-key", str(self.folder / "proxy.vkey")]
        with tempfile.TemporaryDirectory() as folder:
            out, errors = Path(folder, "out"), Path(folder, "errors")
            words = [*arguments, *options, "--key", str(self.key)]
            status = Forked(words, out, errors).wait(PATIENCE_S)
            said, talk = out.read_text(), errors.read_text()
        assert status == expected, (status, said, talk)
        return said + talk

    def fetched(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=PATIENCE_S)
        connection.request("GET", path)
        with connection.getresponse() as response:
            found = response.status, response.read().decode()
        connection.close()
        return found

    def certificate(self) -> bytes | None:
        context = ssl.create_default_context(cafile=str(self.ca))
        with (
            socket.create_connection(("127.0.0.1", self.api_port), timeout=PATIENCE_S) as plug,
            context.wrap_socket(plug, server_hostname="localhost") as tls,
        ):
            return tls.getpeercert(binary_form=True)


@pytest.fixture(scope="module")
def networked(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory, pki: Pki) -> Iterator[Networked]:
    served = Networked(postgres, tmp_path_factory.mktemp("networked") / "pgnotary", pki)
    with served:
        yield served
        served.entries()


def test_an_approver_elsewhere_lists_shows_and_approves_over_tls(networked: Networked, database: str) -> None:
    with networked.open_psql(database, "-c", DELETE) as psql:
        paper = networked.held()
        assert paper.id in networked.elsewhere("requests")
        assert "DELETE FROM orders" in networked.elsewhere("show", paper.id)
        target = f"{paper.id}@{paper.digest}"
        heads = str(networked.folder / "heads")
        said = networked.elsewhere("approve", target, "-m", "it is right", "--yes", "--heads", heads)
        assert f"approved  {paper.id}" in said
        assert "DELETE 10" in said
        printed, _ = psql.communicate(timeout=PATIENCE_S)
    assert printed.rstrip().endswith("DELETE 10")
    assert networked.outcome(paper.id)["result"] == "committed"


def test_a_ledger_by_name_is_asked_over_tls_with_the_key_that_the_list_names(
    networked: Networked, database: str, tmp_path: Path
) -> None:
    place = tmp_path / "pgnotary"
    place.mkdir(mode=0o700)
    shutil.copy(networked.ca, place / "ca.pem")
    shutil.copy(networked.folder / "proxy.vkey", place / "prod.vkey")
    listed = f'[ledger.prod]\nserver = "{networked.url}"\nca_file = "ca.pem"\nproxy_key = "prod.vkey"\n'
    (place / "config.toml").write_text(f'{listed}key = "{networked.key}"\n')
    for path in place.iterdir():
        path.chmod(0o600)
    command = [sys.executable, "-m", "pgnotary.cli", "requests", "--json", "--at", "prod"]
    environment = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    with networked.open_psql(database, "-c", DELETE) as psql:
        paper = networked.held()
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=60)
        assert [each["request"] for each in json.loads(done.stdout)] == [paper.id]
        networked.deny()
        psql.communicate(timeout=PATIENCE_S)


def test_check_says_what_is_wrong_with_the_files_of_the_api(networked: Networked, pki: Pki) -> None:
    said = networked.pgnotary("check")
    # Eva is on the roster, but decides over nothing.
    assert "1 approver" in said
    good = networked.shown[1].read_bytes()
    try:
        shutil.copy(pki.issue("127.0.0.1").key, networked.shown[1])
        networked.pgnotary("check", expected=2)
    finally:
        networked.shown[1].write_bytes(good)


def test_who_may_only_call_is_not_named_as_somebody_who_decides(networked: Networked, database: str) -> None:
    with networked.open_psql(database, "-c", DELETE) as psql:
        networked.deny()
        printed, _ = psql.communicate(timeout=PATIENCE_S)
    assert "Needs 1 of bo." in printed


def test_a_server_with_the_certificate_of_another_authority_gets_no_call(
    networked: Networked, tmp_path: Path, database: str
) -> None:
    other = Pki(tmp_path / "other")
    trusted, networked.ca = networked.ca, other.ca
    try:
        said = networked.elsewhere("requests", expected=5)
    finally:
        networked.ca = trusted
    assert "is not trusted" in said


def test_who_asked_takes_it_back_from_elsewhere_and_psql_is_told_as_after_ctrl_c(
    networked: Networked, database: str, tmp_path: Path
) -> None:
    with networked.open_psql(database, "-v", "VERBOSITY=verbose", "-c", DELETE) as psql:
        paper = networked.held()
        bo = read_private_key(networked.key.read_text())
        for client in (networked.called_by(bo), ApprovalClient(UnixSocket(networked.folder / "pgnotary.sock"))):
            with pytest.raises(ApiError) as refused:
                client.withdraw(paper.id)
            assert refused.value.status == 403
        assert networked.called_by(EVA).withdraw(paper.id).state == "withdrawn"
        printed, _ = psql.communicate(timeout=PATIENCE_S)
    assert "57014" in printed
    assert f"{paper.id} was withdrawn by eva" in printed
    [entry] = [entry for entry in networked.life(paper.id) if entry["type"] == "withdrawn"]
    assert (entry["body"]["by"], entry["body"]["person"]) == ("requester", "eva")
    assert entry["body"]["key"].startswith("SHA256:")
    assert entry["v"] == "pgnotary/entry/2"
    # What eva has signed is there, and counts for both verifiers.
    networked.pgnotary("export", str(tmp_path / "evidence"))
    signed = json.loads((tmp_path / "evidence" / "withdrawals" / f"{paper.id}.json").read_bytes())
    assert signed["target"] == f"/v1/requests/{paper.id}/withdraw"
    assert both_over_folder(tmp_path / "evidence", networked.vkey)[0] == ()
    assert f"withdrawn: requester eva ({entry['body']['key']}), signed" in networked.pgnotary("replay", paper.id)


def test_watchers_hear_at_once_of_what_is_durable(networked: Networked, database: str) -> None:
    heard: list[tuple[float, object]] = []
    events = networked.called_by(EVA).events()

    def listen() -> None:
        with contextlib.suppress(ApiError):
            for event in events:
                heard.append((time.monotonic(), event))
                if isinstance(event, Standing) and event.state == "committed":
                    return

    listening = threading.Thread(target=listen)
    listening.start()
    until(lambda: heard, "the first event")
    with networked.open_psql(database, "-c", DELETE) as psql:
        networked.approve()
        psql.communicate(timeout=PATIENCE_S)
        returned = time.monotonic()
    listening.join(PATIENCE_S)
    states = [event.state for _, event in heard if isinstance(event, Standing)]
    assert states == ["approved", "intent", "executed", "committed"]
    # Not by a look every now and then: before psql has even ended, or hardly later on a busy machine.
    assert heard[-1][0] - returned < 2


def test_a_flood_of_junk_calls_leaves_statements_and_decisions_alone(networked: Networked, database: str) -> None:
    stop = threading.Event()
    answered: list[str] = []
    junk = b"GET /v1/requests HTTP/1.1\r\nHost: x\r\nPgnotary-Call: e30=\r\nPgnotary-Signature: e30=\r\n\r\n"

    def flood() -> None:
        context = ssl.create_default_context(cafile=str(networked.ca))
        while not stop.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", networked.api_port)) as plug:
                plug.settimeout(5)
                with context.wrap_socket(plug, server_hostname="localhost") as tls:
                    tls.sendall(junk)
                    answered.append(tls.recv(12).decode()[9:])

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(answered) > 20, "the flood to come")
        with networked.connect(database) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (100,)
            deciding = threading.Thread(target=networked.approve)
            deciding.start()
            assert connection.execute(DELETE).rowcount == 10
            deciding.join(PATIENCE_S)
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    assert set(answered) <= {"401", "429", ""}
    status, page = networked.fetched("/metrics")
    assert status == 200
    refused = next(line for line in page.splitlines() if line.startswith("pgnotary_api_refused_calls_total"))
    assert float(refused.split()[1]) >= answered.count("401")


def test_metrics_count_and_tell_no_secret(networked: Networked, database: str) -> None:
    with networked.connect(database) as connection:
        connection.execute("SELECT 'canary-4711' FROM orders")
        deciding = threading.Thread(target=networked.deny, args=("not today",))
        deciding.start()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(DELETE)
        deciding.join(PATIENCE_S)
        page = networked.fetched("/metrics")[1]
    found = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line[0] != "#"}
    assert found["pgnotary_clients"] >= 1
    assert found['pgnotary_decisions_total{answer="deny"}'] >= 1
    assert found['pgnotary_statements_total{verdict="hold"}'] >= 1
    assert found["pgnotary_ledger_up"] == 1
    for secret in ("canary", "orders", "eva", "bo", database):
        assert secret not in page
    assert networked.fetched("/readyz") == (200, "ready\n")
    assert networked.fetched("/healthz") == (200, "ok\n")


def test_a_renewed_certificate_is_shown_from_the_next_connection_on(networked: Networked, pki: Pki) -> None:
    before = networked.certificate()
    networked.show(pki)
    assert networked.process is not None
    networked.process.send_signal(signal.SIGHUP)
    until(lambda: networked.certificate() != before, "the new certificate")
    networked.shown[0].write_text("no certificate")
    networked.process.send_signal(signal.SIGHUP)
    until(lambda: "was not reloaded" in networked.log, "the complaint")
    assert networked.certificate() != before
    assert json.loads(networked.elsewhere("requests", "--json")) == []


def test_an_engineer_who_has_left_the_roster_is_heard_no_more(networked: Networked) -> None:
    assert networked.called_by(EVA).requests() == []
    text = networked.roster.read_text()
    networked.reload("".join(line for line in text.splitlines(keepends=True) if not line.startswith("eva ")))
    with pytest.raises(ApiError, match="nobody on the roster") as refused:
        networked.called_by(EVA).requests()
    assert refused.value.status == 403
    networked.reload(text)


def test_a_proxy_whose_server_is_gone_says_that_it_is_not_ready(
    postgres: EmbeddedPostgres, tmp_path: Path, pki: Pki
) -> None:
    served = Networked(postgres, tmp_path / "pgnotary", pki)
    text = served.config.read_text()
    served.config.write_text(text.replace(f"{postgres.host}:{postgres.port}", f"127.0.0.1:{free_port()}"))
    with served:
        status, why = served.fetched("/readyz")
        assert (status, "PostgreSQL is not reached" in why) == (503, True)
        assert served.fetched("/healthz")[0] == 200


@pytest.fixture(autouse=True)
def _no_key_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the environment says where a proxy is."""
    for name in [name for name in os.environ if name.startswith("PGNOTARY_")]:
        monkeypatch.delenv(name)
