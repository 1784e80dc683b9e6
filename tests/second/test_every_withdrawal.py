"""All withdrawals that the package's verifier is tried with, once more before both verifiers."""

import pytest
from tests.second.agreement import Both
from tests.verify import test_withdrawals
from tests.verify.builder import VKEY
from tests.verify.test_withdrawals import *  # noqa: F403

from pgnotary.audit import standalone
from pgnotary.ledger.entries import EntryType

both = Both()


@pytest.fixture(autouse=True)
def before_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_withdrawals, "verify", both)


def test_what_is_not_signed_is_told_at_its_place_by_the_second_verifier_too() -> None:
    ledger = test_withdrawals.asked()
    ledger.step(EntryType.WITHDRAWN, "R-1", **test_withdrawals.BY_EVA)
    found: list[tuple[int | None, str]] = []
    key = standalone.Key.read(VKEY)
    second = standalone.Verification(key, (), None, lambda place, text: found.append((place, text)))
    for each in ledger.entries():
        second.take(each.raw, dict(each.opened))
    assert found == []
    assert second.notes == ["#5 R-1: taken back by its requester, it says, but holds nothing they signed"]


def test_zz_the_samples_were_really_put_before_both(request: pytest.FixtureRequest) -> None:
    # Only a whole run of this file can tell.
    if len([each for each in request.session.items if each.fspath == request.node.fspath]) > 40:
        assert both.compared > 40
