"""SIGHUP: the roster is read again while the proxy runs, and holds go on under the new one."""

import secrets
import signal
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from tests.flow.relay import Relay
from tests.flow.served import Served, until

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer
from pgnotary.request.openssh import fingerprint, private_key_file, public_line, read_private_key

DELETE = "DELETE FROM orders WHERE id <= 10"


def _ask_to_read(served: Served, roster: str) -> None:
    assert served.process is not None
    served.roster.write_text(roster)
    served.process.send_signal(signal.SIGHUP)


def _public(served: Served) -> bytes:
    return read_private_key(served.key.read_text()).public


def test_a_held_statement_is_decided_by_somebody_who_came_onto_the_roster_meanwhile(
    own_proxy: Served, database: str, tmp_path: Path
) -> None:
    with own_proxy.open_psql(database, "-c", DELETE) as psql:
        paper = own_proxy.held()
        seed = secrets.token_bytes(32)
        own_proxy.reload(f"cy {public_line(bytes(SigningKey(seed).verify_key))}\n")
        assert [body.id for body in own_proxy.api.requests()] == [paper.id]
        with pytest.raises(ApiError, match="nobody on the roster has the key"):
            own_proxy.decide(paper, Answer.APPROVE)
        own_proxy.approver, own_proxy.key = "cy", tmp_path / "cy"
        own_proxy.key.write_text(private_key_file(seed, "cy", 7))
        own_proxy.decide(paper, Answer.APPROVE)
        printed, _ = psql.communicate(timeout=30)
    assert printed.rstrip().endswith("DELETE 10")
    with own_proxy.open_psql(database, "-c", DELETE) as psql:
        own_proxy.deny()
        printed, _ = psql.communicate(timeout=30)
    assert "Needs 1 of cy." in printed
    own_proxy.pgnotary("verify")
    own_proxy.stop()
    own_proxy.pgnotary("verify")


def test_a_wrong_roster_is_refused_with_a_line_in_the_log_and_the_old_one_stays(
    own_proxy: Served, database: str
) -> None:
    _ask_to_read(own_proxy, own_proxy.roster.read_text() + "mallory ssh-rsa AAAA\n")
    until(lambda: "the roster was not reloaded, the one before stays in force" in own_proxy.log, "the line")
    assert "allowed_signers: line " in own_proxy.log
    assert len(own_proxy.rosters()) == 1
    with own_proxy.open_psql(database, "-c", DELETE) as psql:
        own_proxy.approve()
        psql.communicate(timeout=30)
    assert psql.returncode == 0


def test_a_roster_that_says_the_same_is_not_recorded_again(own_proxy: Served) -> None:
    _ask_to_read(own_proxy, "# a comment\n" + own_proxy.roster.read_text())
    until(lambda: "the roster has not changed" in own_proxy.log, "the line")
    assert len(own_proxy.rosters()) == 1


@pytest.mark.parametrize("block", [False, True], ids=["outside", "inside a block"])
def test_a_key_revoked_between_decision_and_execution_makes_the_approval_void(
    postgres: EmbeddedPostgres, database: str, tmp_path: Path, block: bool
) -> None:
    relay = Relay(postgres.host, postgres.port)
    script = f"BEGIN;\n{DELETE};\nSELECT 'ignored';\nROLLBACK;\n" if block else f"{DELETE};\n"
    with relay, Served(postgres, tmp_path / "pgnotary", hold_s=60, upstream=relay.address) as served:
        with served.open_psql(database, "-v", "VERBOSITY=verbose", "-f", "-") as psql:
            assert psql.stdin is not None
            psql.stdin.write(script + "SELECT 'usable ' || count(*) FROM orders;\n")
            psql.stdin.close()
            psql.stdin = None
            paper = served.held()
            with relay.stopped_before(b"pg_current_xact_id()") as stopped:
                served.decide(paper, Answer.APPROVE)
                assert stopped.wait(30)
                served.reload("")
            printed, _ = psql.communicate(timeout=30)
        name = fingerprint(_public(served))
        assert f"ERROR:  55000: {paper.id} does not run: the approval by bo does not count any more" in printed
        assert f"DETAIL:  nobody on the roster has the key {name}" in printed
        assert "HINT:  Run it again, for somebody whose key is on the roster now to decide." in printed
        assert ("25P02" in printed) == block
        assert "usable 100" in printed
        life = served.life(paper.id)
        assert [entry["type"] for entry in life] == ["request", "preview", "decision", "void"]
        assert life[-1]["body"] == {"why": f"nobody on the roster has the key {name}"}
        served.pgnotary("verify")
