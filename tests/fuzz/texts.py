"""The texts of a fuzz: the same ones for the same seed, none longer than 4 KB.

A seed enters, texts leave without end: sentences of a generator, and mutants of them and of the corpora. What could
stop a server, reach outside it, or only wait is left out, also where it would be held anyhow.
"""

import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz.mutations import mutate
from tests.fuzz.sentences import sentence

__all__ = ["MAX_BYTES", "Signature", "texts"]

MAX_BYTES = 4096

Signature = tuple[str, tuple[str, ...]]
"""A function's name and the types of its arguments."""

_FOLDER = Path(__file__).parents[1] / "corpus"
_FORBIDDEN = re.compile(
    r"pg_sleep|pg_terminate|pg_cancel|pg_reload|pg_rotate|pg_promote|pg_switch|pg_wal_replay|pg_create_|_replication_slot"
    r"|pg_start_backup|pg_stop_backup|pg_backup_|program|lo_export|lo_import|pg_write|adminpack|dblink|pg_read|pg_ls_dir"
    r"|tablespace|alter\s+system|\bload\b|postgres_fdw|extension|subscription|publication"
    r"|generate_series\s*\(\s*\d+\s*,\s*\d{5}",
    re.IGNORECASE,
)

_VALUES = {
    "int2": ("1", "0"), "int4": ("1", "0", "2"), "int8": ("1", "0"),
    "text": ("a", "w_plain()", "select w_plain()", "public.vw", "s", "wd"), "oid": ("1", "16384", "0"),
    "name": ("a", "t", "s"), "regclass": ("t", "s", "vw", "trace"), "json": ('{"a": 1, "d": 1}', "[1]"),
    "jsonb": ('{"a": 1, "d": 1}', "[1]"), "bool": ("t", "f"), "cstring": ("1", "a"), "float8": ("0.5",),
    "numeric": ("1",), "xml": ("<a/>",), "bytea": ("a",), "tsquery": ("a",), "tsvector": ("a",), "jsonpath": ("$.a",),
    "timestamptz": ("now",), "date": ("now",), "interval": ("1 day",), "_text": ("{a,b}",), "_int4": ("{1}",),
    "anyarray": ("{1}",), "regtype": ("wd", "int"),
}  # fmt: skip
_ANYTHING = (
    "NULL",
    "1",
    "'a'::text",
    "NULL::td",
    "row(1)::wt",
    "'ok'::mood",
    "ARRAY[1]",
    "ARRAY[row(1)::wt]",
    "t",
    "u",
    "1.5",
    "now()",
    "'{\"d\": 1}'::json",
    "'[1,2)'::int4range",
)


def texts(seed: int, signatures: Sequence[Signature] = ()) -> Iterator[bytes]:
    """Yield texts without end; `signatures` are functions of a live server to call with fitting arguments."""
    chance = random.Random(seed)
    seeds = _seeds()
    while True:
        text = _text(seeds, signatures, chance)
        encoded = _encoded(text, chance)
        if len(encoded) <= MAX_BYTES and b"\0" not in encoded and not _FORBIDDEN.search(text):
            yield encoded


def _seeds() -> list[str]:
    found: list[str] = []
    for path in sorted(_FOLDER.glob("*.jsonl")):
        rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        # Some are bytes that are no text.
        found.extend(str(row["sql"]) for row in rows if "sql" in row)
    return [text for text in found if len(text) <= MAX_BYTES // 2 and not _FORBIDDEN.search(text)]


def _text(seeds: Sequence[str], signatures: Sequence[Signature], chance: random.Random) -> str:
    match chance.randrange(12):
        case 0 | 1 | 2 | 3:
            return " ".join(sentence(chance))
        case 4 | 5 | 6:
            return mutate(" ".join(sentence(chance)), seeds, chance)
        case 7 if signatures:
            return _call(signatures, chance)
        case 8:
            return mutate(chance.choice(seeds), [" ".join(sentence(chance))], chance)
        case _:
            return mutate(chance.choice(seeds), seeds, chance)


def _call(signatures: Sequence[Signature], chance: random.Random) -> str:
    name, types = chance.choice(signatures)
    arguments = ", ".join(_argument(type_, chance) for type_ in types)
    return chance.choice(
        (
            f"SELECT {name}({arguments})", f"SELECT {name}({arguments}) FROM t, users u",
            f"SELECT * FROM {name}({arguments})", f"EXPLAIN SELECT {name}({arguments})",
            f"SELECT pg_catalog.{name}({arguments}) FROM t, users u",
        )
    )  # fmt: skip


def _argument(type_: str, chance: random.Random) -> str:
    if type_.startswith("any") or type_ in ("record", "internal") or chance.random() < 0.05:
        return chance.choice(_ANYTHING)
    return f"'{chance.choice(_VALUES.get(type_, ('1',)))}'::{type_}"


def _encoded(text: str, chance: random.Random) -> bytes:
    encoded = text.encode("utf-8", "surrogatepass")
    if encoded and chance.random() < 0.01:
        # A byte that is no UTF-8, or half a character of another encoding before a quote.
        at = chance.randrange(len(encoded))
        return (
            encoded[:at]
            + chance.choice((b"\xbf\\", b"\x95\\", b"\xff", b"\xc0\x80", b"\xe9", b"\xed\xa0\x80"))
            + encoded[at:]
        )
    return encoded
