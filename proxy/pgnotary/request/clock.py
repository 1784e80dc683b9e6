"""What may be a time that the clock tells, though nothing in it calls for the time: `now` and its like in a text.

Texts and the tree of a query enter; whether the clock may be asked leaves, and the columns of which a text may be made
a time. Where a text becomes a time, `now` in it is the present. So what is made a time only when the statement runs is
steady only if it is no text: a column is looked up in the catalog, of anything else nobody knows.

Source: PostgreSQL 18, "Date/Time Input", datetime.c (`DecodeDateTime`), "JSON Functions and Operators".
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pgnotary.judge import grammar
from pgnotary.judge.grammar import Message
from pgnotary.request.facts_question import POPULATING

__all__ = ["CLOCK_IN_BODIES", "asks_clock", "may_ask_clock", "read_as_times"]

_WORDS = frozenset({"now", "today", "tomorrow", "yesterday"})
_TIMES = frozenset({"date", "time", "timestamp", "timestamptz", "timetz"})
CLOCK_IN_BODIES = (
    _WORDS
    | _TIMES
    | {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
    # A variable of a type that only the catalog knows.
    | {"rowtype", "type"}
)
"""Words of a function's body with which it may ask the clock, or make a text a time."""

# Types into which no text is read as a time; whatever else a text is made, it may hold one.
_NO_TIMES = frozenset(
    """
    bit bool bpchar bytea char cid cidr circle float4 float8 inet int2 int4 int8 interval json jsonb jsonpath line
    lseg macaddr macaddr8 money name numeric oid path point polygon text tid tsquery tsvector uuid varbit varchar xid
    xid8 xml
    int4range int8range numrange int4multirange int8multirange nummultirange regclass regcollation regconfig
    regdictionary regnamespace regoper regoperator regproc regprocedure regrole regtype
    """.split()
)
_DATES = frozenset(
    """
    january jan february feb march mar april apr may june jun july jul august aug september sept sep october oct
    november nov december dec sunday sun monday mon tuesday tues tue wednesday weds wed thursday thurs thur thu friday
    fri saturday sat
    """.split()
)
_BESIDE = _DATES | frozenset("ad allballs am at bc dst epoch infinity on pm t z zulu".split())
# Time zones with a long name and no slash in it.
_LONG_ZONES = frozenset(
    """
    factory greenwich hongkong iceland israel jamaica kwajalein navajo poland portugal singapore turkey universal
    """.split()
)
_SHORT = 5
"""Letters in the abbreviation of a time zone, or in one of the short names."""
_ZONE = re.compile(r"<[^>]*>|[a-z_]+(?:/[a-z0-9_+-]+)+|(?:gb|nz|w)-[a-z]+")
_WORD = re.compile(r"[a-z0-9]*[a-z][a-z0-9]*")
_TIME_OF_DAY = re.compile(r"[0-9]:[0-9]")
_IN_QUOTES = re.compile(rf'"\s*(?:{"|".join(sorted(_WORDS))})(?![a-z_])')
# A digit may follow at once: today10:00.
_ANY_WORD = re.compile(rf"(?<![a-z_])(?:{'|'.join(sorted(_WORDS))})(?![a-z_])")
_BRACKETS = re.compile(r'[][(){},"]+')
_LONGEST = 10_000
"""What is longer is no time, and no few of them; but it may be a document."""


def may_ask_clock(text: str) -> bool:
    """Say whether a text may be read as a time that the clock tells, alone, in an array, range or row, or in JSON."""
    lower = text.lower()
    if not _ANY_WORD.search(lower):
        return False
    if len(text) > _LONGEST:
        return bool(_IN_QUOTES.search(lower))
    several = lower.lstrip()[:1] in ("(", "[", "{")
    pieces = _BRACKETS.split(lower) if several else [lower]
    return bool(_IN_QUOTES.search(lower)) or any(map(_is_time, pieces))


def _is_time(text: str) -> bool:
    words = set(_WORD.findall(_ZONE.sub(" ", _ANY_WORD.sub(r" \g<0> ", text))))
    if not words & _WORDS:
        return False
    if _TIME_OF_DAY.search(text):
        return True
    others = words - _WORDS - _BESIDE
    return len(others) <= 1 and all(map(_may_be_zone, others))


def _may_be_zone(word: str) -> bool:
    return len(word) <= _SHORT or word.endswith("dst") or word in _LONG_ZONES or not word.isalpha()


def asks_clock(message: Message) -> bool:
    """Say whether one part of a query's tree may ask the clock by making a time of a text; columns are left out."""
    fields = message.fields
    match message.type:
        case "A_Const":
            return may_ask_clock(fields.get("sval", {}).get("sval", ""))
        case "TypeCast":
            return _makes_time(fields["typeName"]) and not fields["arg"].keys() & {"A_Const", "ColumnRef", "ParamRef"}
        case "FuncCall" if _is_cast(fields):
            return not fields["args"][0].keys() & {"A_Const", "ColumnRef", "ParamRef"}
        case "FuncCall" if _name(fields["funcname"]) in POPULATING:
            return not _is_given(fields.get("args", [{}])[-1])
        case "JsonFuncExpr" | "JsonTable" | "RangeTableFunc":
            inner = grammar.messages(message.type, fields)
            return any(each.type == "TypeName" and _makes_time(each.fields) for each in inner)
    return False


def read_as_times(messages: Iterable[Message]) -> set[str]:
    """Return the names of the columns that are made a time, or what may hold one."""
    found = set[str]()
    for message in messages:
        fields = message.fields
        cast = message.type == "TypeCast" and _makes_time(fields["typeName"])
        if cast or (message.type == "FuncCall" and _is_cast(fields)):
            argument = fields["arg"] if cast else fields["args"][0]
            if "ColumnRef" in argument:
                # Of a whole row nobody knows: no column is called so.
                found.add(argument["ColumnRef"]["fields"][-1].get("String", {}).get("sval", ""))
    return found


def _name(names: list[Mapping[str, Any]]) -> str:
    return str(names[-1].get("String", {}).get("sval", ""))


def _makes_time(type_name: Mapping[str, Any]) -> bool:
    names = type_name.get("names", [{}])
    return _name(names) not in _NO_TIMES


def _is_cast(call: Mapping[str, Any]) -> bool:
    """Say whether a call is spelled like one and may be a cast: `date(x)`."""
    return _name(call.get("funcname", [{}])) in _TIMES and len(call.get("args", ())) == 1


def _is_given(argument: Mapping[str, Any]) -> bool:
    """Say whether a document stands in the text, or is bound: those are read word by word."""
    while "TypeCast" in argument:
        argument = argument["TypeCast"]["arg"]
    return bool(argument.keys() & {"A_Const", "ParamRef"})
