"""Whether a statement may give other names to what there is, or what there is to other names: a part enters.

Masks know columns by their names. Behind what may rename a column, or make a relation, a view or a function anew under
a known name, names say nothing of values any more.
"""

from pgnotary.judge.statement import Part, Qualifier

__all__ = ["may_rename"]

_RENAMING = frozenset(
    """
    AlterExtensionContentsStmt AlterExtensionStmt AlterObjectSchemaStmt AlterTableMoveAllStmt AlterTableStmt CallStmt
    CreateExtensionStmt CreateForeignTableStmt CreateFunctionStmt CreateSchemaStmt CreateTableAsStmt DoStmt
    ImportForeignSchemaStmt RenameStmt RuleStmt ViewStmt
    """.split()
)


def may_rename(part: Part) -> bool:
    """Say whether names may stand for other values behind a part: a DROP, CREATE TABLE or change of rows does not."""
    if part.node in _RENAMING or not part.node or part.runs_no_query:
        return True
    # SELECT INTO, and a function that nobody has read.
    return part.node == "SelectStmt" and (bool(part.makes) or Qualifier.FUNCTION in part.qualifiers)
