"""What the types of a configuration cannot say: a `Config` enters, nothing leaves, or ConfigError.

Above all: no password is proven, and no call of the approval API made, in plain text over a network.
"""

from pathlib import Path

from pgnotary.config.addresses import Address, is_loopback
from pgnotary.config.configuration import Config
from pgnotary.errors import ConfigError
from pgnotary.judge import rules
from pgnotary.verifier import parse_verifier

__all__ = ["check"]


def check(config: Config) -> None:
    """Raise ConfigError for the first thing that cannot be."""
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
    if not is_loopback(address.host):
        raise ConfigError(
            f"{path}: {key} is {address.host!r}: expected a loopback address, since TLS is not configured; {instead}"
        )
