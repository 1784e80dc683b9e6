"""Texts in which several statements change something, without a server: what is asked of each, and how it adds up."""

import pytest

from pgnotary.errors import NotCanonical
from pgnotary.judge.reading import read
from pgnotary.request.sample import Sample, SampleColumn, Value, joined_rows, opened_each, sealed_rows
from pgnotary.request.texts import MOST_STATEMENTS, Known, added_up, after, asking


def test_a_text_with_one_change_is_no_text_of_several() -> None:
    assert asking(read(b"SELECT 1; DELETE FROM a; SELECT 2")) is None
    assert asking(read(b"SELECT 1")) is None


def test_each_change_has_its_place_and_its_own_questions() -> None:
    found = asking(read(b"SELECT 1; DELETE FROM a WHERE x = 1; UPDATE b SET y = 2; TRUNCATE c"))
    assert found is not None
    assert [each.place for each in found.statements] == [2, 3, 4]
    first, second, third = (each.questions for each in found.statements)
    assert first.count == b"SELECT pg_catalog.count(*) FROM a WHERE x = 1"
    assert second.count == b"SELECT pg_catalog.count(*) FROM b"
    assert third.subject is not None
    assert third.subject.emptied
    assert (first.caveats, second.caveats, found.more) == (frozenset(), frozenset(), 0)


def test_what_comes_after_the_first_five_is_only_numbered() -> None:
    found = asking(read(b"; ".join([b"DELETE FROM a"] * 12)))
    assert found is not None
    assert [each.place for each in found.statements] == list(range(1, MOST_STATEMENTS + 1))
    assert found.more == 12 - MOST_STATEMENTS


def test_of_what_nothing_is_known_a_later_count_is_not_believed() -> None:
    found = asking(read(b"DELETE FROM a; DELETE FROM b"))
    assert found is not None
    assert after([], found.statements[0], None).caveats == frozenset()
    known = [Known(found.statements[0], None)]
    assert after(known, found.statements[1], None).caveats == {"earlier-parts"}


SUMS: list[tuple[list[dict[str, int]], tuple[str, int] | None]] = [
    ([{"exact": 3}, {"exact": 4, "estimate": 9}], ("exact", 7)),
    ([{"exact": 3}, {"at_most": 4, "estimate": 1}], ("at_most", 7)),
    ([{"exact": 0}, {"estimate": 4}, {"at_most": 1}], ("estimate", 5)),
    ([{"exact": 3}, {}], None),
]


@pytest.mark.parametrize(("figures", "expected"), SUMS)
def test_a_sum_is_worth_what_its_worst_part_is(figures: list[dict[str, int]], expected: tuple[str, int] | None) -> None:
    assert added_up(figures) == expected


def _sample(rows: int, *names: str) -> Sample:
    return Sample(relation="t", columns=tuple(SampleColumn(name=name) for name in names), rows=rows)


def test_the_rows_of_all_samples_are_told_apart_again() -> None:
    one, two = ((Value("1"), Value(None)), (Value("2"), Value("x"))), ((Value("3"),),)
    raw = joined_rows([sealed_rows(one), sealed_rows(two)])
    samples = [_sample(2, "a", "b"), Sample(why="none"), _sample(1, "c")]
    assert opened_each(samples, raw) == (one, (), two)
    with pytest.raises(NotCanonical, match=r"3 rows, the preview says 1 [+] 0 [+] 1"):
        opened_each([_sample(1, "a", "b"), Sample(why="none"), _sample(1, "c")], raw)
    with pytest.raises(NotCanonical, match="have not 1 values each"):
        opened_each([_sample(2, "a"), _sample(1, "c")], raw)
    assert joined_rows([]) == b""
