"""Evasions: none is forwarded, each family has a cause and a guard of its own, and without that guard it would pass.

What only the catalog of a database shows is tried on a live server, in `test_evasions_behind_catalogs.py`.
"""

from collections import Counter
from itertools import combinations

import pytest
from tests.judge.evasions import EVASIONS, FAMILIES, Evasion, action
from tests.judge.guards import names_of, take_down

from pgnotary.judge.rules import Action

IN_THE_TEXT = [evasion for evasion in EVASIONS if not evasion.needs_catalog]
GUARDED = {name: family for name, family in FAMILIES.items() if not family[0].needs_catalog}


@pytest.mark.parametrize("evasion", IN_THE_TEXT, ids=str)
def test_an_evasion_is_not_forwarded(evasion: Evasion) -> None:
    assert action(evasion.text) is not Action.FORWARD


def test_families_are_many_and_each_has_several_texts() -> None:
    assert len([family for family in FAMILIES.values() if len(family) >= 3]) >= 45
    assert [name for name, family in FAMILIES.items() if len(family) < 3] == []


def test_a_family_has_one_cause_and_one_guard_and_shares_the_cause_with_none() -> None:
    kinds = {(evasion.family, evasion.cause, evasion.guard, evasion.needs_catalog) for evasion in EVASIONS}
    assert len(kinds) == len(FAMILIES)
    assert len({evasion.cause for evasion in EVASIONS}) == len(FAMILIES)


def test_no_text_is_there_twice() -> None:
    assert [text for text, times in Counter((row.family, row.text) for row in EVASIONS).items() if times > 1] == []


@pytest.mark.parametrize("name", GUARDED)
def test_without_its_guard_most_of_a_family_would_pass(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for guard in names_of(GUARDED[name][0].guard):
        take_down(monkeypatch, guard)
    passing = [evasion for evasion in GUARDED[name] if action(evasion.text) is Action.FORWARD]
    # The second reader cannot read some of the rest: it stands behind every guard of the first.
    assert 2 * len(passing) > len(GUARDED[name])


@pytest.mark.parametrize("name", [name for name, family in GUARDED.items() if " + " in family[0].guard])
def test_each_of_two_guards_behind_each_other_is_enough(name: str) -> None:
    guards = names_of(GUARDED[name][0].guard)
    for down in combinations(guards, len(guards) - 1):
        with pytest.MonkeyPatch.context() as patch:
            for guard in down:
                take_down(patch, guard)
            assert Action.FORWARD not in {action(evasion.text) for evasion in GUARDED[name]}, down
