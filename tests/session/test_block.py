"""Savepoints: which approved statements a ROLLBACK TO undoes."""

from hypothesis import given
from hypothesis import strategies as st

from pgnotary.session.block import Block, Pending
from pgnotary.session.mark import Mark


def pending(name: str) -> Pending:
    return Pending(name, bytes(32), 1, 0, None, "771", Mark(bytes(32)))


def names(found: list[Pending]) -> list[str]:
    return [one.request for one in found]


def test_a_savepoint_that_does_not_exist_undoes_nothing() -> None:
    block = Block(pending=[pending("R-1")])
    block.release("a")
    block.rolled_back_to("a")
    assert block.after("a") == []
    assert names(block.pending) == ["R-1"]


def test_the_newest_savepoint_of_a_name_counts() -> None:
    block = Block()
    block.savepoint("a")
    block.pending.append(pending("R-1"))
    block.savepoint("a")
    block.pending.append(pending("R-2"))
    assert names(block.after("a")) == ["R-2"]
    block.release("a")
    assert names(block.after("a")) == ["R-1", "R-2"]


def test_a_savepoint_survives_its_own_rollback_and_those_after_it_do_not() -> None:
    block = Block()
    block.savepoint("a")
    block.savepoint("b")
    block.pending.append(pending("R-1"))
    block.rolled_back_to("a")
    assert block.pending == []
    block.pending.append(pending("R-2"))
    assert block.after("b") == []
    assert names(block.after("a")) == ["R-2"]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["savepoint", "release", "rollback"]), st.sampled_from("abc")),
        st.tuples(st.just("run"), st.text("xyz", min_size=1, max_size=3)),
    ),
    max_size=30,
)


@given(STEPS)
def test_savepoints_undo_what_a_stack_of_copies_would(steps: list[tuple[str, str]]) -> None:
    block = Block()
    ran: list[str] = []
    copies: list[tuple[str, list[str]]] = []
    for step, name in steps:
        places = [i for i, (known, _) in enumerate(copies) if known == name]
        match step:
            case "run":
                block.pending.append(pending(name))
                ran.append(name)
            case "savepoint":
                block.savepoint(name)
                copies.append((name, ran.copy()))
            case "release":
                block.release(name)
                del copies[places[-1] if places else len(copies) :]
            case "rollback":
                undone = block.after(name)
                block.rolled_back_to(name)
                if places:
                    del copies[places[-1] + 1 :]
                    assert copies[-1][1] + names(undone) == ran
                    ran = copies[-1][1].copy()
        assert names(block.pending) == ran
