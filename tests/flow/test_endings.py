"""How a hold ends without a decision: Ctrl-C, leaving, expiry, the proxy stopping."""

import signal
import socket
import subprocess

import pexpect
import psycopg
import pytest
from tests.flow.raw import raw_client, without_notices
from tests.flow.served import PASSWORD, Served, until

from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer
from pgnotary.wire import messages
from pgnotary.wire.startup import PROTOCOL_3_2, encode_cancel

DELETE = "DELETE FROM orders"


def _untouched(served: Served, database: str) -> None:
    with served.behind(database) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (100,)


def _ended(served: Served, request: str) -> dict[str, object]:
    """Wait until a request's life has ended and return the last entry."""

    def found() -> dict[str, object] | None:
        life = served.life(request)
        return life[-1] if life[-1]["type"] in ("withdrawn", "expired", "orphaned", "void", "outcome") else None

    entry = until(found, f"the end of {request}")
    assert entry is not None
    return entry


def test_ctrl_c_withdraws_and_leaves_psql_usable(served: Served, database: str) -> None:
    command, environment = served.psql(database, "-v", "VERBOSITY=verbose")
    psql = pexpect.spawn(
        command[0], command[1:], env={**environment, "PATH": "/usr/bin:/bin"}, encoding="utf-8", timeout=20
    )
    psql.expect("=# ")
    psql.sendline(DELETE + ";")
    psql.expect("held for approval")
    paper = served.held()
    psql.sendintr()
    psql.expect("ERROR:  57014: canceling statement due to user request")
    psql.expect("=# ")
    psql.sendline("SELECT 'usable' AS answer;")
    psql.expect("usable\r\n")
    psql.sendline("\\q")
    psql.expect(pexpect.EOF)
    psql.close()
    assert _ended(served, paper.id)["type"] == "withdrawn"
    _untouched(served, database)


def test_ctrl_c_cancels_a_forwarded_statement_too(served: Served, database: str) -> None:
    command, environment = served.psql(database)
    psql = pexpect.spawn(
        command[0], command[1:], env={**environment, "PATH": "/usr/bin:/bin"}, encoding="utf-8", timeout=20
    )
    psql.expect("=# ")
    psql.sendline("SELECT pg_sleep(60);")
    with served.behind(database) as connection:
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%' AND state = 'active'"
        until(lambda: connection.execute(sleeping).fetchone() == (1,), "the statement to run")
    psql.sendintr()
    psql.expect("canceling statement due to user request")
    psql.expect("=# ")
    psql.sendline("SELECT 'usable' AS answer;")
    psql.expect("usable\r\n")
    psql.close(force=True)


def test_a_cancel_needs_the_whole_key_and_protocol_3_2_makes_it_long(served: Served, database: str) -> None:
    door = ("127.0.0.1", served.port)
    with raw_client(*door, "eva", PASSWORD, database, protocol=PROTOCOL_3_2) as client:
        assert len(client.key) == 4 + 32
        client.send(messages.query(DELETE.encode()))
        paper = served.held()
        pid, secret = int.from_bytes(client.key[:4], "big"), client.key[4:]
        for wrong in (secret[:4], secret[:-1], secret + b"\0", bytes(32)):
            _send_cancel(door, pid, wrong)
        # Cancels are dealt with in the order in which they come: had one of those counted, it would have ended.
        assert served.life(paper.id)[-1]["type"] == "preview"
        _send_cancel(door, pid, secret)
        assert without_notices(client.until_ready()) == ["E 57014", "Z I"]
    assert _ended(served, paper.id)["type"] == "withdrawn"
    _untouched(served, database)


def _send_cancel(door: tuple[str, int], pid: int, secret: bytes) -> None:
    with socket.create_connection(door, timeout=20) as plug:
        plug.sendall(encode_cancel(pid, secret))
        assert plug.recv(1) == b""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_psql_that_dies_withdraws_its_hold(served: Served, database: str, how: signal.Signals) -> None:
    with served.open_psql(database, "-c", DELETE) as psql:
        paper = served.held()
        psql.send_signal(how)
        psql.wait(20)
        entry = _ended(served, paper.id)
    assert (entry["type"], entry["body"]) == ("withdrawn", {"by": "client-gone"})
    _untouched(served, database)


def test_a_decision_after_the_client_has_left_does_not_count_and_is_kept_as_evidence(
    served: Served, database: str
) -> None:
    with served.open_psql(database, "-c", DELETE) as psql:
        paper = served.held()
        raw, signature = served.signed(paper, Answer.APPROVE)
        psql.kill()
        psql.wait(20)
        _ended(served, paper.id)
    with pytest.raises(ApiError):
        served.api.decide(paper.id, raw, signature)
    until(lambda: any(entry["type"] == "decision-rejected" for entry in served.entries()), "the evidence")
    _untouched(served, database)


def test_a_hold_ends_before_the_servers_idle_timer_would_end_the_session(served: Served, database: str) -> None:
    script = (
        "SET idle_in_transaction_session_timeout = '7s';\nBEGIN;\nDELETE FROM orders;\nROLLBACK;\nSELECT 'usable';\n"
    )
    done = served.run_psql(database, "-At", "-f", "-", stdin=script)
    assert "expired: no decision" in done.stderr
    assert done.stdout.rstrip().endswith("usable")
    _untouched(served, database)


def test_sigterm_ends_a_hold_and_is_the_last_word_in_the_ledger(own_proxy: Served, database: str) -> None:
    with own_proxy.open_psql(database, "-v", "VERBOSITY=verbose", "-c", DELETE) as psql:
        paper = own_proxy.held()
        own_proxy.stop(signal.SIGTERM)
        printed, _ = psql.communicate(timeout=20)
    assert "FATAL:  57P01" in printed
    assert [entry["type"] for entry in own_proxy.life(paper.id)] == ["request", "preview", "withdrawn"]
    assert own_proxy.entries()[-1]["type"] == "proxy-stopped"
    _untouched(own_proxy, database)


def test_kill_9_orphans_what_was_held_at_the_next_start(own_proxy: Served, database: str) -> None:
    with own_proxy.open_psql(database, "-c", DELETE) as psql:
        paper = own_proxy.held()
        own_proxy.stop(signal.SIGKILL)
        psql.communicate(timeout=20)
    own_proxy.start()
    assert [entry["type"] for entry in own_proxy.life(paper.id)] == ["request", "preview", "orphaned"]
    with pytest.raises(ApiError):
        own_proxy.api.decide(paper.id, *own_proxy.signed(paper, Answer.APPROVE))
    with own_proxy.open_psql(database, "-c", DELETE):
        assert own_proxy.held().id == "R-2"
    _untouched(own_proxy, database)


def test_kill_9_while_an_approved_statement_runs_changes_nothing_and_is_resolved(
    own_proxy: Served, database: str
) -> None:
    with own_proxy.open_psql(database, "-c", "DELETE FROM orders WHERE id <= 15 AND pg_sleep(0.2) IS NOT NULL") as psql:
        paper = own_proxy.approve()
        until(lambda: any(entry["type"] == "intent" for entry in own_proxy.life(paper.id)), "the intent")
        own_proxy.stop(signal.SIGKILL)
        psql.communicate(timeout=20)
    own_proxy.start()
    until(lambda: own_proxy.outcome(paper.id)["result"] == "resolved", "the server's word")
    assert own_proxy.outcome(paper.id)["fate"] == "rolled-back"
    with own_proxy.behind(database) as connection:
        running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DELETE FROM orders%' AND state = 'active'"
        until(lambda: connection.execute(running).fetchone() == (0,), "the server to notice")
    _untouched(own_proxy, database)


def test_the_backend_terminated_during_a_hold_withdraws_it(served: Served, database: str) -> None:
    with served.open_psql(database, "-v", "VERBOSITY=verbose", "-c", DELETE) as psql:
        paper = served.held()
        with served.behind(database) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [paper.context.upstream_pid])
        printed, _ = psql.communicate(timeout=20)
    assert "57P01" in printed
    assert (entry := _ended(served, paper.id))["type"] == "withdrawn"
    assert entry["body"] == {"by": "upstream-lost"}
    _untouched(served, database)


def test_the_backend_terminated_while_an_approved_statement_runs_is_unknown_and_then_resolved(
    served: Served, database: str
) -> None:
    with served.open_psql(
        database, "-v", "VERBOSITY=verbose", "-c", "DELETE FROM orders WHERE id <= 15 AND pg_sleep(0.2) IS NOT NULL"
    ) as psql:
        paper = served.approve()
        until(lambda: any(entry["type"] == "intent" for entry in served.life(paper.id)), "the intent")
        with served.behind(database) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", [paper.context.upstream_pid])
        printed, _ = psql.communicate(timeout=20)
    assert "08007" in printed
    until(lambda: served.outcome(paper.id)["result"] == "resolved", "the server's word")
    assert [entry["body"].get("fate") for entry in served.life(paper.id)[-2:]] == [None, "rolled-back"]
    _untouched(served, database)


def test_the_requester_cannot_approve_their_own_statement(served: Served, database: str) -> None:
    command, environment = served.psql(database, "-c", DELETE)
    command[command.index("-U") + 1] = "bo"
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as psql:
        paper = served.held()
        with pytest.raises(ApiError, match="somebody else must decide"):
            served.decide(paper, Answer.APPROVE)
        psql.kill()
    _untouched(served, database)


def test_a_wrong_password_says_nothing_about_who_exists(served: Served, database: str) -> None:
    words = []
    for user in ("eva", "nobody-of-that-name"):
        with pytest.raises(psycopg.OperationalError) as refused:
            psycopg.connect(host="127.0.0.1", port=served.port, user=user, password="guess", dbname=database)
        words.append(str(refused.value).replace(user, "USER"))
    assert words[0] == words[1]
    assert "password authentication failed" in words[0]
