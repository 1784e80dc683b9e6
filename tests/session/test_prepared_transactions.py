"""Which prepared transactions are known: by name, id, timeline and cluster, and by nothing less."""

import pytest

from pgnotary.session import prepared_transactions
from pgnotary.session.prepared_transactions import PreparedTransaction, PreparedTransactions, Signed, identity


def waiting(gid: str = "x", xid: str = "771", *, vouched: bool = True, request: str = "R-1") -> PreparedTransaction:
    signed = [Signed(request, "S-1", bytes(32), 5)]
    return PreparedTransaction(gid, xid, "00000001", "74", vouched=vouched, signed=signed)


@pytest.fixture
def known() -> PreparedTransactions:
    found = PreparedTransactions()
    found.add(waiting())
    return found


@pytest.mark.parametrize(
    ("gid", "timeline", "xid", "cluster"),
    [
        ("y", "00000001", "771", "74"),
        ("x", "00000002", "771", "74"),
        ("x", "00000001", "772", "74"),
        ("x", "00000001", "771", "75"),
        ("x", "00000001", "771", ""),
    ],
)
def test_another_one_is_not_taken_for_it(
    known: PreparedTransactions, gid: str, timeline: str, xid: str, cluster: str
) -> None:
    assert known.find(gid, identity(timeline, xid), cluster) is None
    assert known.find("x", identity("00000001", "771"), "74") is not None


def test_an_id_of_64_bits_is_compared_by_the_32_that_the_server_shows(known: PreparedTransactions) -> None:
    known.add(waiting("y", str((7 << 32) + 771)))
    assert known.find("y", identity("00000001", "771"), "74") is not None


def test_an_id_that_is_no_number_is_only_itself() -> None:
    assert identity("00000001", "") == "00000001/"
    assert identity("00000001", "x") != identity("00000001", "0")


@pytest.mark.parametrize(("xid", "cluster"), [("800", "74"), ("771", "75")])
def test_a_name_that_is_used_again_takes_nothing_from_the_one_that_has_it(
    known: PreparedTransactions, xid: str, cluster: str
) -> None:
    """A start learns of them by request: one that has ended elsewhere may be learned after the one that waits."""
    namesake = waiting(xid=xid)
    namesake.system_identifier = cluster
    known.learn(namesake)
    assert known.find("x", identity("00000001", xid), cluster) is namesake
    live = known.find("x", identity("00000001", "771"), "74")
    assert live is not None
    known.remove(namesake)
    assert known.find("x", identity("00000001", "771"), "74") is live
    known.remove(live)
    assert len(known) == 0


def test_of_one_that_is_prepared_again_the_old_one_is_not_forgotten_in_its_place(known: PreparedTransactions) -> None:
    old = known.find("x", identity("00000001", "771"), "74")
    assert old is not None
    known.add(waiting())
    known.remove(old)
    assert len(known) == 1


def test_what_is_learned_twice_stands_there_once_with_its_newest_entry(known: PreparedTransactions) -> None:
    again = waiting()
    again.signed[0].leaf = bytes([1]) * 32
    known.learn(again)
    found = known.find("x", identity("00000001", "771"), "74")
    assert found is not None
    assert [each.leaf for each in found.signed] == [bytes([1]) * 32]


def test_one_statement_of_another_policy_leaves_all_of_it_unvouched(known: PreparedTransactions) -> None:
    known.learn(waiting(vouched=False, request="R-2"))
    found = known.find("x", identity("00000001", "771"), "74")
    assert found is not None
    assert not found.vouched
    assert [each.request for each in found.signed] == ["R-1", "R-2"]


def test_the_oldest_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_transactions, "_MOST", 2)
    found = PreparedTransactions()
    for name in "abc":
        found.add(waiting(name))
    assert len(found) == 2
    assert found.find("a", identity("00000001", "771"), "74") is None
