"""What a configuration may say: each table of the file as a frozen struct, with a safe default for everything.

A key that stands in none of them is an error. Secrets are never in the file: a table names the files that hold them.
What a type cannot say, `pgnotary.config.checks` does.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pgnotary.judge.needs import ANYONE, GroupTable
from pgnotary.judge.rule_table import MOST_SAMPLED, RuleTable
from pgnotary.ledger.subtrees import BLOCK
from pgnotary.webhook import Webhook

__all__ = [
    "Approval",
    "ApprovalTls",
    "File",
    "Ledger",
    "Listen",
    "ListenTls",
    "Metrics",
    "Policy",
    "Role",
    "Rules",
    "Upstream",
    "User",
]

_Name = Annotated[str, Meta(min_length=1, max_length=63)]


class ListenTls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How clients are shown who we are, and show who they are."""

    certificate_file: str = ""
    """PEM: ours, then those between it and its authority. Empty: no TLS. Read again at SIGHUP, as are the next two."""
    key_file: str = ""
    client_ca_file: str = ""
    """PEM: the authorities whose certificates clients may show; empty: none is asked for."""
    required: bool = False
    """Plain text is refused on loopback too; elsewhere it always is."""


class Listen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where clients connect."""

    address: str = "127.0.0.1:6432"
    """host:port; without TLS a loopback address."""
    login_deadline_s: Annotated[float, Meta(gt=0, le=600)] = 60.0
    max_clients: Annotated[int, Meta(ge=1, le=10_000)] = 1_000
    """Each holds a session of the server, too."""
    max_logins: Annotated[int, Meta(ge=1, le=1_000)] = 200
    """Connections that have not said who they are yet: they cost a buffer each, and a deadline ends them."""
    tls: ListenTls = ListenTls()


class Upstream(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The PostgreSQL that stands behind."""

    address: str = "127.0.0.1:5432"
    """host:port, without TLS of a loopback address; or folder:port of a Unix socket."""
    tls: Literal["disable", "verify-full"] = "disable"
    """As libpq's sslmode. There is no `require`: unverified, it would hand the login to whoever is in between."""
    ca_file: str = ""
    """PEM: the authorities that may vouch for PostgreSQL; empty: those that the system trusts."""
    databases: tuple[str, ...] = ()
    """The databases that may be asked for; empty: any."""


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A database role that pgnotary logs in as, and where its password is."""

    name: _Name
    password_file: str = ""
    """Empty: the server asks for none."""


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A person who connects."""

    name: _Name
    """What is given as user in psql."""
    verifier: str
    """SCRAM-SHA-256$...; made by `pgnotary user add`. It cannot be used to log in."""
    role: _Name
    certificate: Annotated[str, Meta(pattern=r"^$|^(CN|DNS|URI|email):.")] = ""
    """A name that their certificate must have, besides the password: CN:eva, email:eva@example.com; empty: none."""
    person: Annotated[str, Meta(pattern=r"\A(|[A-Za-z0-9][A-Za-z0-9._@+:/-]{0,127})\Z")] = ""
    """Who that is on the roster of approvers; empty: the same as `name`. Nobody decides over their own request.

    As a roster writes names: whoever only looks like somebody there would be another person, and could be both.
    """


class Ledger(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where everything is recorded."""

    file: str = "ledger.db"
    name: Annotated[str, Meta(pattern=r"^[a-z0-9./_-]{1,100}$")] = "localhost/pgnotary"
    """The origin of its checkpoints; never changes."""
    key_file: str = "proxy.key"
    heartbeat_s: Annotated[int, Meta(ge=1, le=86_400)] = 60
    """After so long without an entry there is one that says that nothing was to be told."""
    high_water: str = ""
    """Where the newest head is kept, on another volume; empty: nowhere."""
    segment: Annotated[int, Meta(ge=BLOCK, le=1 << 20)] = 4_096
    """A power of two: an archive ends at a multiple of so many entries."""


class ApprovalTls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How callers of the approval API are shown who we are."""

    certificate_file: str = ""
    """PEM: ours, then those between it and its authority. Both are read again at SIGHUP."""
    key_file: str = ""


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How approvers reach the proxy, and who they are."""

    socket: str = "pgnotary.sock"
    roster: str = "allowed_signers"
    """A file of OpenSSH allowed_signers lines."""
    address: str = ""
    """host:port of the API over HTTPS; without TLS a loopback address; empty: the socket only."""
    max_connections: Annotated[int, Meta(ge=1, le=10_000)] = 256
    max_connections_per_address: Annotated[int, Meta(ge=1, le=10_000)] = 32
    calls_per_s: Annotated[float, Meta(ge=0.1, le=10_000)] = 20.0
    """Of one address, and of one key."""
    tls: ApprovalTls = ApprovalTls()


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the proxy says how it is."""

    address: str = ""
    """host:port of a listener of its own, plain HTTP; empty: none."""


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is held, and for how long."""

    profile: str = "default"
    """The rules that speak where no rule of one's own does."""
    rules: str = ""
    """A file of [[rule]] tables, instead of [[policy.rule]] ones; empty: none."""
    rule: tuple[RuleTable, ...] = ()
    """One's own rules, in order."""
    hold_s: Annotated[float, Meta(ge=1, le=86_400)] = 900.0
    reminder_s: Annotated[float, Meta(ge=1)] = 30.0
    preview_timeout_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1_000
    sample_rows: Annotated[int, Meta(ge=0, le=MOST_SAMPLED)] = 5
    """How many of the rows that a statement would meet approvers are shown."""
    mask: str | tuple[str, ...] = ()
    """Columns whose values they are not shown."""
    queue_bytes: Annotated[int, Meta(ge=1_024, le=1 << 28)] = 1 << 20
    approvals: str | tuple[str, ...] = f"1 of {ANYONE}"
    """How many approvals by people of which groups a held statement needs, unless its rule says otherwise."""
    break_glass: str = ""
    """A group whose people may approve alone, their own statements too, in an emergency; empty: nobody."""
    max_held_per_person: Annotated[int, Meta(ge=1, le=1_000)] = 5
    max_held: Annotated[int, Meta(ge=1, le=1_000)] = 1_000


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A configuration's file."""

    listen: Listen = Listen()
    upstream: Upstream = Upstream()
    role: tuple[Role, ...] = ()
    user: tuple[User, ...] = ()
    ledger: Ledger = Ledger()
    approval: Approval = Approval()
    metrics: Metrics = Metrics()
    policy: Policy = Policy()
    group: tuple[GroupTable, ...] = ()
    webhook: tuple[Webhook, ...] = ()


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file of rules, which policy.rules names."""

    rule: tuple[RuleTable, ...] = ()
