"""Evasions that no text shows: with its database's catalog none is forwarded, and each family has a guard there.

The catalog and the scope are what a live server says of itself in the circumstances of each text.
"""

from typing import Any

import psycopg
import pytest
from tests.judge.asking import catalog_of, scope_of
from tests.judge.catalog_guards import CATALOG_GUARDS, take_down
from tests.judge.effects import Bench
from tests.judge.evasions import FAMILIES, Evasion, action
from tests.judge.texts import HOLDING
from tests.tiers import one_in

from pgnotary.judge.rules import Action

BEHIND_CATALOGS = {name: family for name, family in FAMILIES.items() if family[0].needs_catalog}


def circumstances_of(family: list[Evasion]) -> list[list[Evasion]]:
    """Return the texts of a family, those together that share their circumstances."""
    shared: dict[tuple[object, ...], list[Evasion]] = {}
    for evasion in family:
        shared.setdefault((evasion.setup, *evasion.session, *evasion.settings.items()), []).append(evasion)
    return list(shared.values())


def forwarded(client: psycopg.Connection[Any], evasions: list[Evasion]) -> list[str]:
    """Return the texts that are forwarded under a profile that holds what it does not know."""
    catalog, scope = catalog_of(client), scope_of(client)
    return [
        str(evasion)
        for evasion in evasions
        if Action.FORWARD in {action(evasion.text, profile, catalog, scope) for profile in HOLDING}
    ]


@pytest.mark.parametrize("name", one_in(2, list(BEHIND_CATALOGS)))
def test_a_family_behind_the_catalog_is_stopped_and_without_its_guard_most_of_it_would_pass(
    workbench: Bench, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = BEHIND_CATALOGS[name]
    passing = []
    for evasions in circumstances_of(family):
        with workbench.circumstances(evasions[0]) as client, monkeypatch.context() as patch:
            assert forwarded(client, evasions) == []
            take_down(patch, family[0].guard)
            passing += forwarded(client, evasions)
    assert 2 * len(passing) > len(family)


def test_each_guard_of_the_catalog_has_a_family() -> None:
    assert {f"catalog {guard}" for guard in CATALOG_GUARDS} == {rows[0].guard for rows in BEHIND_CATALOGS.values()}
