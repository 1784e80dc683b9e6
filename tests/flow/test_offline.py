"""An approver without a network: real psql waits, files are carried to another machine and back."""

import json
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from tests.flow.forked import Forked
from tests.flow.served import PATIENCE_S, Served

DELETE = "DELETE FROM orders WHERE id <= 10"


def elsewhere(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command on a machine that has the proxy's key and no way to the proxy."""
    out, errors = folder / "out", folder / "errors"
    status = Forked(words, out, errors).wait(PATIENCE_S)
    return status, out.read_text() + errors.read_text()


@pytest.mark.parametrize(("answer", "printed"), [("--approve", "DELETE 10"), ("--deny", "denied by bo: it is checked")])
def test_a_decision_that_was_signed_without_a_network_counts(
    served: Served, database: str, tmp_path: Path, answer: str, printed: str
) -> None:
    paper, decision, heads = tmp_path / "paper", tmp_path / "decision", tmp_path / "heads"
    with served.open_psql(database, "-c", DELETE) as psql:
        held = served.held()
        served.pgnotary("show", held.id, "--export", str(paper))
        trusted = ("--proxy-key", str(served.folder / "proxy.vkey"), "--heads", str(heads))
        signing = ("--person", "bo", "--key", str(served.key), "--out", str(decision))
        named = ("--digest", held.digest, "--yes")
        status, said = elsewhere(
            tmp_path, "sign", str(paper), answer, "-m", "it is checked", *named, *signing, *trusted
        )
        assert status == 0, said
        assert DELETE in said
        # On the way back somebody changes it.
        altered = tmp_path / "altered"
        fields = json.loads(decision.read_text())
        document = b64decode(fields["document"]).replace(b"it is checked", b"it is checkeD")
        altered.write_text(json.dumps(fields | {"document": b64encode(document).decode()}))
        served.pgnotary("submit", str(altered), expected=5)
        served.pgnotary("submit", str(decision))
        told = psql.communicate(timeout=PATIENCE_S)
    assert printed in "".join(text or "" for text in told)
    (decided,) = [entry for entry in served.life(held.id) if entry["type"] == "decision"]
    assert decided["body"]["approver"] == "bo"
    assert decided["body"]["answer"] == answer.removeprefix("--")
