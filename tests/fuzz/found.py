"""What earlier runs found: the rows of tests/corpus/fuzz.jsonl.

Each row is a text that was forwarded and did more than read, with what it did. `open` says why the judge still
forwards it; a row without it has been mended, and its like is a new finding again.
"""

import json
from collections.abc import Iterable
from pathlib import Path

__all__ = ["FOUND", "why_open"]

_CORPUS = Path(__file__).parents[1] / "corpus" / "fuzz.jsonl"

FOUND: list[dict[str, str]] = [json.loads(line) for line in _CORPUS.read_text(encoding="ascii").splitlines()]

_OPEN = [row for row in FOUND if row.get("open")]
# Every disguise of the scratch database does this, whatever it is.
_USUAL = frozenset({"took a transaction id", "took RowExclusiveLock on trace", "would be refused in a read-only block"})


def why_open(did: str, via: Iterable[str]) -> str:
    """Return why what did that is known and not mended yet, or "" if it is news."""
    deeds, ways = set(did.split("; ")), set(via) or {""}
    alike = [row for row in _OPEN if row["via"] in ways]
    explained = {deed for row in alike for deed in row["did"].split("; ")} | (_USUAL if ways != {""} else set())
    if {row["via"] for row in alike} != ways or not deeds <= explained:
        return ""
    return ", ".join(sorted({row["open"] for row in alike}))
