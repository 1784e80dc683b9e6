"""Rule 25, by both verifiers: what is told of an archive, and what a ledger stands on, are what the entries give."""

import dataclasses
from typing import Any

import pytest
from tests.archive.kept import Pruned, small_ledger, tell_archive
from tests.second import agreement
from tests.verify.builder import LEDGER, PROXY_SEED, VKEY, Ledger

from pgnotary.audit import standalone
from pgnotary.audit.check import check, gaps
from pgnotary.errors import LedgerBroken, NotCanonical
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.base import Base, CarriedSession, read_base
from pgnotary.ledger.canonical import decode, encode
from pgnotary.ledger.checkpoint import verify
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.ledger.tree import leaf_hash
from pgnotary.store import LedgerReader, base_of
from pgnotary.verify.checklist import Summary

# The same few signatures stand in all of these ledgers: each is checked once.
assert standalone.ed25519_is_good is not agreement.ed25519_is_good


def both(reader: LedgerReader) -> tuple[tuple[str, ...], Summary | None]:
    """The package's faults, which must be where the second verifier has them."""
    found: list[tuple[int | None, str]] = []
    raws = [each.raw for each in reader.entries()]
    base = base_of(reader)
    sizes, redacted = standalone.first_look(raws)
    second = standalone.Verification(
        standalone.Key.read(VKEY),
        sizes,
        None,
        lambda place, text: found.append((place, text)),
        redacted,
        None if base is None else standalone.Base.read(base.raw),
    )
    for each in reader.entries():
        second.take(each.raw, dict(each.opened))
    [*_, newest] = reader.checkpoints()
    second.finish(standalone.Checkpoint.read(newest, standalone.Key.read(VKEY)))
    try:
        summary = check(reader, VKEY)
    except LedgerBroken as broken:
        faults = broken.faults
    else:
        assert found == []
        assert (summary.head, summary.entries, summary.archived) == (second.root, second.size, second.archived)
        assert [each.split()[0] for each in summary.lacks] == [each.split()[0] for each in second.lacks]
        assert (summary.redacted, summary.withheld) == (second.counts["redacted"], second.counts["withheld"])
        return (), summary
    assert {int(fault.split()[0][1:]) for fault in faults} == {place for place, _ in found}, (faults, found)
    return faults, None


@pytest.mark.parametrize("kept", [1, 4, 11, 14, 21])
def test_a_ledger_verifies_whole_and_pruned_wherever_it_is_cut_between_requests(kept: int) -> None:
    ledger = small_ledger()
    base = tell_archive(ledger, kept)
    assert read_base(base.raw) == base
    faults, whole = both(ledger)
    assert faults == ()
    # What comes later, goes on: another request, another text, the end of a session.
    ledger.forward("select 4", first=1)
    ledger.ask("R-4")
    ledger.preview("R-4")
    ledger.decide("R-4")
    ledger.run("R-4")
    ledger.close_session(held=0, forwarded=1)
    faults, rest = both(Pruned(ledger, base))
    assert faults == ()
    assert whole is not None
    assert rest is not None
    assert (whole.archived, rest.archived) == (0, kept)
    assert (rest.entries, rest.archived_root) == (len(ledger.stored), base.tree().root())


@pytest.mark.parametrize("kept", [6, 8, 10])
def test_no_cut_goes_through_the_life_of_a_request(kept: int) -> None:
    with pytest.raises(NotCanonical, match="a cut through R-1, which had not ended"):
        tell_archive(small_ledger(), kept)
    # Told all the same, with whatever base.
    ledger = small_ledger()
    base = tell_archive(ledger, 5)
    del ledger.stored[-1], ledger.notes[-1]
    tell_archive(ledger, 11, kept=kept, base=base.digest.hex())
    assert any("cut through R-1" in fault for fault in both(ledger)[0])


def test_a_second_cut_goes_on_where_the_first_one_was_and_stands_alone() -> None:
    ledger = small_ledger()
    tell_archive(ledger, 5)
    place = len(ledger.stored) - 1
    ledger.forward("select 4", first=1)
    base = tell_archive(ledger, place + 1, first=5)
    assert both(ledger)[0] == ()
    assert both(Pruned(ledger, base))[0] == ()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"first": 1}, "archives from #1 on"),
        ({"root": "ab" * 32}, "root abababab"),
        ({"base": "ab" * 32}, "another base at #11"),
        ({"kept": 13}, "archives 13 entries with root"),
        ({"kept": 500}, "archives what is before #500"),
        ({"kept": "11"}, "and not how"),
        ({"first": 11}, "and not how"),
        ({"opened": "AB" * 32}, "and not how"),
        ({"more": 1}, "and not how"),
    ],
)
def test_what_is_told_of_an_archive_and_is_not_so_is_found_in_the_whole_ledger(changes: Any, why: str) -> None:
    ledger = small_ledger()
    tell_archive(ledger, 11, **changes)
    faults, _ = both(ledger)
    assert any(why in fault and fault.startswith("#21 ") for fault in faults), faults


def test_an_archive_that_reaches_behind_the_one_before_it_and_not_behind_what_tells_of_that_is_a_fault() -> None:
    ledger = small_ledger()
    tell_archive(ledger, 5)
    tell_archive(ledger, 11, first=5)
    assert "which is not between #21 and this entry" in both(ledger)[0][0]


def test_an_operator_who_takes_entries_away_and_tells_nobody() -> None:
    ledger = small_ledger()
    base = tell_archive(ledger, 11)
    del ledger.stored[-1]
    faults, _ = both(Pruned(ledger, base))
    assert faults == (
        "#11 is the first entry that is here, and no entry says that those before it were archived: they were taken "
        "away",
    )


def test_an_operator_who_takes_more_away_than_the_ledger_says() -> None:
    ledger = small_ledger()
    tell_archive(ledger, 5)
    more = small_ledger()
    base = tell_archive(more, 11)
    faults, _ = both(Pruned(ledger, base))
    assert "says that what is before #5 was archived, here are entries from #11 on" in faults[0]


def forged(base: Base) -> list[Base]:
    """A base with each of its fields changed."""
    session = base.sessions[0]
    change = dataclasses.replace
    return [
        change(base, roots=(bytes(32), *base.roots[1:])),
        change(base, prev=bytes(32)),
        change(base, time=base.time.replace(year=2020)),
        change(base, allowed_signers=None),
        change(base, allowed_signers="# nobody\n"),
        change(base, highest=base.highest + 1),
        change(base, highest=0, free=()),
        change(base, free=()),
        change(base, sessions=()),
        change(base, sessions=(change(session, held=9), *base.sessions[1:])),
        change(base, sessions=(change(session, forwarded=9), *base.sessions[1:])),
        change(base, sessions=(change(session, refused=9), *base.sessions[1:])),
        change(base, sessions=(change(session, texts=((1, 9),)), *base.sessions[1:])),
        change(base, sessions=(change(session, opened=dict(session.opened, user="x")), *base.sessions[1:])),
        change(base, sessions=(*base.sessions, CarriedSession("S-9", {}, 0, 0, 0, ()))),
    ]


def test_an_operator_who_forges_anything_of_the_base() -> None:
    ledger = small_ledger()
    base = tell_archive(ledger, 13)
    assert (base.highest, base.free, len(base.sessions)) == (3, ((2, 2),), 2)
    for each in forged(base):
        faults, _ = both(Pruned(ledger, each))
        assert any("base was changed" in fault for fault in faults), faults


def test_an_operator_with_the_key_who_forges_base_and_entry_is_found_by_a_head_that_an_approver_remembers() -> None:
    honest = small_ledger()
    base = tell_archive(honest, 13)
    seen = verify(honest.sign(), VKEY)
    ledger = small_ledger()
    lie = dataclasses.replace(base, roots=(bytes(32), *base.roots[1:]))
    tell_archive(ledger, 13, root=lie.tree().root().hex(), base=lie.digest.hex())

    class Resigned(Pruned):
        def checkpoints(self) -> Any:
            tree = self.stands_on.tree()
            for each in self.stored:
                tree.append(leaf_hash(each.raw))
            yield notes.sign(notes.Checkpoint(LEDGER, tree.size, tree.root()), LEDGER, PROXY_SEED)

    forged_ledger = Resigned(ledger, lie)
    # R-2 was approved over a head that its approver saw and signed: that one is another now.
    assert any("saw head" in fault for fault in both(forged_ledger)[0])
    with pytest.raises(LedgerBroken) as broken:
        check(forged_ledger, VKEY, heads=[seen])
    assert any("a remembered head over 22 entries has root" in fault for fault in broken.value.faults)


def test_a_head_that_lies_in_the_archive_is_told_and_is_no_fault() -> None:
    ledger = small_ledger()
    base = tell_archive(ledger, 13)
    heads = [verify(ledger.sign(size), VKEY) for size in (4, 13, 20)]
    summary = check(Pruned(ledger, base), VKEY, heads=heads, remembered=[ledger.sign(7)])
    assert (summary.archived_heads, summary.witnessed) == (2, 20)
    assert any("2 remembered heads lie in the archive, not compared: give --archive" in gap for gap in gaps(summary))
    # The whole ledger compares all of them.
    assert check(ledger, VKEY, heads=heads, remembered=[ledger.sign(7)]).archived_heads == 0


def test_an_empty_rest_stands_on_nothing_that_anybody_vouches_for() -> None:
    ledger = small_ledger()
    base = tell_archive(ledger, 20)
    del ledger.stored[-1]
    assert both(Pruned(ledger, base))[0]


def test_an_archived_entry_belongs_to_no_request() -> None:
    ledger = Ledger().start()
    ledger.append(Draft(EntryType.ARCHIVED, {}, request="R-1"))
    assert any("belongs to no request" in fault for fault in both(ledger)[0])


@pytest.mark.parametrize(
    "change",
    [
        {"v": "pgnotary/base/2"},
        {"more": 1},
        {"size": 0},
        {"size": 12},
        {"size": True},
        {"roots": "ab"},
        {"roots": ["AB" * 32] * 3},
        {"prev": "ab"},
        {"time": "2026-05-01"},
        {"ledger": 1},
        {"allowed_signers": 1},
        {"used": {"highest": 3}},
        {"used": {"highest": -1, "free": []}},
        {"used": {"highest": 3, "free": [[2, 1]]}},
        {"used": {"highest": 3, "free": [[1, 1], [2, 2]]}},
        {"used": {"highest": 3, "free": [[1, 1, 1]]}},
        {"used": {"highest": 3, "free": 1}},
        {"sessions": {}},
        {"sessions": [{}]},
        {"sessions": [1]},
    ],
)
def test_what_is_no_base_is_read_by_neither(change: dict[str, Any]) -> None:
    ledger = small_ledger()
    fields = decode(tell_archive(ledger, 13).raw)
    raw = encode({**fields, **change})
    with pytest.raises(NotCanonical):
        read_base(raw)
    with pytest.raises(standalone.Bad):
        standalone.Base.read(raw)


def test_sessions_of_a_base_are_sorted_and_each_there_once() -> None:
    ledger = small_ledger()
    base = tell_archive(ledger, 13)
    for sessions in (tuple(reversed(base.sessions)), (base.sessions[0], base.sessions[0])):
        raw = dataclasses.replace(base, sessions=sessions).raw
        with pytest.raises(NotCanonical):
            read_base(raw)
        with pytest.raises(standalone.Bad):
            standalone.Base.read(raw)
