"""Session settings: which may be changed freely, which are pinned, which are held.

A SET, RESET or start-up parameter enters as a `SettingChange`; a `Ruling` leaves. Pinned settings carry promises 1 and
2: they decide how the server reads a text and whether an unsigned statement can write. They are set in the start-up
packet, where RESET ALL cannot take them down, and never change afterwards.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pgnotary.wire.encodings import CLIENT_ENCODING, is_carried

__all__ = [
    "PINNED",
    "READ_ONLY_BY_DEFAULT",
    "REASON",
    "RESCOPING",
    "Ruling",
    "SettingChange",
    "keeps_utf8",
    "parse_boolean",
    "read_change",
    "read_set_config",
    "ruling",
    "ruling_by_function",
    "tells_encoding",
]

REASON = "pgnotary.reason"
"""The setting in which an engineer says why: `SET pgnotary.reason = '...'`."""

READ_ONLY_BY_DEFAULT = "default_transaction_read_only"

PINNED: Mapping[str, str] = {
    CLIENT_ENCODING: "UTF8",
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    READ_ONLY_BY_DEFAULT: "on",
}
"""What every upstream session is opened with and must keep."""

_UTF8 = frozenset({"utf8", "utf-8", "unicode"})
_AS_WRITTEN = "UNICODE"
_OF_PLAIN_SELECT = frozenset({"targetList", "limitOption", "op"})
_OF_PLAIN_CALL = frozenset({"funcname", "args", "funcformat", "location"})

_SPELLINGS: Mapping[str, frozenset[str]] = {
    "standard_conforming_strings": frozenset({"on", "true", "yes", "1"}),
    "backslash_quote": frozenset({"safe_encoding"}),
}

_NEVER = frozenset({"transaction_read_only"})
_OURS = "pgnotary."

# They change how answers look, how long things may take or how plans are made, or they forbid more than before; never
# what a text means or may do.
_FREE = frozenset(
    """
    application_name array_nulls backend_flush_after bytea_output client_connection_check_interval client_min_messages
    constraint_exclusion cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost cursor_tuple_fraction datestyle
    default_transaction_deferrable default_transaction_isolation effective_cache_size effective_io_concurrency
    escape_string_warning extra_float_digits from_collapse_limit geqo geqo_effort geqo_generations geqo_pool_size
    geqo_seed geqo_selection_bias geqo_threshold gin_fuzzy_search_limit hash_mem_multiplier
    idle_in_transaction_session_timeout idle_session_timeout intervalstyle jit jit_above_cost jit_inline_above_cost
    jit_optimize_above_cost join_collapse_limit lc_messages lc_monetary lc_numeric lc_time lock_timeout
    maintenance_work_mem max_parallel_maintenance_workers max_parallel_workers max_parallel_workers_per_gather
    min_parallel_index_scan_size min_parallel_table_scan_size parallel_leader_participation parallel_setup_cost
    parallel_tuple_cost plan_cache_mode quote_all_identifiers random_page_cost recursive_worktable_factor
    restrict_nonsystem_relation_kind row_security seq_page_cost statement_timeout synchronize_seqscans
    tcp_keepalives_count tcp_keepalives_idle tcp_keepalives_interval tcp_user_timeout temp_buffers timezone
    transaction_deferrable transaction_isolation transaction_timeout work_mem xmlbinary xmloption
    """.split()
)

RESCOPING = frozenset({"", "search_path", "role", "session_authorization"})
"""What decides which relation a name stands for; "" is RESET ALL."""


class Ruling(Enum):
    """What to do with a change of a setting."""

    FREE = "free"
    HOLD = "hold"
    REFUSE = "refuse"
    VIRTUAL = "virtual"
    """The client has one of its own, which we keep for it."""


@dataclass(frozen=True, slots=True)
class SettingChange:
    """One SET or RESET."""

    name: str
    """Lower case; "" for RESET ALL."""
    values: tuple[str, ...] | None
    """None for RESET and DEFAULT."""
    local: bool = False
    """SET LOCAL: until the end of the transaction."""
    column: bytes = b""
    """Of SELECT set_config(...): the name of its one column."""
    parameter: int = 0
    """Of SELECT set_config(...): the $n that its value is; then `values` is None."""
    tag: str = field(default="SET", compare=False)
    """What its CommandComplete says."""


def read_change(fields: Mapping[str, Any]) -> SettingChange | None:
    """Return what a VariableSetStmt changes, or None for a form that is not a plain SET or RESET.

    SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY is SET default_transaction_read_only.
    """
    kind = fields.get("kind")
    name = str(fields.get("name", "")).lower()
    if kind == "VAR_RESET_ALL":
        return SettingChange("", None)
    if kind in ("VAR_SET_DEFAULT", "VAR_RESET"):
        is_reset = kind == "VAR_RESET"
        return SettingChange(name, None, bool(fields.get("is_local")), tag="RESET" if is_reset else "SET")
    if kind == "VAR_SET_MULTI" and name == "session characteristics":
        return _of_characteristics([item["DefElem"] for item in fields.get("args", ())])
    if kind != "VAR_SET_VALUE":
        return None
    values = tuple(_constant(argument) for argument in fields.get("args", ()))
    local = bool(fields.get("is_local"))
    return SettingChange(name, values, local) if None not in values else None  # type: ignore[arg-type]  # just checked


def read_set_config(fields: Mapping[str, Any]) -> SettingChange | None:
    """Return the change that a SELECT is which does nothing but set client_encoding, by a constant or a parameter."""
    match _only_call(fields), fields.get("targetList"):
        case {"args": [{"A_Const": {"sval": {"sval": str(name)}}}, value, local], **call}, [{"ResTarget": target}]:
            is_local = _constant(local)
            if name.lower() != CLIENT_ENCODING or _called(call) != "set_config" or is_local not in ("on", "off"):
                return None
            column = str(target.get("name", "set_config")).encode()
            match value:
                case {"ParamRef": {"number": int(number)}}:
                    return SettingChange(CLIENT_ENCODING, None, is_local == "on", column, number)
                case {"A_Const": {"isnull": True}}:
                    return SettingChange(CLIENT_ENCODING, None, is_local == "on", column)
                case {"A_Const": {"sval": {**constant}}}:
                    value = str(constant.get("sval", ""))
                    return SettingChange(CLIENT_ENCODING, (value,), is_local == "on", column)
    return None


def tells_encoding(fields: Mapping[str, Any]) -> bool:
    """Say whether all that a SELECT asks for is client_encoding, in so many words."""
    match _only_call(fields):
        case {"args": [{"A_Const": {"sval": {"sval": str(name)}}}, *missing_ok], **call} if len(missing_ok) < 2:
            constant = all(_constant(argument) in ("on", "off") for argument in missing_ok)
            return name.lower() == CLIENT_ENCODING and _called(call) == "current_setting" and constant
        case {"args": _}:
            return False
        case {**call}:
            return _called(call) == "pg_client_encoding"
    return False


def _only_call(fields: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the call that is all of a SELECT, without anything but its arguments."""
    if set(fields) - _OF_PLAIN_SELECT:
        return None
    match fields.get("targetList"):
        case [{"ResTarget": {"val": {"FuncCall": {**found}}}}]:
            call: Mapping[str, Any] = found  # type: ignore[assignment]  # its keys are words
            return call if not set(call) - _OF_PLAIN_CALL else None
    return None


def _called(call: Mapping[Any, Any]) -> str:
    match call.get("funcname"):
        case [{"String": {"sval": str(name)}}] | [{"String": {"sval": "pg_catalog"}}, {"String": {"sval": str(name)}}]:
            return name
    return ""


def _of_characteristics(modes: Sequence[Mapping[str, Any]]) -> SettingChange | None:
    match modes:
        case [{"defname": "transaction_read_only", "arg": argument}]:
            value = _constant(argument)
            return SettingChange(READ_ONLY_BY_DEFAULT, (value,)) if value is not None else None
        case _ if all(mode["defname"] != "transaction_read_only" for mode in modes):
            return SettingChange("default_transaction_isolation", ())
        case _:
            return None


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
    if change.name in _NEVER or _is_kept(change.name):
        return Ruling.REFUSE
    if change.name == CLIENT_ENCODING:
        return Ruling.VIRTUAL if all(map(is_carried, change.values or ())) else Ruling.REFUSE
    if change.name == READ_ONLY_BY_DEFAULT:
        return Ruling.VIRTUAL
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


def ruling_by_function(change: SettingChange) -> Ruling:
    """Say the same of set_config(), whose value is one text; None if the text does not show it."""
    if change.values is None:
        if change.name in _NEVER or change.name in PINNED or _is_kept(change.name):
            return Ruling.REFUSE
        return Ruling.FREE if change.name in _FREE else Ruling.HOLD
    if change.name == "search_path":
        (listed,) = change.values
        change = SettingChange(change.name, tuple(name.strip(' \t\n\r\f\v"').lower() for name in listed.split(",")))
    if change.name == CLIENT_ENCODING and keeps_utf8(change):
        return Ruling.FREE
    found = ruling(change)
    return Ruling.REFUSE if found is Ruling.VIRTUAL else found


def keeps_utf8(change: SettingChange) -> bool:
    """Say whether a change leaves client_encoding at UTF8 where it is that, and by default.

    PostgreSQL tells 'UNICODE' back as it was written.
    """
    values = change.values or ()
    return change.name == CLIENT_ENCODING and all(value.lower() in _UTF8 and value != _AS_WRITTEN for value in values)


def _is_kept(name: str) -> bool:
    """Say whether it is a setting of our own that is no client's to change."""
    return name.startswith(_OURS) and name != REASON


def parse_boolean(value: str) -> bool | None:
    """Return what PostgreSQL takes a value for (parse_bool in bool.c), or None for an error."""
    word = value.strip().lower()
    if word in ("on", "1") or (word and ("true".startswith(word) or "yes".startswith(word))):
        return True
    if word in ("of", "off", "0") or (word and ("false".startswith(word) or "no".startswith(word))):
        return False
    return None


def _keeps_builtins_first(schemas: tuple[str, ...] | None) -> bool:
    # pg_catalog is searched first unless it is named later: then user functions could stand before the built-in ones.
    return schemas is None or "pg_catalog" not in schemas[1:]
