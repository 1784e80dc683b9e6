"""The one rule about rows: what was signed bounds what was changed, and nothing is counted too low."""

import pytest

from pgnotary.request.ceiling import Ceiling, Changed, other_rows, own_rows, told_rows


def _own(inserted: int = 0, updated: int = 0, deleted: int = 0, root: str = "") -> Changed:
    return Changed("public.t", target=True, root=root, inserted=inserted, updated=updated, deleted=deleted)


@pytest.mark.parametrize(
    ("told", "changed", "rows"),
    [
        (5, [], 5),
        (None, [_own(deleted=5)], 5),
        (1, [_own(deleted=51)], 51),
        (5, [_own(inserted=3, deleted=2)], 5),
        (0, [_own(inserted=5, deleted=5)], 10),
        # Moved between partitions.
        (5, [_own(deleted=5, root="w"), _own(inserted=5, root="w")], 5),
        (7, [_own(deleted=5, updated=2, root="w"), _own(inserted=5, root="w")], 7),
        # More is deleted and inserted beside it than the tag tells of.
        (5, [_own(deleted=5, updated=5, root="w"), _own(inserted=5, root="w")], 15),
        (0, [_own(deleted=5, root="w"), _own(inserted=5, root="w")], 10),
        (None, [_own(deleted=5, root="w"), _own(inserted=5, root="w")], 10),
        (5, [_own(deleted=10, root="w"), _own(inserted=10, root="w")], 15),
        # Not between tables.
        (5, [_own(deleted=5, root="w"), _own(inserted=5, root="x")], 10),
        (5, [Changed("public.u", target=False, deleted=9)], 5),
    ],
)
def test_own_rows_are_what_tag_or_counters_say_whichever_is_more(
    told: int | None, changed: list[Changed], rows: int
) -> None:
    assert own_rows(told, changed) == rows


def test_rows_elsewhere_are_all_others() -> None:
    assert other_rows([_own(deleted=5), Changed("u", target=False, inserted=1, updated=2, deleted=3)]) == 6


def test_tags_of_what_only_reads_tell_no_changes() -> None:
    assert told_rows(["SELECT 5", "FETCH 3", "MOVE 2"]) is None
    assert told_rows(["DELETE 5", "SELECT 1", "INSERT 0 2", "MERGE 1", "COPY 4", "UPDATE 1"]) == 13
    assert told_rows([]) is None


@pytest.mark.parametrize(
    ("ceiling", "rows", "others", "found"),
    [
        (Ceiling(5), 5, 0, ""),
        (Ceiling(5), 6, 0, "6 rows affected, approved for at most 5"),
        (Ceiling(5), 5, 1, "1 rows affected in other tables, approved for at most 0 there"),
        (Ceiling(5, 1), 5, 1, ""),
        (Ceiling(5, None), 5, 1_000_000, ""),
        (Ceiling(5, None), 6, 0, "6 rows affected, approved for at most 5"),
    ],
)
def test_one_number_does_not_make_up_for_the_other(ceiling: Ceiling, rows: int, others: int, found: str) -> None:
    assert ceiling.excess(rows, others) == found
    assert ceiling.is_exceeded(rows, others) is bool(found)
