"""However the bytes are cut, and in whatever order cause and effect allow, the session says and does the same."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.play import message
from tests.session.chance import Improvised, improvise

from pgnotary.request.decision import Answer
from pgnotary.wire import messages

T = TypeVar("T")
BATCH = messages.parse(b"", b"delete from t") + message("B", bytes(8)) + message("E", bytes(5))
READ = messages.bind(b"", b"") + message("D", b"P\0") + messages.execute(b"")
COPY_BATCH = messages.parse(b"", b"copy t from stdin") + message("B", bytes(8)) + message("E", bytes(5))
WHAT_CLIENTS_SAY = [
    *(
        messages.query(text.encode())
        for text in (
            "select 1",
            "select 1/0",
            "select 1; select 2",
            "",
            "begin",
            "begin read only",
            "commit",
            "commit and chain",
            "rollback",
            "savepoint a",
            "rollback to a",
            "release a",
            "set client_min_messages = warning",
            "set pgnotary.reason = 'PAY-2210'",
            "reset all",
            "delete from t",
            "delete from nowhere",
            "insert into t values (1)",
            "drop table t",
            "select 1; delete from t",
            "begin; select 1; commit",
            "begin; select 1/0; commit",
            "begin; select 1; delete from t; commit",
            "begin; delete from t; rollback",
            "copy t to stdout",
            "copy t from stdin",
            "set transaction_read_only = off",
            "prepare transaction 'x'",
            "commit prepared 'x'",
            "rollback prepared 'x'",
            "select '\u00e9\u2028' \u2028",
        )
    ),
    BATCH + messages.SYNC,
    BATCH,
    messages.parse(b"", b"select 1") + READ + messages.SYNC,
    messages.parse(b"s", b"select 1") + messages.SYNC,
    messages.bind(b"", b"s") + message("D", b"P\0") + messages.execute(b"") + messages.SYNC,
    messages.bind(b"", b"s") + messages.execute(b"") + messages.SYNC,
    messages.parse(b"", b"select 1/0") + READ + messages.SYNC,
    messages.SYNC,
    message("H"),
    message("F", bytes(12)),
    message("d", b"x"),
    message("d", b"bad"),
    message("c"),
    messages.query(b"copy t from stdin") + message("d", b"1") + message("d", b"2") + message("c"),
    COPY_BATCH + messages.SYNC + message("d", b"1") + message("c") + messages.SYNC,
    COPY_BATCH + message("d", b"1"),
    message("Q", b"select '\xff'\0"),
]
SCRIPTS = st.lists(st.sampled_from(WHAT_CLIENTS_SAY), min_size=1, max_size=8).map(b"".join)
LAST_WORDS = st.sampled_from(
    [b"", messages.TERMINATE, message("Q", b"select 1"), b"!\0\0\0\4", b"Q\0\0\0\3", message("p", b"secret\0")]
)
VERDICTS = st.lists(
    st.sampled_from([(Answer.APPROVE, None), (Answer.APPROVE, 4), (Answer.APPROVE, 5), (Answer.DENY, None)]),
    min_size=8,
    max_size=8,
)
CHANCE = st.integers(0, 2**32).map(Random)


def said(found: Improvised) -> tuple[bytes, bytes, list[str]]:
    assert found.after_close == []
    return found.to_client, found.to_upstream, found.records


@settings(deadline=None)
@given(SCRIPTS, VERDICTS, CHANCE)
def test_order_changes_nothing(script: bytes, verdicts: list[tuple[Answer, int | None]], chance: Random) -> None:
    assert said(improvise(script, verdicts, chance)) == said(improvise(script, verdicts))


@settings(deadline=None)
@given(SCRIPTS, LAST_WORDS, VERDICTS, CHANCE)
def test_cuts_change_nothing(
    script: bytes, last: bytes, verdicts: list[tuple[Answer, int | None]], chance: Random
) -> None:
    whole = improvise(script + last + script, verdicts)
    assert said(improvise(script + last + script, verdicts, chance, only_cuts=True)) == said(whole)


class _Smallest(Random):
    """Chance that always takes the smallest."""

    def choice(self, seq: Sequence[T]) -> T:  # type: ignore[override]  # the standard library's is wider
        return seq[0]


@settings(deadline=None, max_examples=20)
@given(SCRIPTS, LAST_WORDS, VERDICTS)
def test_single_bytes_change_nothing(script: bytes, last: bytes, verdicts: list[tuple[Answer, int | None]]) -> None:
    whole = improvise(script + last, verdicts)
    assert said(improvise(script + last, verdicts, _Smallest(), only_cuts=True)) == said(whole)
