"""The configuration: one TOML file to frozen structs; what is wrong is said with file, key, value and expectation.

A path enters, a `Config` leaves, or ConfigError. A safe default for everything; unknown keys are errors; secrets are
only named by the files that hold them. Relative paths are relative to the file. `load` answers for what the file says,
`Config.inspect` for the files that it names; only the rules of policy are read with it, if they have a file of their
own: what decides must not change behind our back. Reading files happens here and nowhere below.
"""

import hashlib
import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from pgnotary.errors import BadCheckpoint, BadRoster, ConfigError
from pgnotary.judge import rules
from pgnotary.judge.needs import ANYONE, Group, GroupTable, Need, groups_of, needs_of
from pgnotary.judge.rule_table import MOST_SAMPLED, RuleTable, masks_of, rules_of
from pgnotary.ledger.checkpoint import vkey
from pgnotary.ledger.signing_key import SigningKeyFile, parse_skey
from pgnotary.ledger.subtrees import BLOCK
from pgnotary.request.roster import Roster, parse_roster
from pgnotary.verifier import parse_verifier
from pgnotary.webhook import Webhook, check_url

__all__ = [
    "Address",
    "Approval",
    "ApprovalTls",
    "Config",
    "Ledger",
    "Listen",
    "ListenTls",
    "Metrics",
    "Policy",
    "Role",
    "Upstream",
    "User",
    "load",
    "parse",
    "structure",
]

_Structure = TypeVar("_Structure")
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
    person: str = ""
    """Who that is on the roster of approvers; empty: the same as `name`. Nobody decides over their own request."""


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


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
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


class _Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    rule: tuple[RuleTable, ...] = ()


class Address(msgspec.Struct, frozen=True):
    """A place to listen at or to connect to."""

    host: str
    """A name, an address, or (upstream) the absolute path of the folder of a Unix socket."""
    port: int


class Config(msgspec.Struct, frozen=True):
    """A configuration that has been checked as far as one file can be."""

    path: Path
    file: _File
    digest: str
    """SHA-256 of the file's bytes, in hex."""
    own_rules: tuple[rules.Rule, ...] = ()
    """One's own rules of policy, as they were when the file was read."""

    @property
    def masks(self) -> tuple[str, ...]:
        """The columns that no approver is shown, as patterns; raises ConfigError."""
        try:
            return masks_of("mask", self.file.policy.mask)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: policy.{error}") from error

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of approvers; raises ConfigError."""
        return _groups(self.path, self.file)

    @property
    def approvals(self) -> tuple[Need, ...]:
        """What a held statement needs, unless its rule says otherwise; raises ConfigError."""
        said = self.file.policy.approvals
        try:
            needs = needs_of("approvals", (said,) if isinstance(said, str) else said, self.groups)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: policy.{error}") from error
        if not needs:
            raise ConfigError(f'{self.path}: policy.approvals is empty: expected at least "1 of {ANYONE}"')
        return needs

    @property
    def listen(self) -> Address:
        """Where clients connect."""
        return _address(self.path, "listen.address", self.file.listen.address)

    @property
    def upstream(self) -> Address:
        """Where PostgreSQL is."""
        return _address(self.path, "upstream.address", self.file.upstream.address)

    @property
    def tls_required(self) -> bool:
        """Whether a client that goes on in plain text is refused."""
        return self.file.listen.tls.required or not _is_loopback(self.listen.host)

    @property
    def profile(self) -> str:
        """The name of the profile whose rules speak after one's own."""
        return self.file.policy.profile

    @property
    def policy(self) -> rules.Policy:
        """The rules in force: one's own, then the profile's."""
        return rules.policy_of(
            rules.PROFILES[self.profile],
            self.own_rules,
            groups=self.groups,
            approvals=self.approvals,
            break_glass=self.file.policy.break_glass,
            usual=rules.Terms(hold_s=self.file.policy.hold_s, sample_rows=self.file.policy.sample_rows),
        )

    def near(self, name: str) -> Path:
        """Return a path of the file, relative to where the file is."""
        return self.path.parent / name

    @property
    def ledger_file(self) -> Path:
        """Where the ledger is."""
        return self.near(self.file.ledger.file)

    @property
    def high_water(self) -> Path | None:
        """Where the newest head is kept, if it is."""
        return self.near(self.file.ledger.high_water) if self.file.ledger.high_water else None

    @property
    def socket(self) -> Path:
        """Where the approval API listens."""
        return self.near(self.file.approval.socket)

    @property
    def approval_address(self) -> Address | None:
        """Where the approval API listens besides its socket, if it does."""
        named = self.file.approval.address
        return _address(self.path, "approval.address", named) if named else None

    @property
    def metrics_address(self) -> Address | None:
        """Where the proxy says how it is, if it does."""
        named = self.file.metrics.address
        return _address(self.path, "metrics.address", named) if named else None

    def user(self, name: str) -> User | None:
        """Return the user of a name."""
        return next((user for user in self.file.user if user.name == name), None)

    def password(self, role: str) -> str:
        """Return a role's password, from its file; raises ConfigError if it cannot be read."""
        named = next(role_ for role_ in self.file.role if role_.name == role)
        return (
            self._read(named.password_file, f"role {role}: password_file").rstrip("\n") if named.password_file else ""
        )

    def webhook_url(self, webhook: Webhook) -> str:
        """Return a webhook's address, from its file if it has one; raises ConfigError, which never says what it is."""
        where = f"webhook {webhook.name}: url_file"
        url = webhook.url or self._read(webhook.url_file, where).strip()
        check_url(f"{self.path}: {where} is {webhook.url_file!r}", url)
        return url

    def key(self) -> SigningKeyFile:
        """Return the proxy's signing key."""
        try:
            key = parse_skey(self._read(self.file.ledger.key_file, "ledger.key_file"))
        except BadCheckpoint as error:
            raise ConfigError(f"{self.near(self.file.ledger.key_file)}: {error}") from error
        if key.name != self.file.ledger.name:
            raise ConfigError(f"{self.path}: ledger.name is {self.file.ledger.name!r}, but its key is of {key.name!r}")
        return key

    def vkey(self) -> str:
        """Return the verifier key of the ledger's checkpoints, as auditors pin it."""
        key = self.key()
        return vkey(key.name, key.public)

    def roster(self) -> Roster:
        """Return the roster of approvers as its file says now."""
        try:
            return parse_roster(self._read(self.file.approval.roster, "approval.roster"))
        except BadRoster as error:
            raise ConfigError(f"{self.near(self.file.approval.roster)}: {error}") from error

    def inspect(self) -> None:
        """Raise ConfigError unless the files that it names are there, and what they should be."""
        self.roster()
        self.key()
        for role in self.file.role:
            self.password(role.name)
        for webhook in self.file.webhook:
            self.webhook_url(webhook)
            if webhook.ca_file:
                self._read(webhook.ca_file, f"webhook {webhook.name}: ca_file")
        try:
            usable = stat.S_ISREG(self.ledger_file.stat().st_mode) and os.access(self.ledger_file, os.R_OK | os.W_OK)
        except FileNotFoundError:
            usable = self.ledger_file.parent.is_dir()
        except OSError:
            usable = False
        if not usable:
            raise ConfigError(
                f"{self.path}: ledger.file is {self.file.ledger.file!r}: "
                "expected a file to read and write, or the name of a new one in a folder that is there"
            )
        if self.high_water is not None and not os.access(self.high_water.parent, os.W_OK | os.X_OK):
            raise ConfigError(
                f"{self.path}: ledger.high_water is {self.file.ledger.high_water!r}: "
                "expected a name in a folder that is there and can be written to"
            )
        if self.high_water is not None and os.path.realpath(self.high_water).startswith(
            os.path.realpath(self.ledger_file)
        ):
            raise ConfigError(
                f"{self.path}: ledger.high_water is {self.file.ledger.high_water!r}: expected another file than the "
                "ledger and those beside it, best on another volume"
            )

    def _read(self, name: str, key: str) -> str:
        try:
            return self.near(name).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{self.path}: {key} is {name!r}, which cannot be read: {error}") from error


def load(path: Path) -> Config:
    """Return the configuration in `path`, with the rules that it keeps in another file; raises ConfigError."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; make one with `pgnotary init`") from error
    config = parse(path, raw)
    named = config.file.policy.rules
    return (
        msgspec.structs.replace(config, own_rules=_rules_in(path, path.parent / named, config.groups))
        if named
        else config
    )


def parse(path: Path, raw: bytes) -> Config:
    """Return the configuration that `raw` makes, or would make, in `path`; raises ConfigError.

    Reads no file: the rules that stand in another one are left out.
    """
    file = structure(path, raw, _File)
    config = Config(path.absolute(), file, hashlib.sha256(raw).hexdigest(), _own_rules(path, file))
    _check(config)
    return config


def _toml(raw: bytes) -> dict[str, Any]:
    """Return what TOML says; raises TOMLDecodeError, whatever is wrong with it, or UnicodeDecodeError."""
    text = raw.decode()
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    # tomllib lets these through, for brackets and digits without end; a running proxy must not end by them.
    except RecursionError as error:
        raise tomllib.TOMLDecodeError("it is nested too deep to be read") from error
    except ValueError as error:
        raise tomllib.TOMLDecodeError(str(error)) from error


def structure(path: Path, raw: bytes, kind: type[_Structure]) -> _Structure:
    """Return the TOML in `raw` as a struct; raises ConfigError that names `path`, key, value and expectation."""
    try:
        fields = _toml(raw)
        return msgspec.convert(fields, kind)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), fields)}") from error


def _own_rules(path: Path, file: _File) -> tuple[rules.Rule, ...]:
    if file.policy.rules and file.policy.rule:
        raise ConfigError(
            f"{path}: policy.rules is {file.policy.rules!r}: "
            "expected either that file or [[policy.rule]] tables, not both"
        )
    return _rules(f"{path}: policy.", file.policy.rule, _groups(path, file))


def _groups(path: Path, file: _File) -> tuple[Group, ...]:
    try:
        return groups_of(file.group)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _rules_in(named_by: Path, path: Path, groups: Sequence[Group]) -> tuple[rules.Rule, ...]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{named_by}: policy.rules is {path}, which cannot be read: {error.strerror}") from error
    return _rules(f"{path}: ", structure(path, raw, _Rules).rule, groups)


def _rules(where: str, tables: tuple[RuleTable, ...], groups: Sequence[Group]) -> tuple[rules.Rule, ...]:
    try:
        return rules_of(tables, groups)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error


def _explain(said: str, fields: Mapping[str, object]) -> str:
    """Turn msgspec's `Expected ... - at `$.policy.hold_s`` into key, value, expectation."""
    message, _, where = said.partition(" - at `$")
    keys = re.findall(r"[^.\[\]`]+", where)
    value: object = fields
    for key in keys:
        value = value[int(key)] if isinstance(value, list) else value.get(key) if isinstance(value, dict) else None
    name = where.rstrip("`").lstrip(".")
    shown = f" is {value!r}" if not isinstance(value, dict | list) and "verifier" not in name else ""
    return f"{name}{shown}: {message[:1].lower()}{message[1:]}" if name else f"{message[:1].lower()}{message[1:]}"


def _check(config: Config) -> None:
    """Check what the types cannot say."""
    file, path = config.file, config.path
    if config.profile not in rules.PROFILES:
        known = ", ".join(rules.PROFILES)
        raise ConfigError(f"{path}: policy.profile is {config.profile!r}: expected one of {known}")
    _ = config.masks, config.approvals
    named = file.policy.break_glass
    if named and all(named != group.name for group in config.groups):
        known = ", ".join(group.name for group in config.groups) or "none"
        raise ConfigError(f"{path}: policy.break_glass is {named!r}: expected one of the groups ({known})")
    _check_tls(config)
    _check_approval(config)
    _ = config.metrics_address
    if (segment := file.ledger.segment) & (segment - 1):
        raise ConfigError(f"{path}: ledger.segment is {segment}: expected a power of two")
    for webhook in file.webhook:
        webhook.check(f"{path}: webhook {webhook.name!r}")
    for kind, names in (
        ("user", [user.name for user in file.user]),
        ("role", [role.name for role in file.role]),
        ("webhook", [webhook.name for webhook in file.webhook]),
    ):
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"{path}: {kind} {doubled[0]!r} stands there twice")
    roles = {role.name for role in file.role}
    for user in file.user:
        if user.role not in roles:
            known = ", ".join(sorted(roles)) or "none"
            raise ConfigError(f"{path}: user {user.name!r} has role {user.role!r}: expected one of the roles ({known})")
        try:
            parse_verifier(user.verifier)
        except ConfigError as error:
            raise ConfigError(f"{path}: user {user.name!r}: verifier: {error}") from error


def _address(path: Path, key: str, text: str) -> Address:
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        or_socket = ", or folder:port of a Unix socket" if key == "upstream.address" else ""
        raise ConfigError(f"{path}: {key} is {text!r}: expected host:port{or_socket}")
    return Address(host, int(port))


def _check_tls(config: Config) -> None:
    """Check that no password is proven in plain text off loopback, and that no key of TLS is there in vain."""
    path, tls, upstream = config.path, config.file.listen.tls, config.file.upstream
    if bool(tls.certificate_file) != bool(tls.key_file):
        raise ConfigError(f"{path}: listen.tls: expected both certificate_file and key_file, or neither")
    if not tls.certificate_file:
        for key, value in (("client_ca_file", tls.client_ca_file), ("required", tls.required)):
            if value:
                raise ConfigError(f"{path}: listen.tls.{key} is {value!r}: expected certificate_file and key_file too")
        _require_loopback(path, "listen.address", config.listen, "set certificate_file and key_file in [listen.tls]")
    for user in config.file.user:
        if user.certificate and not tls.client_ca_file:
            raise ConfigError(
                f"{path}: user {user.name!r} has certificate {user.certificate!r}: "
                "expected listen.tls.client_ca_file, which says who may vouch for it"
            )
    local = config.upstream.host.startswith("/")
    if upstream.tls == "disable":
        if upstream.ca_file:
            raise ConfigError(
                f'{path}: upstream.ca_file is {upstream.ca_file!r}: expected upstream.tls = "verify-full"'
            )
        if not local:
            _require_loopback(path, "upstream.address", config.upstream, 'set upstream.tls = "verify-full"')
    elif local:
        raise ConfigError(f"{path}: upstream.tls is {upstream.tls!r}: a Unix socket carries no TLS; leave it out")


def _check_approval(config: Config) -> None:
    """Check that no call of the approval API goes over a network in plain text."""
    path, address, tls = config.path, config.approval_address, config.file.approval.tls
    if bool(tls.certificate_file) != bool(tls.key_file):
        raise ConfigError(f"{path}: approval.tls: expected both certificate_file and key_file, or neither")
    if address is None and tls.certificate_file:
        raise ConfigError(
            f"{path}: approval.tls.certificate_file is {tls.certificate_file!r}: expected approval.address too"
        )
    if address is not None and not tls.certificate_file:
        _require_loopback(path, "approval.address", address, "set certificate_file and key_file in [approval.tls]")


def _require_loopback(path: Path, key: str, address: Address, instead: str) -> None:
    if not _is_loopback(address.host):
        raise ConfigError(
            f"{path}: {key} is {address.host!r}: expected a loopback address, since TLS is not configured; {instead}"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
