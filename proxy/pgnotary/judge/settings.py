"""Session settings: which may be changed freely, which are pinned, which are held.

A SET, RESET or start-up parameter enters as a `SettingChange`; a `Ruling` leaves. Pinned settings carry promises 1 and
2: they decide how the server reads a text and whether an unsigned statement can write. They are set in the start-up
packet, where RESET ALL cannot take them down, and never change afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

__all__ = ["FREE_BY_FUNCTION", "PINNED", "REASON", "Ruling", "SettingChange", "read_change", "ruling"]

REASON = "pgnotary.reason"
"""The setting in which an engineer says why: `SET pgnotary.reason = '...'`."""

PINNED: Mapping[str, str] = {
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "default_transaction_read_only": "on",
}
"""What every upstream session is opened with and must keep."""

_SPELLINGS: Mapping[str, frozenset[str]] = {
    "client_encoding": frozenset({"utf8", "utf-8", "unicode"}),
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1"}),
    "backslash_quote": frozenset({"safe_encoding"}),
}

_NEVER = frozenset({"default_transaction_read_only", "transaction_read_only"})

# They change how answers look, how long things may take or how plans are made; never what a text means or may do.
_FREE = frozenset(
    """
    bytea_output client_min_messages constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost
    cursor_tuple_fraction datestyle effective_cache_size extra_float_digits from_collapse_limit geqo geqo_threshold
    hash_mem_multiplier idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit join_collapse_limit
    lc_messages lc_monetary lc_numeric lc_time lock_timeout max_parallel_workers_per_gather parallel_setup_cost
    parallel_tuple_cost plan_cache_mode random_page_cost seq_page_cost statement_timeout timezone
    transaction_timeout work_mem xmlbinary xmloption
    """.split()
)


FREE_BY_FUNCTION = frozenset({"jit"})
"""What a SELECT may change with set_config(): asyncpg does so before it asks for types. All else is said with SET."""


class Ruling(Enum):
    """What to do with a change of a setting."""

    FREE = "free"
    HOLD = "hold"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One SET or RESET."""

    name: str
    """Lower case; "" for RESET ALL."""
    values: tuple[str, ...] | None
    """None for RESET and DEFAULT."""


def read_change(fields: Mapping[str, Any]) -> SettingChange | None:
    """Return what a VariableSetStmt changes, or None for a form that is not a plain SET or RESET."""
    kind = fields.get("kind")
    name = str(fields.get("name", "")).lower()
    if kind == "VAR_RESET_ALL":
        return SettingChange("", None)
    if kind in ("VAR_SET_DEFAULT", "VAR_RESET"):
        return SettingChange(name, None)
    if kind != "VAR_SET_VALUE":
        return None
    values = tuple(_constant(argument) for argument in fields.get("args", ()))
    return SettingChange(name, values) if None not in values else None  # type: ignore[arg-type]  # just checked


def _constant(argument: Mapping[str, Any]) -> str | None:
    if "TypeCast" in argument:  # SET TIME ZONE INTERVAL '...'
        argument = argument["TypeCast"]["arg"]
    match argument.get("A_Const"):
        case {"sval": {"sval": str(value)}} | {"fval": {"fval": str(value)}}:
            return value
        case {"sval": {}}:
            return ""
        case {"ival": {**integer}}:
            return str(integer.get("ival", 0))
        case {"boolval": {**boolean}}:
            return "on" if boolean.get("boolval") else "off"
    return None


def ruling(change: SettingChange) -> Ruling:
    """Say whether a change may pass, waits for a signature, or would break a promise."""
    if change.name in _NEVER:
        return Ruling.REFUSE
    if change.name in _SPELLINGS:
        same = all(value.lower() in _SPELLINGS[change.name] for value in change.values or ())
        return Ruling.FREE if same else Ruling.REFUSE
    if change.name == "search_path":
        return Ruling.FREE if _keeps_builtins_first(change.values) else Ruling.HOLD
    # With a dot it is a setting of somebody's own, which functions of theirs may read.
    is_of_the_planner = change.name.startswith("enable_") and "." not in change.name
    if change.name in _FREE or is_of_the_planner or change.name in ("", REASON):
        return Ruling.FREE
    return Ruling.HOLD


def _keeps_builtins_first(schemas: tuple[str, ...] | None) -> bool:
    # pg_catalog is searched first unless it is named later: then user functions could stand before the built-in ones.
    return schemas is None or "pg_catalog" not in schemas[1:]
