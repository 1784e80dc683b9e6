"""Long tables of cases in two tiers: some of them in the ordinary run, all of them with --long.

A table whose rows differ in words more than in what they try is not worth a whole minute of each run: every `nth` of it
is, and which ones does not change from run to run.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from _pytest.mark import ParameterSet

__all__ = ["one_in"]


def one_in(nth: int, cases: Iterable[Any] | Mapping[str, Any]) -> list[ParameterSet]:
    """Return cases for parametrize, all but every nth marked `long`; a mapping's keys are their names."""
    named: Iterable[tuple[str | None, Any]] = (
        cases.items() if isinstance(cases, Mapping) else ((None, case) for case in cases)
    )
    return [
        pytest.param(case, id=name, marks=[] if place % nth == 0 else [pytest.mark.long])
        for place, (name, case) in enumerate(named)
    ]
