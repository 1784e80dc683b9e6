"""A play that chance directs: one script, told in any order that cause and effect allow, in pieces of any size.

A script (what the client sends, what approvers will say) and a source of chance enter; everything that left the session
leaves, each stream in one piece. With `troubles` the world is unkind as well: the ledger fails, cancels come, either
side goes away, the proxy stops, time passes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.play import DOWN, Play, error

from pgnotary.errors import RequestMoved
from pgnotary.ledger.entries import EntryType
from pgnotary.request.ceiling import Ceiling
from pgnotary.request.decision import Answer
from pgnotary.session import actions, events
from pgnotary.session.events import Event

__all__ = ["ANOTHERS", "MOST", "Improvised", "Verdicts", "improvise"]

Verdicts = Sequence[tuple[Answer, int | None] | None]
"""What approvers say of the first request, the second and so on; None: nothing."""

ANOTHERS = "commit prepared 'y{n}'"
"""Ends what somebody has prepared who never came through here; `n` is from 0."""
MOST = 64
"""How many of them there are."""

_FATAL = error("57P01", "terminating connection due to administrator command", "FATAL")


@dataclass
class Improvised:
    """What happened."""

    play: Play
    to_client: bytes = b""
    to_upstream: bytes = b""
    records: list[str] = field(default_factory=list)
    """Type and body of each entry that was asked for."""
    order: list[tuple[str, object]] = field(default_factory=list)
    """Everything that matters for promises, in the order in which it happened."""
    after_close: list[actions.Action] = field(default_factory=list)
    troubled: bool = False
    """A side went away or the proxy stopped: not everything has to be answered."""


class _Stage:
    def __init__(
        self, script: bytes, verdicts: Verdicts, chance: Random | None, troubles: int, *, only_cuts: bool
    ) -> None:
        self.play = Play(queue_bytes=1 << 20)
        # What is committed when it is ended stands for all that is in it.
        for n in range(MOST):
            self.play.server.waiting[f"y{n}"] = ("900", [ANOTHERS.format(n=n)])
        self.found = Improvised(self.play)
        self._chance = chance
        self._troubles = troubles
        self._only_cuts = only_cuts
        self._client = script
        self._heard = b""
        self._answers = b""
        self._record: actions.Record | None = None
        self._note: actions.Note | None = None
        self._looking = self._wants_look = False
        self._announced: list[str] = []
        self._retired: set[str] = set()
        self._verdicts = verdicts
        self._cancelling = False
        self._server_gone = False
        self._closing = False
        """The server has said FATAL and is about to close."""

    def run(self) -> Improvised:
        while moves := self._moves():
            move = self._chance.choice(moves) if self._chance and not self._only_cuts else moves[0]
            move()
            if self._chance and self._troubles and self._chance.random() < 0.15:
                self._troubles -= 1
                self._chance.choice(self._possible_troubles())()
        return self.found

    def happen(self, event: Event) -> None:
        closed = self.play.session.closed
        found = self.play.session.receive(event, self.play.now)
        if closed:
            self.found.after_close += found
        for action in found:
            self._perform(action)

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.ToClient(data):
                self.found.to_client += data
            case actions.ToUpstream(data):
                self.found.to_upstream += data
                self.found.order.append(("sent", data))
                self._heard += data
            case actions.Record(drafts):
                self.found.records += [f"{draft.type} {dict(draft.body)}" for draft in drafts]
                assert self._record is None, "two records at a time"
                self._record = action
            case actions.Note():
                assert self._note is None, "two notes at a time"
                self._note = action
            case actions.Look():
                assert not self._looking, "two looks at a time"
                self._looking = self._wants_look = True
            case actions.Looked():
                assert self._looking, "a look ends that was not asked for"
                self._looking = self._wants_look = False
            case actions.Announce(request):
                self.found.order.append(("announced", action))
                self._announced.append(str(request.entry.request))
            case actions.Retire(name):
                self.found.order.append(("retired", action))
                self._retired.add(name)
            case actions.CancelUpstream():
                self._cancelling = True
            case actions.Close():
                pass

    # What can go on now, in the order of a world that never waits.

    def _moves(self) -> list[Callable[[], None]]:
        moves: list[Callable[[], None]] = []
        if self._record:
            moves.append(self._write)
        if self._note:
            moves.append(self._write_note)
        if self._wants_look:
            moves.append(self._look)
        if self._heard and not self._server_gone:
            moves.append(self._serve)
        if self._answers:
            moves.append(self._answer)
        if self._cancelling:
            moves.append(self._deliver_cancel)
        if self._closing:
            moves.append(self._close)
        if self._client:
            moves.append(self._say)
        if undecided := self._undecided():
            moves.append(lambda: self._decide(undecided[0]))
        return moves

    def _piece(self, data: bytes, ends: bytes = b"") -> int:
        """Return how much comes at once: anything, or often what reaches to the first message of these types."""
        if self._chance is None:
            return len(data)
        sizes = [1, 4, 5, 6, self._chance.randint(1, len(data)), len(data)]
        return self._chance.choice(sizes + [_end_of_first(data, ends)] * 6 if ends else sizes)

    def _say(self) -> None:
        self._client = self._pieces(self._client, events.ClientBytes, b"QS")

    def _pieces(self, data: bytes, event: Callable[[bytes], Event], ends: bytes) -> bytes:
        """Give a piece, or all of it in pieces; return what is left."""
        while True:
            size = self._piece(data, ends)
            self.happen(event(data[:size]))
            data = data[size:]
            if not (data and self._only_cuts):
                return data

    def _serve(self) -> None:
        size = self._piece(self._heard)
        piece, self._heard = self._heard[:size], self._heard[size:]
        self._answers += self.play.server.hear(piece)

    def _answer(self) -> None:
        self._answers = self._pieces(self._answers, events.UpstreamBytes, b"Z")

    def _write(self) -> None:
        action, self._record = self._record, None
        assert action is not None
        event = self.play.ledger.record(action)
        if isinstance(event, events.Recorded):
            self.found.order += [("recorded", receipt.entry) for receipt in event.receipts]
        self.happen(event)

    def _write_note(self) -> None:
        action, self._note = self._note, None
        assert action is not None
        for draft in action.drafts:
            self.play.ledger.append(draft)
        self.happen(events.Noted())

    def _look(self) -> None:
        self._wants_look = False
        self.happen(events.MayLook())

    def _deliver_cancel(self) -> None:
        self._cancelling = False
        # It hits what the server has begun and not finished; here that is what it has heard and not looked at.
        self.play.server.cancelled = b"Q" in self._heard[:1]
        self.happen(events.CancelDelivered())

    def _close(self) -> None:
        self._closing = False
        self.happen(events.UpstreamGone())

    def _undecided(self) -> list[str]:
        decided = {entry.request for entry in self.play.ledger.entries if entry.type is EntryType.DECISION}
        return [
            request
            for request in self._announced
            if request not in self._retired | decided
            and self.play.ledger.states[request] == "held"
            and self._verdict(request) is not None
        ]

    def _verdict(self, request: str) -> tuple[Answer, int | None] | None:
        number = int(request.removeprefix("R-")) - 1
        return self._verdicts[number] if number < len(self._verdicts) else None

    def _decide(self, request: str) -> None:
        verdict = self._verdict(request)
        assert verdict is not None
        decided = self.play.ledger.decide(
            request, verdict[0], None if verdict[1] is None else Ceiling(verdict[1]), "chance"
        )
        self.found.order.append(("recorded", decided.receipt.entry))
        self.happen(decided)

    # What can go wrong.

    def _possible_troubles(self) -> list[Callable[[], None]]:
        return [
            lambda: self.happen(events.CancelRequested()),
            lambda: self.happen(events.CancelRequested()),
            self._tick,
            self._tick,
            self._fail_a_record,
            self._fail_a_record,
            lambda: self.happen(events.LedgerState(DOWN)),
            lambda: self.happen(events.LedgerState(None)),
            self._leave,
            self._lose_server,
            self._end_by_server,
            self._stop,
        ]

    def _tick(self) -> None:
        assert self._chance is not None
        self.play.clock += self._chance.choice([0.5, 1, 31, 1_000])
        self.happen(events.Tick())

    def _fail_a_record(self) -> None:
        """The record that is under way fails, and may have happened all the same."""
        assert self._chance is not None
        if self._record is None:
            return
        action, self._record = self._record, None
        event: Event = events.RecordFailed(DOWN)
        if self._chance.random() < 0.5:
            event = self.play.ledger.record(action)
            if isinstance(event, events.Recorded):
                self.found.order += [("recorded", receipt.entry) for receipt in event.receipts]
                event = events.RecordFailed(DOWN)
            else:
                assert isinstance(event, events.RecordFailed)
                assert isinstance(event.error, RequestMoved)
        self.happen(event)

    def _leave(self) -> None:
        self._client = b""
        self.found.troubled = True
        self.found.order.append(("left", None))
        self.happen(events.ClientGone())

    def _lose_server(self) -> None:
        """The server goes; what it had heard it may have done, or not, and its answers may have come, or not."""
        assert self._chance is not None
        if self._chance.random() < 0.5 and not self._server_gone:
            self._answers += self.play.server.hear(self._heard)
        if self._chance.random() < 0.5 and self._answers:
            self.happen(events.UpstreamBytes(self._answers))
        self._answers, self._server_gone, self.found.troubled = b"", True, True
        self.happen(events.UpstreamGone())

    def _end_by_server(self) -> None:
        assert self._chance is not None
        if not self._server_gone:
            self.happen(events.UpstreamBytes(self._answers + _FATAL))
            self._answers, self._server_gone, self.found.troubled = b"", True, True
            self._closing = True

    def _stop(self) -> None:
        self.found.troubled = True
        self.happen(events.Shutdown())


def _end_of_first(data: bytes, types: bytes) -> int:
    """Return where the first message of one of these types ends, or all that is there if there is none."""
    at = 0
    while at + 5 <= len(data):
        kind, at = data[at], at + 1 + max(4, int.from_bytes(data[at + 1 : at + 5], "big"))
        if kind in types:
            break
    return min(at, len(data)) or len(data)


def improvise(
    script: bytes, verdicts: Verdicts, chance: Random | None = None, troubles: int = 0, *, only_cuts: bool = False
) -> Improvised:
    """Play until nothing can go on by itself, then let time end what still waits; without chance, at once and whole.

    With `only_cuts` chance cuts the bytes, and everything happens in the same order as without it.
    """
    stage = _Stage(script, verdicts, chance, troubles, only_cuts=only_cuts)
    stage.play.server.scripted = {
        "select 1/0": (error("22012", "division by zero"),),
        "PARSE delete from nowhere": (error("42P01", 'relation "nowhere" does not exist'),),
    }
    stage.run()
    stage._troubles = 0  # its own module
    if chance:
        stage.happen(events.LedgerState(None))
        stage.run()
    for _ in range(20):
        stage.play.clock += 1_000
        stage.happen(events.Tick())
        stage.run()
    return stage.found
