"""What a session's flows share: who the client is, where its transaction stands, what may be said to it.

Held by exactly one `Session`; flows read and change it between their steps. It performs nothing: what it is told to say
or do becomes actions.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from pgnotary.errors import LedgerUnavailable, StatementError, UpstreamProtocolError
from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.policy import Counted, Verdict, counted
from pgnotary.judge.rules import Policy, Subject
from pgnotary.judge.scope import UNSCOPED, Scope
from pgnotary.judge.statement import Statement
from pgnotary.request.roster import Roster
from pgnotary.session.actions import Action, ToClient
from pgnotary.session.block import Block
from pgnotary.session.encoding import ClientEncoding
from pgnotary.session.events import Now
from pgnotary.session.forwarded import ForwardLog
from pgnotary.session.names import Names
from pgnotary.session.places import Places
from pgnotary.session.plain import PlainReads
from pgnotary.session.prepared_transactions import PreparedTransactions
from pgnotary.wire import messages
from pgnotary.wire.encodings import CLIENT_ENCODING, UTF8, Encoding
from pgnotary.wire.frames import Frame
from pgnotary.wire.messages import Diagnostic

__all__ = ["FAILED", "IDLE", "IN_BLOCK", "Identity", "Judge", "Rules", "SessionState", "SharedCatalog"]

IDLE, IN_BLOCK, FAILED = b"I", b"T", b"E"
"""Transaction status as ReadyForQuery gives it."""

# Each session with temporary tables of its own has a scope of its own.
_MAX_MEMORIES = 64


class Judge(Protocol):
    """What judges the texts of all sessions, under one policy."""

    def ready(self, text: bytes, catalog: Catalog, scope: Scope, subject: Subject) -> bool:
        """Say whether a text may be judged at once; otherwise somebody else has to read it first, or at another time.

        Raises InvalidText if it is not UTF-8.
        """

    def judge(
        self, text: bytes, catalog: Catalog, scope: Scope, subject: Subject, read: Statement | None = None
    ) -> tuple[Statement, Verdict]:
        """Return what a text says and what happens to it; raises InvalidText if it is not UTF-8.

        `read` is what somebody else has read in it.
        """

    def verdict(self, statement: Statement, subject: Subject) -> Verdict:
        """Return what happens to a statement whose names are known."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is connected to what; goes into every request."""

    session: str
    user: str
    person: str
    database: str
    application: str
    client: str
    """The peer's address, for people."""
    upstream_pid: int
    system_identifier: str
    standby: bool = False
    """The server is a hot standby: no block is made READ WRITE."""
    read_only_by_default: bool = False
    """The client asked for read-only transactions when it connected."""
    encoding: Encoding = UTF8
    """The client_encoding that the client has asked for when it connected."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says about holding."""

    policy: Policy
    reminder_s: float
    preview_timeout_ms: int
    mask: tuple[str, ...]
    """Columns that they are not shown."""
    queue_bytes: int
    """How much of the client's later messages may wait behind a hold."""
    roster: Callable[[], Roster]
    """Who may decide now."""


@dataclass(slots=True)
class SharedCatalog:
    """The catalog of one database, as one of its sessions has read it last."""

    catalog: Catalog = BUILT_IN
    at: float = float("-inf")
    """When, in monotonic seconds."""
    generation: int = -1
    """The generation that it is of; another one may have another catalog."""
    _reads: dict[tuple[Scope, Subject], PlainReads] = field(default_factory=dict)
    """Under this catalog."""

    def forget_reads(self) -> None:
        """Forget what was read under rules that are no longer in force."""
        self._reads.clear()

    def learn(self, catalog: Catalog, at: float, generation: int) -> None:
        """Take over what a session has just read."""
        self.catalog, self.at, self.generation = catalog, at, generation
        self._reads.clear()

    def reads(self, scope: Scope, subject: Subject) -> PlainReads:
        """Return what is remembered of plain reads under this catalog."""
        if (scope, subject) not in self._reads:
            if len(self._reads) >= _MAX_MEMORIES:
                self._reads.clear()
            self._reads[scope, subject] = PlainReads()
        return self._reads[scope, subject]


@dataclass(slots=True)
class SessionState:
    """The shared state of one session's flows."""

    who: Identity
    rules: Rules
    judges: Judge
    mint: Callable[[], str]
    """Gives the id of the next request."""
    now: Now
    log: ForwardLog
    generation: Callable[[], int]
    """Grows whenever something that was signed may have changed the catalog of a database."""
    changed: Callable[[], None]
    """Makes it grow."""
    places: Places
    """For holds, shared with all other sessions."""
    prepared: PreparedTransactions
    """Shared with all other sessions."""
    shared: SharedCatalog
    """Of the session's database."""
    catalog: Catalog = BUILT_IN
    catalog_at: float = float("-inf")
    """When `catalog` was asked for, in monotonic seconds."""
    catalog_generation: int = -1
    """The generation that `catalog` is of."""
    scope: Scope = UNSCOPED
    scope_stale: bool = True
    """Something may have changed where names are looked up."""
    status: bytes = IDLE
    block: Block | None = None
    quiet: bool = False
    """client_min_messages was above NOTICE when the statement was held."""
    client_gone: bool = False
    cancelled: bool = False
    """The client wants back what is under way; only for the flow itself to heed, between two steps."""
    ledger_down: LedgerUnavailable | None = None
    names: Names = field(default_factory=Names)
    skipping: bool = False
    """An extended message has failed: everything up to the client's next Sync is passed over."""
    extended: bool = False
    """The flow under way answers extended messages: a simple query of ours would destroy what they have prepared."""
    unfinished: tuple[Frame, ...] = ()
    """A Bind that the client believes to be done: it is sent together with its Execute, or never."""
    out_of_step: bool = False
    """The client has broken COPY by another message: as from the server, it gets no ReadyForQuery any more."""
    copy_begun: bool = False
    """In the batch under way the server has asked for COPY data: it passes over the Sync behind it, as if not there."""
    unsynced: bool = False
    """The server has run extended messages and waits for a Sync: an implicit transaction is open."""
    read_only_by_default: bool = False
    """The client's own default_transaction_read_only, which the server knows under another name."""
    encoding: ClientEncoding = field(init=False)
    """The client's own client_encoding; the server's is UTF8."""
    pin_moves: bool = False
    """Statements of ours change default_transaction_read_only now, and change it back."""
    path_told: bytes = b""
    """The last ParameterStatus of search_path that the client has had; from PostgreSQL 18 on there are any."""
    path_reported: bytes = b""
    """The last one that the server has sent: questions of ours set it for themselves."""
    read_elsewhere: dict[bytes, Statement] = field(default_factory=dict)
    """What others have read for the flow under way."""
    forwarded: int = 0
    held: int = 0
    refused: int = 0
    actions: list[Action] = field(default_factory=list)

    @property
    def is_read_only(self) -> bool:
        """Whether what the client runs now is read only by its own wish, or because the server cannot be written to."""
        by_wish = self.read_only_by_default if self.block is None else self.block.read_only
        return self.who.standby or by_wish

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is open, nothing has failed, and all is known that a text is judged with."""
        opened = self.status != IDLE or self.block is not None or self.unsynced or bool(self.unfinished)
        unusual = self.skipping or self.scope_stale or not self.encoding.is_utf8
        return not (opened or unusual or self.ledger_down is not None)

    @property
    def subject(self) -> Subject:
        """Whom rules are about."""
        return Subject(self.who.database, self.who.user)

    def may_judge(self, text: bytes) -> bool:
        """Say whether a text may be judged at once; raises InvalidText if it is not UTF-8."""
        return text in self.read_elsewhere or self.judges.ready(text, self.catalog, self.scope, self.subject)

    def judge(self, text: bytes, *, anywhere: bool = False) -> tuple[Statement, Verdict]:
        """Return what a text says and what happens to it, as far as catalog and scope are known now.

        `anywhere`: the schemas that will be searched are not known, so of the relations that a name may stand for it is
        the worst.
        """
        scope = replace(self.scope, path=None) if anywhere else self.scope
        return self.judges.judge(text, self.catalog, scope, self.subject, self.read_elsewhere.get(text))

    def verdict(self, statement: Statement) -> Verdict:
        """Return what happens to a statement whose names are known."""
        return self.judges.verdict(statement, self.subject)

    def counted(self, statement: Statement, held: Verdict, rows: int | None) -> Counted:
        """Return what the number of rows that it may change adds to a verdict that holds."""
        return counted(statement, self.rules.policy, self.subject, rows, held)

    def adopt(self, rules: Rules, judges: Judge) -> None:
        """Go on under other rules; what ran in an open block ran under those before."""
        self.rules, self.judges = rules, judges
        self.shared.forget_reads()
        if self.block is not None:
            self.block.older_rules = True

    def __post_init__(self) -> None:
        self.read_only_by_default = self.who.read_only_by_default
        self.encoding = ClientEncoding(self.who.encoding)

    def tell(self, data: bytes | bytearray) -> None:
        """Send bytes to the client."""
        if data and not self.client_gone:
            self.actions.append(ToClient(bytes(data)))

    def notice(self, message: str, detail: str = "", hint: str = "", request: str = "") -> None:
        """Send a NOTICE, unless the client asked not to see any."""
        if not self.quiet:
            self.tell(messages.notice_response(_from_us("NOTICE", "00000", message, detail, hint, request)))

    def error(self, error: StatementError, request: str = "", *, severity: str = "ERROR", sqlstate: str = "") -> None:
        """Send an ErrorResponse; `sqlstate` overrides the error's own."""
        diagnostic = _from_us(severity, sqlstate or error.sqlstate, error.message, error.detail, error.hint, request)
        self.tell(messages.error_response(diagnostic))

    def ready(self) -> None:
        """Send ReadyForQuery with the true transaction status.

        Raises UpstreamProtocolError if that is not the status of the block that we know of: code has ended one, or
        opened one, and what the record says of it would be untrue.
        """
        if (self.status == IDLE) is not (self.block is None):
            raise UpstreamProtocolError(f"transaction status {self.status!r}, which nothing that was sent explains")
        if self.status == FAILED:
            self.encoding.fail()
        if (encoding := self.encoding.report()) is not None:
            self.tell(messages.parameter_status(CLIENT_ENCODING, encoding.shown))
        if self.path_reported != self.path_told:
            self.path_told = self.path_reported
            self.tell(self.path_told)
        if not self.out_of_step:
            self.tell(messages.ready_for_query(self.status))

    def note_refusal(self, text: bytes, kind: str, sqlstate: str) -> None:
        """Count a text that was not let through, and keep it for the record if there is room."""
        self.refused += 1
        if not self.log.full:
            self.log.add(text, kind, self.now.wall, 0, [], sqlstate, refused=True)


def _from_us(severity: str, sqlstate: str, message: str, detail: str, hint: str, request: str) -> Diagnostic:
    diagnostic = Diagnostic(severity=severity, sqlstate=sqlstate, message=message, detail=detail, hint=hint)
    return replace(diagnostic, schema_name="pgnotary", constraint_name=request) if request else diagnostic
