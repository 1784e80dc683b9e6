"""A configuration and what it means: its file's tables enter, and what they come to leaves, or ConfigError.

Addresses, rules and needs are worked out of the tables; keys, passwords and the roster are read, from the files that
the tables name, whenever somebody asks for them. Relative paths are relative to the file. No secret is kept here, and
none stands in a message.
"""

import os
import stat
from pathlib import Path

import msgspec

from pgnotary.config.addresses import Address, address_of, is_loopback
from pgnotary.config.tables import File, User
from pgnotary.errors import BadCheckpoint, BadRoster, ConfigError
from pgnotary.judge import rules
from pgnotary.judge.needs import ANYONE, Group, Need, groups_of, needs_of
from pgnotary.judge.rule_table import masks_of
from pgnotary.ledger.checkpoint import vkey
from pgnotary.ledger.signing_key import SigningKeyFile, parse_skey
from pgnotary.request.roster import Roster, parse_roster
from pgnotary.webhook import Webhook, check_url

__all__ = ["Config", "groups_in"]


class Config(msgspec.Struct, frozen=True):
    """A configuration that has been checked as far as one file can be."""

    path: Path
    file: File
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
        return groups_in(self.path, self.file)

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
        return address_of(self.path, "listen.address", self.file.listen.address)

    @property
    def upstream(self) -> Address:
        """Where PostgreSQL is."""
        return address_of(self.path, "upstream.address", self.file.upstream.address)

    @property
    def tls_required(self) -> bool:
        """Whether a client that goes on in plain text is refused."""
        return self.file.listen.tls.required or not is_loopback(self.listen.host)

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
        return address_of(self.path, "approval.address", named) if named else None

    @property
    def metrics_address(self) -> Address | None:
        """Where the proxy says how it is, if it does."""
        named = self.file.metrics.address
        return address_of(self.path, "metrics.address", named) if named else None

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


def groups_in(path: Path, file: File) -> tuple[Group, ...]:
    """Return the groups of approvers that a file has; raises ConfigError that names it."""
    try:
        return groups_of(file.group)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
