"""A play for each test, which fails if its end comes too early."""

from collections.abc import Iterator

import pytest
from tests.play import Play


@pytest.fixture
def play() -> Iterator[Play]:
    with Play() as play:
        yield play
