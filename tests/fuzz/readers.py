"""The differential half without a server: what the judge forwards, read again by other ways.

A text and what was judged enter; contradictions leave. PostgreSQL's splitter must count as many statements as the
judge, each of its slices must read as the one statement that it was taken for, and the tree in JSON, searched for
words, must name nothing that writes. What sqlglot makes of the raw text is no contradiction (its lexer can be
fooled), but worth counting.
"""

import logging
import re

import postgast
import sqlglot
from postgast import native
from sqlglot import exp
from tests.fuzz.adapter import Judged, judge

__all__ = ["contradictions", "second_opinion"]

# It tells for each EXPLAIN and SHOW that it does not know them.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

# Searched for in the tree's JSON, where constants stand in quotes of their own and cannot look like a key.
_WRITES = re.compile(rb'"(InsertStmt|UpdateStmt|DeleteStmt|MergeStmt|IntoClause|intoClause|LockingClause)":')
_SEEN_AS_WRITES = (
    exp.Insert,
    exp.Update,
    exp.Delete,
    exp.Merge,
    exp.Into,
    exp.Lock,
    exp.Create,
    exp.Drop,
    exp.TruncateTable,
)
_ROOTS = frozenset(
    """
    SelectStmt ExplainStmt CopyStmt VariableShowStmt VariableSetStmt TransactionStmt PrepareStmt DeallocateStmt
    DeclareCursorStmt ClosePortalStmt
    """.split()
) | {""}


def contradictions(text: bytes, judged: Judged) -> list[str]:
    """Return what speaks against forwarding a text that was judged to be forwarded."""
    found = []
    if roots := {node for _, _, node in judged.parts} - _ROOTS:
        found.append(f"forwards {', '.join(sorted(roots))}")
    for method in ("parser", "scanner"):
        said = sum(1 for piece in _split(text, method) if _says_something(piece))
        if said != sum(1 for _, _, node in judged.parts if node):
            found.append(f"libpg_query's {method} splits it into {said} statements, the judge into {len(judged.parts)}")
    tree = _json(text)
    if not judged.plans_a_write and (write := _WRITES.search(tree)):
        found.append(f"its tree has {write[1].decode()}")
    if len(judged.parts) > 1:
        for start, end, node in judged.parts:
            alone = judge(text[start:end]).parts
            if [part[2] for part in alone] != [node]:
                found.append(f"its slice {start}:{end} reads as {[part[2] for part in alone]} instead of {node}")
    return found


def second_opinion(text: bytes, judged: Judged) -> str:
    """Return how sqlglot, given the raw text, differs from the judge, or ""; never an error."""
    try:
        roots = [root for root in sqlglot.parse(text.decode(), read="postgres") if root is not None]
    # A foreign parser over hostile text: whatever it stumbles over, it has not read the text.
    except Exception:
        return "cannot read it"
    if any(isinstance(node, _SEEN_AS_WRITES) for root in roots for node in root.walk()):
        return "" if judged.plans_a_write else "sees a write"
    said = sum(1 for part in judged.parts if part[2])
    return "" if len(roots) == said else f"sees {len(roots)} statements instead of {said}"


def _split(text: bytes, method: str) -> list[str]:
    return postgast.split(text.decode(), method="parser" if method == "parser" else "scanner")


def _says_something(piece: str) -> bool:
    tokens = [postgast.pg_query_pb2.Token.Name(token.token) for token in postgast.scan(piece).tokens]
    return any(name not in ("C_COMMENT", "SQL_COMMENT", "ASCII_59") for name in tokens)


def _json(text: bytes) -> bytes:
    result = native.lib.pg_query_parse(text)
    try:
        return bytes(result.parse_tree)
    finally:
        native.lib.pg_query_free_parse_result(result)
