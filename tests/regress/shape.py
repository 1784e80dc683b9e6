"""What a text is by its parse tree alone: the part of these tests that must not believe the judge.

A text enters, a `Shape` leaves: whether all of it is of a form that everybody would call a read, what it calls, which
escape of READ ONLY it names, and which of its statements can be tried out. It uses PostgreSQL's grammar, and nothing
that the judge concludes from it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pgnotary.judge.grammar import Message, messages, parse, scan
from pgnotary.judge.kinds import explain_analyzes

__all__ = ["ESCAPES", "Shape", "Slice", "shape_of"]

_WRITES = frozenset("InsertStmt UpdateStmt DeleteStmt MergeStmt".split())
_NOT_PLAIN = _WRITES | {"IntoClause", "LockingClause"}

ESCAPES = frozenset(
    """
    AlterSystemStmt CallStmt CheckPointStmt ClusterStmt DoStmt LoadStmt LockStmt ReindexStmt VacuumStmt

    lo_create lo_creat lo_from_bytea lo_import lo_export lo_open lo_put lo_unlink lo_truncate lo_truncate64 lowrite
    dblink dblink_exec dblink_send_query dblink_connect dblink_connect_u
    pg_reload_conf pg_rotate_logfile pg_terminate_backend pg_cancel_backend pg_promote pg_switch_wal
    pg_create_restore_point pg_backup_start pg_backup_stop pg_wal_replay_pause pg_wal_replay_resume
    pg_log_backend_memory_contexts
    pg_create_physical_replication_slot pg_create_logical_replication_slot pg_drop_replication_slot
    pg_copy_physical_replication_slot pg_copy_logical_replication_slot pg_replication_slot_advance
    pg_logical_slot_get_changes pg_logical_slot_get_binary_changes
    pg_replication_origin_create pg_replication_origin_drop pg_replication_origin_advance
    pg_logical_emit_message pg_stat_reset pg_stat_reset_shared pg_stat_reset_single_table_counters
    pg_stat_reset_single_function_counters pg_stat_reset_slru pg_stat_reset_replication_slot
    pg_stat_reset_subscription_stats pg_stat_statements_reset
    pg_file_write pg_file_rename pg_file_unlink pg_file_sync pg_prewarm
    pg_current_xact_id txid_current pg_export_snapshot pg_extension_config_dump pg_import_system_collations
    brin_summarize_new_values brin_summarize_range brin_desummarize_range gin_clean_pending_list
    COPY-to-a-file COPY-to-a-program two-phase-commit
    """.split()
)
"""What READ ONLY lets through although it does something: the types of statements, functions, and forms, by name.

Being let through, a trial would prove nothing: who calls one of them harmless is wrong without it. Not here is what a
profile forwards knowing what it is: notifications, advisory locks, settings, and PREPARE TRANSACTION.

Source: ClassifyUtilityCommandAsReadOnly in src/backend/tcop/utility.c (15.18); the rest was tried.
"""

_MAY_READ = frozenset("SelectStmt ExplainStmt CopyStmt DeclareCursorStmt FetchStmt PrepareStmt ExecuteStmt".split())

# Running them twice is not what running them once is, and rolling back does not take it back: a large object's
# descriptor keeps its place, too.
_ONLY_ONCE = frozenset("DeallocateStmt DiscardStmt ClosePortalStmt FetchStmt".split())
_ONCE_CALLED = ("pg_advisory_", "pg_try_advisory_", "setseed", "loread", "lo_lseek")


@dataclass(frozen=True)
class Slice:
    """One statement of a text."""

    node: str
    text: bytes
    prepared: str = ""
    """The name that a PREPARE gives."""
    held_over: str = ""
    """The name of a cursor WITH HOLD."""
    controls: bool = False
    """It is transaction control, SET TRANSACTION too."""
    explained: bytes = b""
    """The query that EXPLAIN only shows the plan of."""


@dataclass(frozen=True)
class Shape:
    """What a text is."""

    slices: tuple[Slice, ...]
    reads: bool
    """Each statement has the form of a read: a query, SHOW, EXPLAIN that runs no write, COPY TO STDOUT."""
    functions: frozenset[str]
    """The names of the functions that it calls in so many words."""
    escape: str
    """One of ESCAPES that it contains, else ""."""

    @property
    def obstacle(self) -> str:
        """Why the text cannot be run once more than its script says, and undone; "" if it can."""
        if any(part.controls for part in self.slices):
            return "transaction control"
        once = [part.node for part in self.slices if part.node in _ONLY_ONCE]
        once += [name for name in sorted(self.functions) if name.startswith(_ONCE_CALLED)]
        return next(iter(once), self.escape)

    @property
    def may_read(self) -> bool:
        """Whether it is worth asking for the catalog first: of the rest no catalog says that it is harmless."""
        return any(part.node in _MAY_READ for part in self.slices)

    @property
    def takes_a_snapshot(self) -> bool:
        """Whether a question asked before it changes nothing: BEGIN; SET TRANSACTION must not be parted by one."""
        return not all(part.node in ("TransactionStmt", "VariableSetStmt", "VariableShowStmt") for part in self.slices)


def shape_of(text: bytes) -> Shape:
    """Return what `text` is; raises Unreadable if PostgreSQL's grammar cannot read it."""
    slices, functions, escapes, reads = list[Slice](), set[str](), list[str](), True
    for raw in parse(text):
        tree = list(messages(raw.node, raw.fields))
        prepared = str(raw.fields["name"]) if raw.node == "PrepareStmt" else ""
        held_over, controls = _held_over(raw.node, raw.fields), _controls(raw.node, raw.fields)
        part = text[raw.start : raw.end]
        explained = _explained(part) if raw.node == "ExplainStmt" and _shows_query(raw.fields) else b""
        slices.append(Slice(raw.node, part, prepared, held_over, controls, explained))
        functions |= {_last_name(message.fields["funcname"]) for message in tree if message.type == "FuncCall"}
        escapes += _escapes(raw.node, raw.fields, tree)
        reads = reads and _reads(raw.node, raw.fields, tree)
    return Shape(tuple(slices), reads and bool(slices), frozenset(functions), next(iter(escapes), ""))


def _reads(node: str, fields: Mapping[str, Any], tree: Sequence[Message]) -> bool:
    plain = not any(message.type in _NOT_PLAIN for message in tree)
    match node:
        case "SelectStmt":
            return plain
        case "VariableShowStmt":
            return True
        case "ExplainStmt":
            ((inner, _),) = fields["query"].items()
            return (inner == "SelectStmt" and plain) or (inner in _WRITES and not explain_analyzes(fields))
        case "CopyStmt":
            return plain and not (fields.get("is_from") or fields.get("is_program") or fields.get("filename"))
        case _:
            return False


def _shows_query(fields: Mapping[str, Any]) -> bool:
    return "SelectStmt" in fields["query"] and not explain_analyzes(fields)


def _explained(text: bytes) -> bytes:
    """Return what follows EXPLAIN and its options."""
    depth = 0
    for token in scan(text):
        word = text[token.start : token.end].upper()
        depth += {b"(": 1, b")": -1}.get(word, 0)
        if depth == 0 and word in (b"SELECT", b"WITH", b"VALUES", b"TABLE"):
            return text[token.start :]
    # A query in brackets, which look like those of options.
    return b""


def _escapes(node: str, fields: Mapping[str, Any], tree: Sequence[Message]) -> Iterator[str]:
    if node == "CopyStmt" and not fields.get("is_from"):
        if fields.get("is_program"):
            yield "COPY-to-a-program"
        elif fields.get("filename"):
            yield "COPY-to-a-file"
    if node == "TransactionStmt" and "PREPARED" in fields.get("kind", ""):
        yield "two-phase-commit"
    for message in tree:
        if message.type in ESCAPES:
            yield message.type
        elif message.type == "FuncCall" and (name := _last_name(message.fields["funcname"])) in ESCAPES:
            yield name


def _controls(node: str, fields: Mapping[str, Any]) -> bool:
    # SET TRANSACTION, in so many words or as a setting.
    setting = str(fields.get("name", "")).lower() if node == "VariableSetStmt" else ""
    return node == "TransactionStmt" or setting.startswith("transaction")


def _held_over(node: str, fields: Mapping[str, Any]) -> str:
    # CURSOR_OPT_HOLD in src/include/nodes/parsenodes.h.
    is_held_over = node == "DeclareCursorStmt" and int(fields.get("options", 0)) & 0x0020
    return str(fields["portalname"]) if is_held_over else ""


def _last_name(names: Sequence[Mapping[str, Any]]) -> str:
    return str(names[-1]["String"].get("sval", ""))
