"""Where people are told of what is held: one `[[webhook]]` table, what its address may be, and the key that signs.

A table or an address enters; ConfigError leaves if what is told could be read or taken by somebody else: plain HTTP off
loopback, a password in the address. An address can be a secret itself (Slack's are), so it may come from a file, and no
error of that one says what it is. The key is the webhook's own, derived from the proxy's (ADR 0026): what is signed for
one receiver is not signed for another, and none of it with the key of checkpoints.
"""

import hmac
import ipaddress
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from pgnotary.errors import ConfigError

__all__ = ["Event", "Webhook", "check_url", "webhook_seed"]

Event = Literal["held", "decided", "ended", "rejected", "reviewed", "redacted", "roster", "policy", "proxy"]

_MAX_URL_CHARS = 2_048
# No user, no password, no fragment, and no character that two readers of addresses could take for different things.
_URL = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?:[/?][!$-\[\]-~]*)?")
_DERIVED = b"pgnotary/webhook/1\n"


class Webhook(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A place that is told by HTTP what happens."""

    name: Annotated[str, Meta(pattern=r"^[a-z0-9_-]{1,40}$")]
    """What it is called in the log; under this name is remembered how far it was told."""
    url: str = ""
    """https, or http of a loopback address."""
    url_file: str = ""
    """A file that holds the address, instead of `url`."""
    events: tuple[Event, ...] = ("held", "decided", "ended")
    format: Literal["json", "slack"] = "json"
    ca_file: str = ""
    """PEM: the authorities that may vouch for it; empty: those that the system trusts."""

    def check(self, where: str) -> None:
        """Raise ConfigError, which begins with `where`, for what the types cannot say."""
        if bool(self.url) == bool(self.url_file):
            raise ConfigError(f"{where}: expected either url or url_file")
        if self.url:
            check_url(f"{where}: url", self.url)
        if not self.events:
            raise ConfigError(f"{where}: events is empty: expected at least one, or no such table")


def check_url(where: str, url: str) -> None:
    """Raise ConfigError, which begins with `where` and does not repeat the address, unless it may be told anything."""
    found = _URL.fullmatch(url) if len(url) <= _MAX_URL_CHARS else None
    if not found or int(found[3] or 1) not in range(1, 65_536):
        raise ConfigError(
            f"{where}: expected https://host[:port]/path of ASCII characters, without user, password and fragment"
        )
    if found[1] == "http" and not _is_loopback(found[2].strip("[]")):
        raise ConfigError(f"{where}: expected https, since it is no loopback address")


def webhook_seed(proxy_seed: bytes, name: str) -> bytes:
    """Return the 32-byte Ed25519 seed of the key that a webhook's messages are signed with."""
    return hmac.digest(proxy_seed, _DERIVED + name.encode(), "sha256")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
