"""The requests as a table: what stands in it, and that no spreadsheet runs it."""

import pytest
from tests.verify.builder import Ledger

from pgnotary.audit.story import stories
from pgnotary.audit.table import COLUMNS, table
from pgnotary.audit.withheld import Disclosure


def test_the_table_has_one_row_a_request(ledger: Ledger) -> None:
    header, *rows = table(stories(ledger.entries()))
    assert tuple(header) == COLUMNS
    first = dict(zip(header, rows[0], strict=True))
    assert len(rows) == 6
    assert (first["id"], first["exact"], first["max_rows"], first["result"], first["rows"], first["xid"]) == (
        "R-1",
        "1204",
        "2000",
        "committed",
        "1204",
        "771",
    )


@pytest.mark.parametrize(
    "statement",
    ["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "  =1", "\uff1d1", "\u00a0=1", "-- a comment"],
)
def test_no_cell_of_the_table_begins_like_a_formula(statement: str) -> None:
    ledger = Ledger()
    ledger.ask("R-1", statement=statement, database=statement, user=statement)
    header, row = table(stories(ledger.entries()))
    cells = [row[header.index(name)] for name in ("user", "database", "statement")]
    assert {(cell[0], cell.replace("'", "")) for cell in cells} == {("'", statement)}


@pytest.mark.parametrize(
    ("statement", "cell"),
    [
        ("select 1;=1+1", "select 1;'=1+1"),
        ("select 1; @x", "select 1;' @x"),
        ("select a\n=1", "select a\n'=1"),
        ("select a\t-1", "select a\t'-1"),
        ("select a - 1 = b", "select a - 1 = b"),
    ],
)
def test_no_part_of_a_cell_begins_like_a_formula_where_cells_are_cut_at_semicolons_tabs_or_lines(
    statement: str, cell: str
) -> None:
    ledger = Ledger()
    ledger.ask("R-1", statement=statement)
    header, row = table(stories(ledger.entries()))
    assert row[header.index("statement")] == cell


def test_a_statement_can_be_withheld_from_the_table(ledger: Ledger) -> None:
    header, row, *_ = table(stories(ledger.entries()), Disclosure(("statement",)))
    assert row[header.index("statement")] == ""
