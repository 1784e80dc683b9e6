"""What was signed and what there is when it is to run: any difference, and nothing runs."""

import json

import pytest
from tests.play import Play, approve, until
from tests.session.stories import DELETE, held, in_a_block

from pgnotary.errors import UpstreamProtocolError
from pgnotary.session.standing import read_standing

HEAD = "client ERROR 55000 R-1 does not run: what was signed has changed since"
CONTEXT = ("app_rw", "eva", "public", "", "notice", "ISO", "postgres", "UTC", "on", "on", "origin", "off", "content")
TIMERS = ("0", "0", "0", "off")
NOTHING = {
    "relations": None,
    "functions": None,
    "operators": None,
    "behind": None,
    "domains": None,
    "event triggers": "",
    "casts": "",
    "around": None,
    "mappings": None,
    "roles": None,
    "usual": None,
    "said": None,
}


def _another_table(play: Play) -> None:
    play.server.schema |= {"relations": [["public", "t", "r 16999", 10, *["0f" * 16] * 10]]}


def _no_table(play: Play) -> None:
    play.server.schema |= {"relations": None}


def _another_trigger(play: Play) -> None:
    prints = ["aa" * 16 if place == 2 else "0f" * 16 for place in range(10)]
    play.server.schema |= {"relations": [["public", "t", "r 16400", 10, *prints]]}


def _another_function(play: Play) -> None:
    play.server.schema = {**play.server.schema, "functions": [["wipe", "bb" * 16]]}


def _another_operator(play: Play) -> None:
    play.server.schema = {**play.server.schema, "operators": [["###", "dd" * 16]]}


def _another_owner(play: Play) -> None:
    play.server.schema |= {"relations": [["public", "t", "r 16400", 16_500, *["0f" * 16] * 10]]}


def _other_options(play: Play) -> None:
    play.server.schema = {**play.server.schema, "around": [["server", "files", "ee" * 16]]}


def _other_memberships(play: Play) -> None:
    play.server.schema = {**play.server.schema, "roles": [["app_rw", "0f" * 16, "ee" * 16]]}


def _another_role(play: Play) -> None:
    play.server.acts_as = "app_admin"


def _another_path(play: Play) -> None:
    play.server.searched = "prod, public"


CHANGES = {
    "role": (_another_role, "role", "app_rw", "app_admin"),
    "search_path": (_another_path, "search_path", '"$user", public', "prod, public"),
    "relation": (_another_table, "public.t", "r 16400", "r 16999"),
    "triggers": (_another_trigger, "triggers of public.t", "0f" * 16, "aa" * 16),
    "owner": (_another_owner, "owner of public.t", "10", "16500"),
    "server": (_other_options, "the server files", "", "ee" * 16),
    "operator": (_another_operator, "the operator ###", "", "dd" * 16),
    "function": (_another_function, "the function wipe", "", "bb" * 16),
}


@pytest.mark.parametrize("block", [False, True], ids=["outside", "inside a block"])
@pytest.mark.parametrize(("change", "what", "signed", "found"), CHANGES.values(), ids=CHANGES)
def test_whatever_has_changed_since_it_was_signed_nothing_runs(
    play: Play, change: object, what: str, signed: str, found: str, block: bool
) -> None:
    held(in_a_block(play) if block else play)
    change(play)  # type: ignore[operator]
    play >> approve() << until("record void") << until(HEAD) << f"client ready {'E' if block else 'I'}"
    assert play.ledger.body("void")["changed"] == [{"what": what, "signed": signed, "found": found}]
    assert DELETE not in play.server.heard
    assert play.ledger.states["R-1"] == "void"


def test_what_is_gone_is_told_with_all_that_was_its_own(play: Play) -> None:
    held(play)
    _no_table(play)
    play >> approve() << until("record void") << until(HEAD) << "client ready I"
    changed = play.ledger.body("void")["changed"]
    assert len(changed) == 12
    assert {"what": "public.t", "signed": "r 16400", "found": ""} in changed


def test_what_nothing_runs_in_is_looked_at_too(play: Play) -> None:
    """VACUUM and its like run outside any transaction."""
    held(play, "vacuum full t")
    _another_table(play)
    play >> approve() << until("record void") << until(HEAD) << "client ready I"
    assert "vacuum full t" not in play.server.heard


def test_the_request_commits_to_what_is_compared(play: Play) -> None:
    held(play)
    first = play.ledger.body("request")["schema"]
    _another_trigger(play)
    play >> approve() << until("client ready I")
    held(play, request="R-2")
    assert first != play.ledger.body("request", "R-2")["schema"]


def test_at_most_twenty_changes_are_told(play: Play) -> None:
    held(play)
    play.server.schema |= {"relations": None, "functions": [[f"f{n}", "cc" * 16] for n in range(50)]}
    play >> approve() << until("record void") << until(HEAD) << "client ready I"
    assert len(play.ledger.body("void")["changed"]) == 20


def test_what_a_role_may_and_belongs_to_are_told_apart(play: Play) -> None:
    play.server.schema = {**play.server.schema, "roles": [["app_rw", "0f" * 16, "aa" * 16]]}
    held(play)
    _other_memberships(play)
    play >> approve() << until("record void") << until(HEAD) << "client ready I"
    told = {"what": "memberships of the role app_rw", "signed": "aa" * 16, "found": "ee" * 16}
    assert play.ledger.body("void")["changed"] == [told]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [(*CONTEXT, *TIMERS)],
        [CONTEXT, (json.dumps([NOTHING]),)],
        [(*CONTEXT, *TIMERS), ("{}",)],
        [(*CONTEXT, *TIMERS), ("[]",)],
        [(*CONTEXT, *TIMERS), (json.dumps([NOTHING, [["view", "v"]]]),)],
        [(*CONTEXT, *TIMERS), (None,)],
        [(*CONTEXT, *TIMERS), (json.dumps([NOTHING | {"around": [["server", "files"]]}]),)],
        [(*CONTEXT, *TIMERS), (json.dumps([NOTHING | {"roles": [["app_rw", "aa"]]}]),)],
        [(*CONTEXT, *TIMERS), (json.dumps([{key: NOTHING[key] for key in NOTHING if key != "said"}]),)],
        [
            (*CONTEXT, *TIMERS),
            (json.dumps([NOTHING | {"relations": [["public", "t", "r 1", 10, "aa"]]}]),),
        ],
        [(*CONTEXT, "0", "0", "soon", "off"), (json.dumps([NOTHING]),)],
    ],
)
def test_an_answer_of_another_shape_is_none(rows: list[tuple[str | None, ...]]) -> None:
    with pytest.raises(UpstreamProtocolError, match="context cannot be read"):
        read_standing(rows)
