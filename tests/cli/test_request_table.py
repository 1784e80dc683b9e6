"""The table of open requests keeps its columns whatever engineers write."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.approval.office import MemoryLedger

from pgnotary.approval.bodies import EntryPaper, RequestPaper
from pgnotary.approval.papers import Paper, read_paper
from pgnotary.cli.request_table import cells, held_line, table_lines
from pgnotary.cli.safe_text import columns


def _paper(**how: Any) -> Paper:
    asked, shown = MemoryLedger().hold(**how)
    entry, preview = (EntryPaper(entry=each.entry.raw, opened=dict(each.opened)) for each in (asked, shown))
    return read_paper(RequestPaper(id="R-1", request=entry, preview=preview), "R-1")


_HOSTILE: list[dict[str, Any]] = [
    {"relations": [f"{'long_relation_name_' * 3}{number}" for number in range(200)]},
    {"rule": "default/" + "x" * 300},
    {"database": "d" * 63},
    {"person": "p" * 300},
    {"relations": ["\u4f60" * 300], "rule": "\u597d" * 300, "database": "\u5417" * 60},
]


@pytest.mark.parametrize("width", [80, 81, 100, 120, 300])
@pytest.mark.parametrize("hostile", _HOSTILE, ids=lambda how: next(iter(how)))
def test_one_long_name_does_not_take_the_columns_of_every_row(hostile: dict[str, Any], width: int) -> None:
    papers = [_paper(), _paper(**hostile), _paper(exact=None)]
    head, plain, *rest = table_lines(papers, datetime.now(UTC), width)
    assert all(columns(line) <= width for line in (head, plain, *rest))
    assert len(rest) == 2
    assert head.split() == ["ID", "AGE", "LEFT", "WHO", "DATABASE", "WHAT", "ROWS", "RULE"]
    for word in ("R-1", "0s", "14:59", "eva", "shop", "1,204"):
        assert word in plain.split()
    assert "DELETE o" in plain


_LONG: dict[str, Any] = {
    "person": "christopher.montgomery-smythe@data-platform.example.com",
    "database": "customer_relationship_management_production",
    "relations": ["subscription_invoice_line_items_archive_2019"],
}


def test_long_names_share_the_line_and_what_is_asked_gets_most_of_it() -> None:
    head, line = table_lines([_paper(**_LONG)], datetime.now(UTC), 80)
    for word in ("christop…", "customer…", "…d-delete"):
        assert word in line
    what = line[head.index("WHAT") : head.index("  ROWS")]
    assert what.startswith("DELETE on subscri")
    assert what.rstrip().endswith("…")


def test_a_line_alone_is_shared_in_the_same_way() -> None:
    now = datetime.now(UTC)
    long = held_line(_paper(**_LONG), now, 80)
    assert columns(long) <= 80
    assert long.endswith(" left  1,204 rows  christo…  custome…  DELETE on subsc…  …delete")
    assert held_line(_paper(), now, 120).endswith("eva  shop  DELETE on public.orders  default/hold-delete")
    assert " left  1 row  eva" in held_line(_paper(exact=1), now, 120)


def test_what_is_piped_is_not_cut() -> None:
    relations = [f"relation_{number}" for number in range(200)]
    _, line = table_lines([_paper(relations=relations)], datetime.now(UTC), None)
    assert f"DELETE on {', '.join(relations)}" in line


def test_a_row_holds_no_foreign_line() -> None:
    paper = _paper(relations=["public.a\nR-9  0s", "\x1b[1m"], exact=None, preview={"status": "partly", "estimate": 7})
    row = cells(paper, datetime.now(UTC))
    assert (row["WHAT"], row["ROWS"]) == ("DELETE on public.a\\u{a}R-9  0s, \\u{1b}[1m", "~7")
    assert len(list(table_lines([paper], datetime.now(UTC), 80))) == 2


def test_an_upper_bound_is_not_shown_as_a_count() -> None:
    paper = _paper(exact=None, preview={"status": "measured", "at_most": 40, "estimate": 7})
    assert cells(paper, datetime.now(UTC))["ROWS"] == "<=40"
