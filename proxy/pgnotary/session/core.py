"""The session: cuts both streams into messages, runs one flow at a time, answers each event with actions.

Events enter through `receive`, actions leave. A client's message is taken up only when the one before it is finished,
so every statement is judged with the transaction status and settings that it will run under. A flow that fails in a way
it does not handle ends the session: nothing is forwarded in doubt. What is behind a cut of the bytes cannot be felt
before it: each message is dealt with to its end before the next one is looked at.
"""

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from pgnotary.errors import (
    ClientProtocolError,
    LedgerUnavailable,
    PgnotaryError,
    ShuttingDown,
    StatementError,
    UpstreamProtocolError,
    UpstreamRefused,
)
from pgnotary.judge.settings import PINNED, READ_ONLY_BY_DEFAULT
from pgnotary.session import actions, events
from pgnotary.session.batch import on_batch
from pgnotary.session.copying import COPY_MESSAGES
from pgnotary.session.events import Decided, Event, Now, TakenBack
from pgnotary.session.farewell import farewell
from pgnotary.session.function_call import on_function_call
from pgnotary.session.hearing import Hearing
from pgnotary.session.inbox import MAX_BIND_BYTES, MAX_MESSAGE_BYTES, Inbox
from pgnotary.session.news import News
from pgnotary.session.passing import Passing
from pgnotary.session.query import on_query
from pgnotary.session.state import IDLE, SessionState
from pgnotary.session.steps import (
    Ask,
    AwaitDecision,
    AwaitLook,
    AwaitRoom,
    Ending,
    Flow,
    Keep,
    Read,
    Relay,
    Step,
    UpstreamLost,
    Write,
)
from pgnotary.wire import messages
from pgnotary.wire.encodings import CLIENT_ENCODING
from pgnotary.wire.frames import Frame, backend_frames, frontend_frames

__all__ = ["Session"]

# As much of a batch as is collected before it is run; its end may be far away.
_BATCH_BYTES = 1 << 20

_EXTENDED = frozenset((b"P", b"B", b"D", b"E", b"C"))
_IS_AN_END = frozenset((b"S", b"H"))
_ENDS_BATCH = _IS_AN_END | {b"Q", b"F"} | COPY_MESSAGES
_COPY_FAIL = messages.copy_fail("pgnotary could not read this text, so it takes no data for it")
_SEARCH_PATH = "search_path"
_TRACKED = {name for name in PINNED if name != "backslash_quote"}


class _Broken(StatementError):
    """Something failed in a way that nothing here expects."""


class Session:
    """One client's conversation with one PostgreSQL session, from its first ReadyForQuery on."""

    def __init__(self, state: SessionState) -> None:
        self._state = state
        self._from_client = frontend_frames(MAX_MESSAGE_BYTES, bind_bytes=MAX_BIND_BYTES, runs=True)
        self._from_upstream = backend_frames(runs=True)
        self._inbox = Inbox()
        self._at_rest = False
        """Nothing is under way on the long way; only what happens there changes it."""
        self._passing = Passing(state)
        self._flow: Flow | None = None
        self._step: Step | None = None
        self._hearing = Hearing(Ask(b""))
        """Of the step under way; an empty one if there is none."""
        self._batch: list[Frame] = []
        """Extended messages of the client that wait for what ends their batch."""
        self._batch_bytes = 0
        self._batch_late = False
        """A tick has passed since the batch grew: its end may not come before its client has had an answer."""
        self._sent = False
        """What the step asks for is on its way to the server."""
        self._news = News()
        self._cancelling = False
        self._noting = False
        self._due = False
        """A tick has passed since forwarded statements were last noted."""
        self._changed: events.RulesChanged | None = None
        """Rules to take over as soon as nothing is under way."""
        self._upstream_gone = False
        self._told_fatal = False
        """The client has had a FATAL error from the server: nothing may follow it."""
        self._last_words = b""
        """A FATAL error from the server that the client has not had."""
        self._parting: StatementError | None = None
        """What the session ends with."""
        self._saying_farewell = False
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether a Close was given; further events change nothing."""
        return self._closed

    def receive(self, event: Event, now: Now) -> list[actions.Action]:
        """Take one event in and return what to do, in order."""
        if self._closed:
            return []
        self._state.now = now
        try:
            if (passed := self._pass(event)) is not None:
                return passed
            self._take(event)
        except StatementError as error:
            self._part(error)
        except UpstreamProtocolError as error:
            self._distrust_upstream(error)
        self._advance()
        self._heed()
        self._at_rest = self._is_at_rest()
        taken, self._state.actions = self._state.actions, []
        return _joined(taken)

    # --- the short way ----------------------------------------------------------------------------------------------

    def _pass(self, event: Event) -> list[actions.Action] | None:
        """Deal with an event of a plain read that passes the short way, or return None."""
        passing = self._passing
        if passing.under_way:
            if not (isinstance(event, events.UpstreamBytes) and passing.end(event.data)):
                self._go_on_the_long_way()
                return None
            self._note_forwarded()
            noted, self._state.actions = self._state.actions, []
            return [actions.ToClient(event.data), *noted]
        if self._at_rest and isinstance(event, events.ClientBytes) and passing.begin(event.data):
            return [actions.ToUpstream(event.data)]
        return None

    def _is_at_rest(self) -> bool:
        """Say whether nothing is under way, nothing waits, and no message has come in part."""
        busy = self._flow is not None or self._inbox or self._batch or self._cancelling or self._is_leaving()
        in_part = self._from_client.pending_bytes or self._from_upstream.pending_bytes
        return not (busy or in_part or self._closed) and self._state.is_at_rest

    def _go_on_the_long_way(self) -> None:
        """Have the flow wait for the answer that would have sent what has passed."""
        flow, started, passed = self._passing.give_up()
        self._news.begin()
        self._state.cancelled = False
        now, self._state.now = self._state.now, started
        self._run(flow)
        self._state.now = now
        if self._state.actions != [actions.ToUpstream(passed)]:
            raise RuntimeError("what passed the short way is not what the long way would have sent")
        self._state.actions.clear()

    # --- events -----------------------------------------------------------------------------------------------------

    def _is_leaving(self) -> bool:
        """Say whether nothing new is begun any more."""
        return self._parting is not None or self._state.client_gone or self._upstream_gone

    def _is_deaf_upstream(self) -> bool:
        """Say whether nothing that the server says can matter any more."""
        return self._upstream_gone or self._saying_farewell

    def _take(self, event: Event) -> None:
        match event:
            case events.ClientBytes(data):
                self._hear_client(data)
            case events.UpstreamBytes(data):
                self._hear_upstream(data)
            case events.ClientGone():
                self._client_gone()
            case events.UpstreamGone():
                self._keep_last_words()
                self._lose_upstream("the server closed the connection")
            case events.Recorded(receipts):
                self._resume(receipts)
            case events.RecordFailed(error):
                self._throw(error)
            case events.WasRead(statement):
                self._resume(statement)
            case events.Noted():
                self._noting = False
                if isinstance(self._step, AwaitRoom):
                    self._resume(None)
            case events.MayLook():
                if isinstance(self._step, AwaitLook):
                    self._resume(None)
            case events.LedgerState(down):
                self._ledger_turned(down)
            case events.Decided():
                self._news.decide(event)
                self._settle()
            case events.TakenBack():
                self._news.take_back(event)
                self._settle()
            case events.CancelRequested():
                self._cancel()
            case events.CancelDelivered():
                self._cancelling = False
                self._send()
            case events.Tick():
                self._due = True
                if self._state.block:
                    self._state.block.note_open()
                self._settle()
                self._run_late_batch()
            case events.RulesChanged():
                self._changed = event
            case events.Shutdown(why):
                self._part(ShuttingDown(f"terminating connection because {why}"))

    def _hear_client(self, data: bytes) -> None:
        if self._is_leaving():
            return
        for frame in self._from_client.feed(data):
            self._enqueue(frame)
            self._advance()
            if self._is_leaving():
                return

    def _hear_upstream(self, data: bytes) -> None:
        if self._is_deaf_upstream():
            return
        for frame in self._from_upstream.feed(data):
            self._from_server(frame)
            if self._flow is None:
                self._advance()
            if self._is_deaf_upstream():
                return

    def _heed(self) -> None:
        """Let no more be read from the client than can be dealt with soon."""
        if (action := self._inbox.heed(held=self._is_held())) is not None:
            self._state.actions.append(action)

    def _is_held(self) -> bool:
        return isinstance(self._step, AwaitDecision)

    def _ledger_turned(self, down: LedgerUnavailable | None) -> None:
        self._state.ledger_down = down
        if down is not None and isinstance(self._step, AwaitRoom):
            # A copy: what is raised here must not carry the traces of other sessions.
            self._throw(LedgerUnavailable(down.message, detail=down.detail, hint=down.hint))

    def _client_gone(self) -> None:
        self._state.client_gone = True
        self._end(Ending.CLIENT_GONE)
        if isinstance(self._step, Relay) and not self._step.unstoppable:
            self._pass_cancel_on()

    def _cancel(self) -> None:
        if isinstance(self._step, Relay):
            self._pass_cancel_on()
        elif self._flow is not None:
            self._state.cancelled = True
            self._end(Ending.CANCEL)

    def _pass_cancel_on(self) -> None:
        if not self._cancelling:
            self._cancelling = True
            self._state.actions.append(actions.CancelUpstream())

    def _end(self, ending: Ending) -> None:
        """Note what ends a hold."""
        self._news.end(ending)
        if isinstance(self._step, AwaitRoom) and ending is not Ending.CANCEL and not self._saying_farewell:
            self._drop()
        self._settle()

    def _drop(self) -> None:
        """Forget a flow that has not begun to do anything."""
        if self._flow is not None:
            self._flow.close()
        self._flow, self._step = None, None

    def _settle(self) -> None:
        """Resume a flow that waits with what has come for it, if anything has."""
        news: Decided | Ending | TakenBack | None = None
        if isinstance(self._step, AwaitLook):
            news = self._news.take_ending()
        elif isinstance(self._step, AwaitDecision):
            news = self._news.take(self._step, self._state.now)
        if news is not None:
            self._resume(news)

    # --- the client's messages --------------------------------------------------------------------------------------

    def _enqueue(self, frame: Frame) -> None:
        if frame.type == b"X":
            self._client_gone()
            return
        self._inbox.add(frame, held_bytes=self._state.rules.queue_bytes if self._is_held() else None)

    def _advance(self) -> None:
        """Take up what waits, as long as nothing is under way."""
        self._pass_copy_data()
        while self._flow is None and not self._closed:
            self._adopt()
            if self._saying_farewell:
                self._close()
            elif self._is_leaving():
                self._leave()
            elif self._inbox:
                try:
                    self._begin(self._inbox.take())
                except StatementError as error:
                    self._part(error)
            else:
                break
        self._note_forwarded()

    def _adopt(self) -> None:
        """Take over the rules that are in force now: nothing is under way that was judged by others."""
        if self._changed is not None:
            self._state.adopt(self._changed.rules, self._changed.judges)
            self._passing.forget()
            self._changed = None

    def _begin(self, frame: Frame) -> None:
        """Start what a client's message asks for; PostgreSQL skips everything but Sync after an extended error."""
        if self._state.skipping and frame.type != b"S":
            return
        self._news.begin()
        self._state.cancelled = False
        self._state.read_elsewhere.clear()
        if frame.type in _EXTENDED:
            self._batch.append(frame)
            self._batch_bytes += len(frame.raw)
            self._batch_late = False
            if self._batch_bytes > _BATCH_BYTES:
                self._run_batch(b"H")  # As far as it has come: PostgreSQL does not wait for its end either.
        elif self._batch and frame.type in _ENDS_BATCH:
            # The batch first, then the message that ends it, if it is more than an end.
            if frame.type not in _IS_AN_END:
                self._inbox.put_back(frame)
            # Data follow a COPY without any end between them.
            self._run_batch(b"H" if frame.type in COPY_MESSAGES else frame.type)
        else:
            self._begin_alone(frame)

    def _pass_copy_data(self) -> None:
        """Send on what has come for a COPY that takes data; whoever leaves breaks it off."""
        copy = self._step.copy if isinstance(self._step, Relay) else None
        while copy is not None and copy.open:
            if self._is_leaving():
                self._to_upstream(copy.fail("the session ends"))
            elif self._inbox:
                frame = self._inbox.take()
                self._to_upstream(copy.take(frame))
                if copy.fault is not None:
                    self._inbox.put_back(frame)
            else:
                break

    def _to_upstream(self, data: bytes) -> None:
        if data:
            self._state.actions.append(actions.ToUpstream(data))

    def _run_late_batch(self) -> None:
        """Run a batch as far as it has come: PostgreSQL tells of an error at once, without a Sync or a Flush."""
        if self._batch_late and self._batch and self._flow is None and not self._is_leaving():
            self._run_batch(b"H")
        self._batch_late = bool(self._batch)

    def _run_batch(self, end: bytes) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        self._run(on_batch(self._state, batch, end))

    def _begin_alone(self, frame: Frame) -> None:
        match frame.type:
            case b"Q":
                self._run(on_query(self._state, frame))
            case b"S":
                self._run(on_batch(self._state, [], b"S"))
            case b"F":
                self._run(on_function_call(self._state, frame))
            case b"H":
                pass
            case kind if kind in COPY_MESSAGES:
                pass  # "stray CopyData outside COPY is ignored": the server does the same.
            case _:
                raise ClientProtocolError(f"message {frame.type!r} has no meaning here")

    # --- the server's messages --------------------------------------------------------------------------------------

    def _from_server(self, frame: Frame) -> None:
        match frame.type:
            case b"S":
                self._parameter(frame)
            case b"A":
                self._state.tell(frame.raw)
            case b"N":
                if not isinstance(self._step, Ask):
                    self._state.tell(frame.raw)
            case _ if isinstance(self._step, Ask | Relay):
                self._heard(frame)
            case b"E":
                # Nobody asked: the server is ending the session (an idle timeout, an administrator).
                self._last_words = frame.raw
                self._lose_upstream(f"the server ended the session: {messages.diagnostic(frame.body)}")
            case _:
                raise UpstreamProtocolError(f"message {frame.type!r} that nobody waits for")

    def _parameter(self, frame: Frame) -> None:
        name, value = messages.parse_parameter_status(frame.body)
        if name == READ_ONLY_BY_DEFAULT and self._state.pin_moves:
            return
        if name in _TRACKED and value != PINNED[name]:
            raise UpstreamProtocolError(f"{name} is {value} now, but pgnotary keeps it at {PINNED[name]}")
        if name == CLIENT_ENCODING:
            return  # The client has its own.
        if name == _SEARCH_PATH:
            self._state.path_reported = frame.raw
            if isinstance(self._step, Ask):
                return  # It may be our own question's. What stays of it is told before the next ReadyForQuery.
            self._state.path_told = frame.raw
        self._state.tell(frame.raw)

    def _heard(self, frame: Frame) -> None:
        hearing = self._hearing
        self._state.tell(hearing.take(frame))
        if hearing.copy_refused:
            # What waits for data passes over a Sync: in the extended protocol it needs another one.
            extended = isinstance(self._step, Relay) and self._step.frames
            self._state.actions.append(actions.ToUpstream(_COPY_FAIL + (messages.SYNC if extended else b"")))
        if isinstance(self._step, Relay) and (copy := self._step.copy) is not None:
            self._to_upstream(copy.hear(frame.type))
            self._state.copy_begun |= copy.begun and bool(self._step.frames)
            if frame.type == b"E" and copy.fault is not None:
                self._state.out_of_step = True
                lost = "terminating connection because protocol synchronization was lost"
                self._part(ClientProtocolError(lost))
            self._pass_copy_data()
        if hearing.complete and isinstance(self._step, Relay):
            self._state.names.follow_all(self._step.frames, len(hearing.answer.completions))
        if hearing.status:
            self._state.status = hearing.status
            if hearing.status == IDLE:
                self._state.names.end_transaction()
        if hearing.complete:
            self._hearing = Hearing(Ask(b""))
            self._resume(hearing.answer)

    # --- flows ------------------------------------------------------------------------------------------------------

    def _run(self, flow: Flow) -> None:
        self._flow = flow
        self._resume(None)

    def _resume(self, result: Any) -> None:
        if self._flow is not None:
            flow = self._flow
            self._step_on(lambda: flow.send(result))

    def _throw(self, error: PgnotaryError) -> None:
        if self._flow is not None:
            flow = self._flow
            self._step_on(lambda: flow.throw(error))

    def _step_on(self, go: Any) -> None:
        self._step = None
        try:
            step: Step = go()
        except StopIteration:
            self._flow = None
            return
        except UpstreamLost:
            self._flow = None
            self._upstream_gone = True
            return
        except StatementError as error:
            # What a flow ends with says more than why the session was ending already.
            self._flow, self._parting = None, error
            self._part(error)
            return
        except UpstreamProtocolError as error:
            self._flow = None
            self._distrust_upstream(error)
            return
        except PgnotaryError as error:
            self._flow = None
            self._part(_Broken(f"pgnotary cannot go on: {error}"))
            return
        self._step, self._sent = step, False
        match step:
            case Ask() | Relay():
                self._hearing = Hearing(step)
                self._send()
            case Write(drafts, move):
                self._state.actions.append(actions.Record(drafts, move))
            case Read(text):
                self._state.actions.append(actions.Read(text))
            case AwaitDecision():
                self._settle()
            case AwaitLook():
                self._state.actions.append(actions.Look())
                self._settle()
            case AwaitRoom():
                if not self._noting:
                    self._resume(None)
                else:
                    self._ledger_turned(self._state.ledger_down)

    def _send(self) -> None:
        """Send what the flow asks for; not while a cancel is on its way, which might hit this instead."""
        if not isinstance(self._step, Ask | Relay) or self._sent:
            return
        if self._upstream_gone:
            self._throw(UpstreamLost("the server has closed the connection"))
        elif not self._cancelling:
            self._sent = True
            self._state.actions.append(actions.ToUpstream(self._step.messages))

    def _note_forwarded(self) -> None:
        log = self._state.log
        if not (self._due or log.batch_ready) or self._noting:
            return
        if len(log) and not self._saying_farewell:
            self._noting, self._due = True, False
            self._state.actions.append(actions.Note(log.take()))

    # --- endings ----------------------------------------------------------------------------------------------------

    def _part(self, error: StatementError) -> None:
        """End the session with `error` as soon as what is under way has settled its record."""
        self._parting = self._parting or error
        self._inbox.clear()
        self._end(Ending.PARTING)

    def _distrust_upstream(self, error: UpstreamProtocolError) -> None:
        self._parting = self._parting or UpstreamRefused(f"the server broke the protocol: {error}")
        if self._state.block:
            self._state.block.lost = True  # What has become of its transaction is not known any more.
        self._lose_upstream(str(error))

    def _keep_last_words(self) -> None:
        """An error with no ReadyForQuery behind it is FATAL, in whatever language it says so."""
        passes = isinstance(self._step, Relay) and self._step.keep in (Keep.NOTHING, Keep.HEAD)
        if passes and not (self._hearing.answer.kept_whole and self._hearing.answer.kept):
            self._told_fatal = self._hearing.answer.error is not None
        elif not self._last_words:
            self._last_words = self._hearing.answer.raw_error

    def _lose_upstream(self, why: str) -> None:
        self._upstream_gone = True
        if isinstance(self._step, Ask | Relay):
            self._throw(UpstreamLost(why))
        else:
            self._end(Ending.UPSTREAM_LOST)

    def _leave(self) -> None:
        """Say why if the client is still there, then settle the record."""
        parting = self._parting
        if parting is None and self._upstream_gone:
            parting = UpstreamRefused("the server closed the connection")
        if self._parting is None and self._last_words:
            self._state.tell(self._last_words)
        elif parting is not None and not self._told_fatal:
            self._state.error(parting, severity="FATAL")
        self._saying_farewell = True
        self._run(farewell(self._state, f"{parting.sqlstate} {parting.message}" if parting else "client-gone"))

    def _close(self) -> None:
        if not self._upstream_gone:
            self._state.actions.append(actions.ToUpstream(messages.TERMINATE))
        self._state.actions.append(actions.Close())
        self._closed = True


def _joined(found: Iterable[actions.Action]) -> list[actions.Action]:
    """Join neighbouring writes to the same side into one."""
    joined: list[actions.Action] = []
    for kind, group in groupby(found, key=type):
        run = list(group)
        if len(run) == 1:
            joined += run
            continue
        data = b"".join(action.data for action in run if isinstance(action, actions.ToClient | actions.ToUpstream))
        if kind is actions.ToClient:
            joined.append(actions.ToClient(data))
        elif kind is actions.ToUpstream:
            joined.append(actions.ToUpstream(data))
        else:
            joined += run
    return joined
