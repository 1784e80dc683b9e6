"""The corpus of evasions: texts that have an effect, made to look as if they had none.

`tests/corpus/evasions.jsonl` enters, `Evasion`s leave. A family shares one root cause and one guard; its texts differ
in more than names. How the judge is asked stands in one function, `action`, and nowhere else.

A row has `family`, `cause`, `guard` and `sql`, or `bytes_hex` for bytes that are not UTF-8; and where needed

- `setup`: what an administrator ran before, as a superuser;
- `settings`: the session's start-up parameters;
- `session`: what the client ran before in the same session, and was allowed to;
- `protocol`: `extended`, with the `params` as text, or `copy`, with the `data` that follows;
- `repeat`: a mark and what stands for it, how often, so that a long text is one short row;
- `needs_catalog`: the cause is nowhere in the text, only in the catalog of the database;
- `server`: the newest version of PostgreSQL on which it has an effect, if later ones read the text in another way.

Each text is run on tables that `tests/judge/effects.py` makes. /tmp/evasions in a text is a folder of the server.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.judge.texts import POLICIES

from pgnotary.errors import InvalidText
from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action
from pgnotary.judge.scope import UNSCOPED, Scope

__all__ = ["EVASIONS", "FAMILIES", "Evasion", "action"]

_CORPUS = Path(__file__).parents[1] / "corpus" / "evasions.jsonl"


@dataclass(frozen=True, slots=True)
class Evasion:
    """One text, and the circumstances in which it has an effect."""

    family: str
    cause: str
    guard: str
    text: bytes
    number: int
    """Within its family, from 1."""
    setup: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    session: Sequence[str] = ()
    protocol: str = "simple"
    params: Sequence[str] = ()
    types: Sequence[int] = ()
    """OIDs of the parameters' types; none for those that the server shall infer."""
    data: str = ""
    needs_catalog: bool = False
    server: int = 0
    """The newest version of PostgreSQL on which it has an effect; 0 for every version."""

    def __str__(self) -> str:
        """Return the name of the test about it."""
        return f"{self.family}-{self.number}"


def action(text: bytes, profile: str = "strict", catalog: Catalog = BUILT_IN, scope: Scope = UNSCOPED) -> Action:
    """Return what becomes of a text under a profile, in a database and a session of which that much is known."""
    try:
        return verdict(weigh(read(text), catalog, scope), POLICIES[profile]).action
    except InvalidText:
        return Action.REFUSE


def _load() -> list[Evasion]:
    found: list[Evasion] = []
    for line in _CORPUS.read_text(encoding="ascii").splitlines():
        row = json.loads(line)
        text = bytes.fromhex(row.pop("bytes_hex")) if "bytes_hex" in row else row.pop("sql").encode()
        for mark, (what, times) in row.pop("repeat", {}).items():
            text = text.replace(mark.encode(), what.encode() * times)
        number = 1 + sum(evasion.family == row["family"] for evasion in found)
        found.append(Evasion(text=text, number=number, **row))
    return found


EVASIONS = _load()

FAMILIES = {evasion.family: [other for other in EVASIONS if other.family == evasion.family] for evasion in EVASIONS}
