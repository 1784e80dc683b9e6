"""All broken glass that the package's verifier is tried with, once more before both verifiers."""

import pytest
from tests.second.agreement import Both
from tests.verify import test_reviews
from tests.verify.test_reviews import *  # noqa: F403

both = Both()


@pytest.fixture(autouse=True)
def before_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_reviews, "verify", both)


def test_zz_the_samples_were_really_put_before_both(request: pytest.FixtureRequest) -> None:
    # Only a whole run of this file can tell.
    if len([each for each in request.session.items if each.fspath == request.node.fspath]) > 25:
        assert both.compared > 25
