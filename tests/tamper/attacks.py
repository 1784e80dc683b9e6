"""The attacks of the ledger's threat model, each a few lines: an adversary enters, what has to be told of it leaves.

The rows are those of docs/threat-model.md, "Attacks on the ledger". A place is that of the first entry that is not what
it was, as far as it can be known: a signature over many entries tells only that it was one of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.tamper.adversary import Adversary, Change
from tests.tamper.ground import Ground

from pgnotary.ledger.canonical import b64
from pgnotary.ledger.entries import EntryType
from pgnotary.ledger.seals import commitment
from pgnotary.ledger.tree import leaf_hash
from pgnotary.store import StoredEntry

__all__ = ["ATTACKS", "Attack", "Told"]

REQUEST, PREVIEW, DECISION, INTENT, EXECUTED, OUTCOME = range(6)


@dataclass(frozen=True)
class Told:
    """What has to be told."""

    says: str
    """What the fault says, in full or from its middle; `entry N` and the like name the place of what has none."""
    place: int | None = None
    """What the fault's line begins with, as `#N`; None: the file, not an entry, is what is wrong."""
    exported: bool = True
    """Whether an export of the file still holds it."""


@dataclass(frozen=True)
class Attack:
    """Something that an adversary does to a ledger."""

    row: int
    name: str
    run: Callable[[Adversary, Ground], Told]


ATTACKS: list[Attack] = []


def attack(row: int) -> Callable[[Callable[[Adversary, Ground], Told]], Callable[[Adversary, Ground], Told]]:
    """Add a function to the attacks of a row."""

    def add(run: Callable[[Adversary, Ground], Told]) -> Callable[[Adversary, Ground], Told]:
        ATTACKS.append(Attack(row, run.__name__.replace("_", " "), run))
        return run

    return add


def _other(fields: dict[str, Any]) -> None:
    fields["body"]["why"] = "nothing happened here"


def _rewritten(ground: Ground) -> Told:
    """What ana's head tells of a change behind bo's, with the key."""
    return Told(
        f"the ledger was rewritten behind the first {ground.bo.checkpoint.size}, which another remembered head knows",
        ground.size - 1,
    )


# 1. An entry is edited, and nothing is hashed again.


@attack(1)
def an_entry_is_edited(adversary: Adversary, ground: Ground) -> Told:
    place = ground.witnessed_life[OUTCOME]
    adversary.sql(f"UPDATE entry SET raw = CAST(replace(raw, '\"rows\":', '\"rows\":9') AS BLOB) WHERE seq = {place}")
    return Told("has leaf", place)


@attack(1)
def an_entry_is_edited_with_its_leaf_and_columns(adversary: Adversary, ground: Ground) -> Told:
    place = ground.witnessed_life[OUTCOME]
    adversary.edit(place, lambda fields: fields["body"].update(rows=0))
    adversary.write()
    return Told("has leaf", place)


@attack(1)
def a_sealed_value_is_exchanged(adversary: Adversary, ground: Ground) -> Told:
    place = ground.witnessed_life[REQUEST]
    leaf = ground.entries[place].leaf.hex()
    adversary.sql(f"UPDATE sealed SET value = CAST('SELECT 1' AS BLOB) WHERE leaf = x'{leaf}' AND name = 'statement'")
    return Told("the opened statement is not what its entry commits to", place)


@attack(1)
def an_entry_is_hidden_from_searches(adversary: Adversary, ground: Ground) -> Told:
    place = ground.witnessed_life[REQUEST]
    adversary.sql(f"UPDATE entry SET request = 'R-7' WHERE seq = {place}")
    return Told(f"entry {place} says something else than its columns: request", exported=False)


@attack(1)
def a_finished_request_is_made_to_be_held_again(adversary: Adversary, ground: Ground) -> Told:
    request = ground.entries[ground.witnessed_life[OUTCOME]].request
    adversary.sql(f"UPDATE request_state SET state = 'held' WHERE request = '{request}'")
    return Told(f"request_state says that {request} is 'held', its entries say committed", exported=False)


# 2. The same, and all is hashed again to the end, without the proxy's key.


@attack(2)
def an_entry_is_edited_and_all_behind_it_hashed_again(adversary: Adversary, ground: Ground) -> Told:
    place = ground.witnessed_life[OUTCOME]
    adversary.edit(place, _other)
    adversary.relink()
    adversary.write()
    at = ground.covered_until(place)
    return Told(f"the checkpoint over {at + 1} entries gives root", at)


@attack(2)
def the_last_entry_is_edited_and_hashed_again(adversary: Adversary, ground: Ground) -> Told:
    place = len(ground.entries) - 1
    adversary.edit(place, _other)
    adversary.write()
    return Told(f"the checkpoint over {place + 1} entries gives root", place)


@attack(2)
def checkpoints_are_signed_by_another_key(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(ground.witnessed_life[OUTCOME], _other)
    adversary.ledger.seed = bytes([66]) * 32
    adversary.forge()
    return Told("a kept checkpoint cannot be believed: no signature by", 0)


# 3. An entry in the middle is deleted.


@attack(3)
def a_middle_entry_is_deleted(adversary: Adversary, ground: Ground) -> Told:
    place = ground.witnessed_life[OUTCOME]
    adversary.sql(f"DELETE FROM entry WHERE seq = {place}")
    return Told(f"says seq {place + 1}, expected {place}: 1 entries are gone", place)


@attack(3)
def a_middle_entry_is_deleted_and_all_behind_it_hashed_again(adversary: Adversary, ground: Ground) -> Told:
    place = ground.witnessed_life[OUTCOME]
    del adversary.ledger.stored[place]
    adversary.relink()
    adversary.write()
    at = ground.covered_until(place)
    return Told(f"the checkpoint over {at + 1} entries gives root", at)


@attack(3)
def a_middle_entry_is_deleted_with_the_key(adversary: Adversary, ground: Ground) -> Told:
    del adversary.ledger.stored[ground.witnessed_life[OUTCOME]]
    adversary.forge()
    return _rewritten(ground)


@attack(3)
def a_whole_request_is_deleted_with_the_key(adversary: Adversary, ground: Ground) -> Told:
    for place in reversed(ground.witnessed_life):
        del adversary.ledger.stored[place]
    adversary.forge()
    return _rewritten(ground)


# 4. The end is cut off.


@attack(4)
def the_end_is_cut_off_and_the_checkpoints_are_left(adversary: Adversary, ground: Ground) -> Told:
    del adversary.ledger.stored[ground.witnessed_life[OUTCOME] :]
    adversary.write()
    return Told(f"and what follows is missing: a checkpoint covers {len(ground.entries)} entries", adversary.size)


@attack(4)
def the_end_is_cut_off_with_its_checkpoints(adversary: Adversary, ground: Ground) -> Told:
    del adversary.ledger.stored[ground.witnessed_life[OUTCOME] :]
    adversary.write(adversary.signed())
    return Told(f"and what follows is missing: a remembered head covers {ground.size} entries", adversary.size)


@attack(4)
def the_end_is_cut_off_and_another_one_is_written(adversary: Adversary, ground: Ground) -> Told:
    del adversary.ledger.stored[ground.witnessed_life[OUTCOME] :]
    started = ground.find(EntryType.STARTED)
    while adversary.size <= len(ground.entries):
        adversary.append(started)
    adversary.forge()
    return _rewritten(ground)


@attack(4)
def all_is_taken_away(adversary: Adversary, ground: Ground) -> Told:
    adversary.ledger.stored.clear()
    adversary.write(adversary.signed())
    return Told(f"and what follows is missing: a remembered head covers {ground.bo.checkpoint.size} entries", 0)


# 5. Entries are put in another order.


def _swapped(adversary: Adversary, ground: Ground) -> int:
    place = ground.witnessed_life[OUTCOME]
    stored = adversary.ledger.stored
    stored[place], stored[place + 1] = stored[place + 1], stored[place]
    return place


@attack(5)
def two_entries_are_swapped(adversary: Adversary, ground: Ground) -> Told:
    place = _swapped(adversary, ground)
    adversary.write()
    return Told(f"says seq {place + 1}, expected {place}", place)


@attack(5)
def two_entries_are_swapped_and_all_is_hashed_again(adversary: Adversary, ground: Ground) -> Told:
    place = _swapped(adversary, ground)
    adversary.relink()
    adversary.write()
    at = ground.covered_until(place)
    return Told(f"the checkpoint over {at + 1} entries gives root", at)


@attack(5)
def two_entries_are_swapped_with_the_key(adversary: Adversary, ground: Ground) -> Told:
    _swapped(adversary, ground)
    adversary.forge()
    return _rewritten(ground)


@attack(5)
def the_numbers_of_rows_are_changed(adversary: Adversary, ground: Ground) -> Told:
    last = len(ground.entries) - 1
    adversary.sql(f"UPDATE entry SET seq = {2**40} WHERE seq = {last}")
    return Told(f"entry {last}, kept as {2**40}, says something else than its columns: seq", exported=False)


@attack(5)
def a_row_hides_below_all_numbers(adversary: Adversary, ground: Ground) -> Told:
    adversary.sql(
        f"INSERT INTO entry SELECT {-(2**63)}, leaf, raw, time, type, request, session FROM entry WHERE seq = 3"
    )
    return Told("says seq 3, expected 0", 0)


@attack(5)
def an_old_checkpoint_is_numbered_as_the_newest(adversary: Adversary, ground: Ground) -> Told:
    adversary.sql(
        f"INSERT INTO checkpoint SELECT {2**40}, note FROM checkpoint WHERE size = (SELECT max(size) FROM checkpoint)"
    )
    return Told(f"a checkpoint over {len(ground.entries)} entries is kept as one over {2**40}", exported=False)


# 7. Two people are shown two ledgers. Bo has seen this one, ana another one that begins as this one does.


@attack(7)
def two_people_are_shown_two_ledgers(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(ground.witnessed_life[OUTCOME], _other)
    adversary.forge()
    return Told(f"behind the first {ground.bo.checkpoint.size}, which another remembered head knows", ground.size - 1)


# 8. All of it is written anew by who runs the proxy and holds its key.


@attack(8)
def everything_is_edited_and_signed_again(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(0, _other)
    adversary.forge()
    return Told("rewritten afterwards", ground.find(EntryType.DECISION))


@attack(8)
def everything_is_written_anew_with_new_keys_for_the_approvers(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(0, _other)
    adversary.rewrite(["ana", "bo"])
    return Told("or an entry before it is not what it was: a remembered head over", ground.bo.checkpoint.size - 1)


@attack(8)
def the_ledger_begins_anew_under_the_same_name(adversary: Adversary, ground: Ground) -> Told:
    del adversary.ledger.stored[2:]
    while adversary.size <= len(ground.entries):
        adversary.append(0)
    adversary.forge()
    return Told("or an entry before it is not what it was: a remembered head over", ground.bo.checkpoint.size - 1)


# 9. An approval is used again. All of it lies behind the last remembered head, and is linked and signed with the key.


def _again(adversary: Adversary, places: list[int], change: Change | None = None) -> int:
    """Cut the ledger behind the last of these entries, put them there again, each after the other; where they begin."""
    first = places[-1] + 1
    del adversary.ledger.stored[first:]
    for place in places:
        adversary.append(place, lambda fields: fields.update(after=leaf_hash(adversary.ledger.raws[-1]).hex()))
        if change:
            adversary.edit(adversary.size - 1, change)
    return first


@attack(9)
def an_approval_is_given_to_another_request(adversary: Adversary, ground: Ground) -> Told:
    def change(fields: dict[str, Any]) -> None:
        fields["request"] = "R-1000001"
        if fields["type"] == "request":
            del fields["after"]

    first = _again(adversary, ground.newest_life, change)
    adversary.forge()
    return Told("R-1000001: request is", first + DECISION)


@attack(9)
def a_statement_is_executed_again(adversary: Adversary, ground: Ground) -> Told:
    first = _again(adversary, ground.newest_life[INTENT:])
    adversary.forge()
    return Told("which is not open here: never asked for, or ended before", first)


@attack(9)
def a_statement_is_executed_twice_under_one_approval(adversary: Adversary, ground: Ground) -> Told:
    intent, executed = ground.newest_life[INTENT : EXECUTED + 1]
    stored = adversary.ledger.stored
    stored[executed + 1 : executed + 1] = [stored[intent], stored[executed]]
    adversary.forge()
    return Told("is executed: intent cannot follow", executed + 1)


@attack(9)
def a_decision_is_recorded_twice(adversary: Adversary, ground: Ground) -> Told:
    decision = ground.newest_life[DECISION]
    adversary.ledger.stored.insert(decision, adversary.ledger.stored[decision])
    adversary.forge()
    return Told("is approved: decision (approved) cannot follow", decision + 1)


@attack(9)
def an_approval_is_taken_back_to_before_its_preview(adversary: Adversary, ground: Ground) -> Told:
    _, preview, decision, *_ = ground.newest_life
    stored = adversary.ledger.stored
    stored[preview], stored[decision] = stored[decision], stored[preview]
    adversary.forge()
    return Told("decided, but without a request and a preview", preview)


# 10. An approval is given to something else. As before, nobody's head covers it.


def _sealed_anew(adversary: Adversary, place: int, name: str, value: bytes) -> None:
    salt = bytes(32)
    adversary.edit(
        place, lambda fields: fields.setdefault("seals", {}).update({name: b64(commitment(name, salt, value))})
    )
    kept = adversary.ledger.stored[place]
    adversary.ledger.stored[place] = StoredEntry(kept.raw, {**kept.opened, name: (salt, value)})


def _opened(ground: Ground) -> int:
    """Where the session of the newest life begins."""
    session = ground.entries[ground.newest_life[REQUEST]].session
    return next(
        each.position.seq for each in ground.entries if each.session == session and each.type is EntryType.OPENED
    )


def _instead(adversary: Adversary, ground: Ground, says: str) -> Told:
    adversary.forge()
    return Told(says, ground.newest_life[DECISION])


@attack(10)
def an_approval_is_given_to_another_statement(adversary: Adversary, ground: Ground) -> Told:
    _sealed_anew(adversary, ground.newest_life[REQUEST], "statement", b"DROP TABLE orders")
    return _instead(adversary, ground, "request_leaf is")


@attack(10)
def an_approval_is_given_to_other_parameters(adversary: Adversary, ground: Ground) -> Told:
    _sealed_anew(adversary, ground.newest_life[REQUEST], "parameters", b'{"sets":[],"types":[]}')
    return _instead(adversary, ground, "request_leaf is")


@attack(10)
def an_approval_is_given_to_another_database(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(ground.newest_life[REQUEST], lambda fields: fields["body"].update(database="payroll"))
    adversary.edit(_opened(ground), lambda fields: fields["body"].update(database="payroll"))
    return _instead(adversary, ground, "request_leaf is")


@attack(10)
def an_approval_is_given_to_another_session(adversary: Adversary, ground: Ground) -> Told:
    for each in ground.entries[_opened(ground) :]:
        if each.session is not None:
            adversary.edit(each.position.seq, lambda fields: fields.update(session="S-00000666"))
    return _instead(adversary, ground, "request_leaf is")


@attack(10)
def an_approval_is_given_to_other_settings(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(ground.newest_life[REQUEST], lambda fields: fields["body"].update(search_path="evil, public"))
    return _instead(adversary, ground, "request_leaf is")


@attack(10)
def an_approval_is_given_to_another_preview(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(ground.newest_life[PREVIEW], lambda fields: fields["body"].update(status="failed"))
    return _instead(adversary, ground, "preview_leaf is")


@attack(10)
def the_ceiling_of_an_approval_is_lifted(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(ground.newest_life[DECISION], lambda fields: fields["body"].update(max_rows=999_999))
    return _instead(adversary, ground, "the entry says max_rows 999999")


@attack(10)
def a_denial_is_made_an_approval(adversary: Adversary, ground: Ground) -> Told:
    adversary.edit(ground.newest_life[DECISION], lambda fields: fields["body"].update(answer="deny"))
    return _instead(adversary, ground, "the entry says answer 'deny'")


@attack(10)
def another_statement_was_sent_to_another_server(adversary: Adversary, ground: Ground) -> Told:
    intent = ground.newest_life[INTENT]
    adversary.edit(intent, lambda fields: fields["body"].update(system_identifier="1"))
    adversary.forge()
    return Told("sent to the database '1', asked for", intent)


# 13. A batch that is there in part: what no crash of a whole storage leaves.


@attack(13)
def entries_without_their_checkpoint(adversary: Adversary, ground: Ground) -> Told:
    adversary.append(ground.find(EntryType.STARTED))
    adversary.relink()
    adversary.write()
    size = len(ground.entries)
    return Told(f"is not covered: the newest checkpoint ends at {size} of {size + 1} entries", size)


@attack(13)
def a_checkpoint_without_its_last_entry(adversary: Adversary, ground: Ground) -> Told:
    last = len(ground.entries) - 1
    adversary.sql(f"DELETE FROM entry WHERE seq = {last}")
    return Told(f"and what follows is missing: a checkpoint covers {last + 1} entries, here are {last}", last)


@attack(13)
def a_sealed_value_without_its_entry(adversary: Adversary, ground: Ground) -> Told:
    adversary.sql(f"INSERT INTO sealed VALUES (x'{'ab' * 32}', 'statement', zeroblob(32), x'41')")
    return Told("a sealed value 'statement' belongs to no entry", exported=False)


@attack(13)
def a_request_without_its_state(adversary: Adversary, ground: Ground) -> Told:
    request = ground.entries[ground.newest_life[OUTCOME]].request
    adversary.sql(f"DELETE FROM request_state WHERE request = '{request}'")
    return Told(f"request_state does not know {request}", exported=False)


@attack(13)
def a_state_without_its_entry(adversary: Adversary, ground: Ground) -> Told:
    adversary.sql("INSERT INTO request_state VALUES ('R-1000001', 'held', zeroblob(32))")
    return Told("request_state knows 'R-1000001', which no entry asks for", exported=False)


# 15. An older copy is put back.


@attack(15)
def an_older_copy_is_put_back(adversary: Adversary, ground: Ground) -> Told:
    size = ground.covered_until(ground.witnessed_life[REQUEST]) + 1
    del adversary.ledger.stored[size:]
    adversary.write(note for note in adversary.checkpoints if int(note.split("\n")[1]) <= size)
    return Told(f"a remembered head covers {ground.size} entries, here are {size}", size)


@attack(15)
def the_proxy_goes_on_with_an_older_copy(adversary: Adversary, ground: Ground) -> Told:
    size = ground.covered_until(ground.witnessed_life[REQUEST]) + 1
    del adversary.ledger.stored[size:]
    started = ground.find(EntryType.STARTED)
    while adversary.size <= len(ground.entries):
        adversary.append(started)
    adversary.forge()
    return _rewritten(ground)
