"""What a preview saw, in words: no number can be taken for what it is not."""

from typing import Any

import msgspec
import pytest

from pgnotary.approval.papers import Measured
from pgnotary.cli.preview_view import preview_lines, rows_in_words
from pgnotary.request.caveats import CAVEATS

AT = {"at": "2026-03-01T14:17:10.000000Z", "took_us": 41_000}
CASCADE = {"from": "app.a", "to": "app.b", "constraint": "b_fkey", "action": "cascade", "depth": 1, "indexed": True}
TRIGGER = {
    "relation": "app.a", "name": "keep", "when": "before", "each": "row", "events": ["delete", "update"],
    "function": "app.f",
}  # fmt: skip


def _measured(**body: Any) -> Measured:
    return msgspec.convert({"status": "measured"} | body, Measured)


def _told(**body: Any) -> list[tuple[str, str]]:
    return list(preview_lines(_measured(**body), ()))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"exact": 18_204, "relation_rows": 1_912_004}, "18,204 rows counted, of about 1,912,004 (1.0 %)"),
        ({"exact": 1, "estimate": 7}, "1 row counted, about 7 rows estimated"),
        ({"at_most": 40}, "AT MOST 40 rows"),
        ({"at_most": 40, "estimate": 9}, "AT MOST 40 rows, about 9 rows estimated"),
        ({"estimate": 9}, "about 9 rows estimated"),
        (
            {"estimate": 9, "obtained": {"estimate": AT | {"how": "count"}}},
            "about 9 rows counted, but may be others when it runs",
        ),
        ({"exact": 9, "relation_rows": 3}, "9 rows counted, of about 3"),
        ({"exact": 0, "relation_rows": 0}, "0 rows counted, of about 0"),
        ({}, "rows unknown"),
    ],
)
def test_each_number_says_what_it_is(body: dict[str, Any], words: str) -> None:
    assert rows_in_words(_measured(**body)) == words


def test_how_and_when_each_number_was_obtained_is_a_line() -> None:
    told = _told(exact=1, obtained={"exact": AT | {"how": "count"}, "estimate": AT | {"how": "explain"}})
    assert told[1:] == [
        ("obtained", "the count: counted, 14:17:10 UTC, in 41 ms"),
        ("obtained", "the estimate: the planner's estimate, 14:17:10 UTC, in 41 ms"),
    ]


def test_each_caveat_is_one_plain_sentence() -> None:
    told = _told(caveats=[*CAVEATS, "weather"])
    assert told[1:] == [
        *(("caveat", f"{word}: {sentence}") for word, sentence in CAVEATS.items()),
        ("caveat", "weather: this version does not know the word"),
    ]


def test_what_it_takes_and_whom_it_waits_for_are_lines() -> None:
    taken = {"relation": "app.a", "kind": "table", "how": "refers", "bytes": 20_480, "rows": {"estimate": 7}}
    view = {"relation": "app.v", "kind": "view", "how": "named", "bytes": 0, "rows": {}}
    holder = {"pid": 4711, "role": "app_rw", "mode": "AccessShareLock", "relation": "app.a", "granted": True}
    told = _told(
        takes=[taken, view],
        takes_more=3,
        dependents=["view app.w"],
        lock={"mode": "AccessExclusiveLock", "work": "rewrite"},
        holders=[holder | {"since_s": 4_100}, holder | {"granted": False}],
        holders_more=1,
    )
    assert told[1:] == [
        ("takes", "table app.a, it refers to what is emptied: 20 kB, about 7 rows"),
        ("takes", "view app.v, named: 0 bytes"),
        ("takes", "AND 3 MORE that are not listed"),
        ("dependent", "view app.w: goes along under CASCADE, stops it without"),
        ("lock", "AccessExclusiveLock: NOBODY READS OR WRITES MEANWHILE; writes every row anew, or may"),
        ("in its way", "pid 4711 (app_rw) holds AccessShareLock on app.a, in a transaction of 4,100 s"),
        ("in its way", "pid 4711 (app_rw) waits for AccessShareLock on app.a"),
        ("in its way", "AND 1 MORE that are not listed"),
    ]


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 bytes"), (10_239, "10,239 bytes"), (10_240, "10 kB"), (5 * 2**30, "5,120 MB"),
                        (2**60, "1,048,576 TB")],
)  # fmt: skip
def test_a_size_is_written_as_postgresql_writes_it(size: int, words: str) -> None:
    taken = {"relation": "a", "kind": "view", "how": "named", "bytes": size, "rows": {}}
    assert _told(takes=[taken])[1] == ("takes", f"view a, named: {words}")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"exact": 3}, "3 rows counted"),
        ({"at_most": 3}, "AT MOST 3 rows"),
        ({"estimate": 3}, "about 3 rows"),
        ({}, "ROWS UNKNOWN"),
    ],
)
def test_what_goes_along_says_how_many_rows_or_that_nobody_knows(rows: dict[str, int], words: str) -> None:
    assert _told(cascades=[CASCADE | {"rows": rows}])[1] == (
        "cascade",
        f"app.a -> app.b, cascade: {words} (b_fkey, level 1)",
    )


def test_a_key_without_an_index_is_told_in_capitals() -> None:
    ((_, told),) = _told(cascades=[CASCADE | {"rows": {}, "indexed": False}])[1:]
    assert told.endswith("; NOT INDEXED, so each row is looked for in the whole of it")


def test_triggers_row_security_and_what_is_left_out_are_told() -> None:
    assert _told(
        triggers=[TRIGGER],
        triggers_more=2,
        cascades_more=1,
        row_security=["app.a", "app.b"],
        row_security_more=4,
        rules=["CREATE RULE r AS ON DELETE TO app.a DO INSTEAD NOTHING;"],
    )[1:] == [
        ("cascade", "AND 1 MORE that are not listed"),
        ("trigger", "keep BEFORE DELETE OR UPDATE on app.a, for each row: calls app.f"),
        ("trigger", "AND 2 MORE that are not listed"),
        ("rule", "CREATE RULE r AS ON DELETE TO app.a DO INSTEAD NOTHING;"),
        ("row security", "in force on app.a, app.b"),
        ("row security", "AND 4 MORE that are not listed"),
    ]
