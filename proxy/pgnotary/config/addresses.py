"""Places of the network as a configuration names them: host:port enters, an `Address` leaves, or ConfigError."""

import ipaddress
import re
from pathlib import Path

import msgspec

from pgnotary.errors import ConfigError

__all__ = ["Address", "address_of", "is_loopback"]


class Address(msgspec.Struct, frozen=True):
    """A place to listen at or to connect to."""

    host: str
    """A name, an address, or (upstream) the absolute path of the folder of a Unix socket."""
    port: int


def address_of(path: Path, key: str, text: str) -> Address:
    """Return the place that `key` of the file `path` names; raises ConfigError."""
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535:
        or_socket = ", or folder:port of a Unix socket" if key == "upstream.address" else ""
        raise ConfigError(f"{path}: {key} is {text!r}: expected host:port{or_socket}")
    return Address(host, int(port))


def is_loopback(host: str) -> bool:
    """Say whether what goes there never leaves this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
