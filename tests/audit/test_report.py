import itertools
from datetime import datetime

import pytest
from markdown_it import MarkdownIt
from tests.verify.builder import SEEDS, START, Ledger, public_of

from pgnotary.audit.report import Facts, gather, report
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.openssh import fingerprint

PARSER = MarkdownIt("gfm-like", {"linkify": False})


def facts(ledger: Ledger) -> Facts:
    return gather(ledger, None, None, ["Whole: every check passed."])


def section(lines: list[str], title: str) -> list[str]:
    at = lines.index(f"## {title}")
    return list(itertools.takewhile(lambda line: not line.startswith("## "), lines[at + 1 :]))


def requests(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith("| R-")]


@pytest.fixture
def lines(ledger: Ledger) -> list[str]:
    return list(report(facts(ledger)))


def test_every_request_of_the_period_stands_in_the_table(lines: list[str]) -> None:
    assert requests(section(lines, "Requests")) == ["R-1", "R-2", "R-3", "R-4", "R-5", "R-6"]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Approved in less than 5 seconds", ["R-5"]),
        ("Denied", ["R-2"]),
        ("Expired, withdrawn or orphaned", ["R-3", "R-4"]),
        ("Approved and not run", []),
        ("Unknown outcomes", ["R-5"]),
        ("Held because the second reader disagreed", ["R-5"]),
        ("Decisions that did not count", ["R-2"]),
    ],
)
def test_what_an_auditor_should_look_at_has_its_own_section(lines: list[str], title: str, expected: list[str]) -> None:
    assert requests(section(lines, title)) == expected
    if not expected:
        assert "None." in section(lines, title)


def test_the_counts_are_those_of_the_period(ledger: Ledger) -> None:
    counts = section(list(report(facts(ledger))), "Counts")
    assert "| Statements forwarded without a decision | 3 |" in counts
    assert "| Requests that are committed | 1 |" in counts
    assert "| Rows committed by approved statements | 1,204 |" in counts
    nothing = gather(ledger, None, START, [])
    assert "| Requests | 0 |" in list(report(nothing))


def test_the_result_of_the_verification_stands_at_the_top(lines: list[str]) -> None:
    assert "- Whole: every check passed." in lines[:8]


def test_the_report_is_markdown_and_every_row_has_the_columns_of_its_table(lines: list[str]) -> None:
    tokens = PARSER.parse("\n".join(lines))
    tables = sum(token.type == "table_open" for token in tokens)
    assert tables == 9
    widths = [
        sum(
            each.type in ("td_open", "th_open")
            for each in itertools.takewhile(lambda t: t.type != "tr_close", tokens[at:])
        )
        for at, token in enumerate(tokens)
        if token.type == "tr_open"
    ]
    assert set(widths) == {2, 4, 8}


@pytest.mark.parametrize(
    "text",
    [
        "a | b",
        "\\| x",
        "`rm` | `x`",
        "<script>alert(1)</script>",
        "[x](http://e.example)",
        "![x](y)",
        "*b* _i_ ~~s~~",
        "&lt;",
        "$x^2$",
        ":shipit: :100:",
        "#12 and GH-12",
    ],
)
def test_text_of_clients_stays_text(text: str) -> None:
    ledger = Ledger().start()
    ledger.ask("R-1", person=text, database=text, relations=[text])
    ledger.preview("R-1")
    ledger.decide("R-1", reason=text)
    tokens = PARSER.parse("\n".join(report(facts(ledger))))
    inline = [token for token in tokens if token.type == "inline" and token.children]
    kinds = {child.type for token in inline for child in token.children or ()}
    assert kinds <= {"text", "text_special"}
    shown = ["".join(child.content for child in token.children or ()) for token in inline]
    assert sum(text in each for each in shown) >= 3


def test_a_newline_in_a_name_is_left_to_whoever_prints_the_line() -> None:
    ledger = Ledger().start()
    ledger.ask("R-1", person="eva\n# forged heading")
    assert all(not line.startswith("# forged") for line in report(facts(ledger)))


def test_marks_that_only_github_knows_are_escaped() -> None:
    ledger = Ledger()
    ledger.ask("R-1", person="$a$ :shipit: :+1: :100: #12 GH-12 @eva 09:00:05")
    lines = list(report(facts(ledger)))
    assert any(r"\$a\$ \:shipit: \:+1: \:100: \#12 GH\-12 \@eva 09:00:05" in line for line in lines)


def test_every_roster_of_the_period_stands_in_it_with_its_fingerprints(ledger: Ledger) -> None:
    ledger.roster("ana", "bo")
    before = ledger.clock
    ledger.wait(3600).roster("ana", "mallory")
    keys = [fingerprint(public_of(SEEDS[each])) for each in ("ana", "bo", "mallory")]

    def rows(since: datetime | None, until: datetime | None) -> list[list[str]]:
        lines = section(list(report(gather(ledger, since, until, []))), "Rosters in force")
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith(r"| \#")]

    first = [[r"\#1", "2026-11-20 09:00:02.000Z", "ana", keys[0]], [r"\#1", "2026-11-20 09:00:02.000Z", "bo", keys[1]]]
    assert rows(None, before) == first
    assert [row[2:] for row in rows(ledger.clock, None)] == [["ana", keys[0]], ["mallory", keys[2]]]
    assert len(rows(None, None)) == 4


def test_a_roster_that_cannot_be_read_is_reported_as_such() -> None:
    ledger = Ledger()
    ledger.append(Draft(EntryType.ROSTER, {"allowed_signers": "* ssh-rsa AAAA"}))
    assert "it cannot be read: line 1" in "\n".join(section(list(report(facts(ledger))), "Rosters in force"))
