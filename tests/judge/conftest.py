"""What tests of the judge may ask for: a server of its own for evasions, some of which end sessions or write files."""

from collections.abc import Iterator

import pytest
from tests.judge.effects import Bench, bench


@pytest.fixture(scope="package")
def workbench() -> Iterator[Bench]:
    with bench() as made:
        yield made
