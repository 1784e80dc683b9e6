"""TOML to a frozen struct: bytes enter, a struct leaves, or ConfigError with file, key, value and expectation.

No bytes end a running proxy, however deep they are nested or long their numbers are; and no value that proves who
somebody is stands in a message.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pgnotary.errors import ConfigError

__all__ = ["structure"]

_Structure = TypeVar("_Structure")


def structure(path: Path, raw: bytes, kind: type[_Structure]) -> _Structure:
    """Return the TOML in `raw` as a struct; raises ConfigError that names `path`, key, value and expectation."""
    try:
        fields = _toml(raw)
        return msgspec.convert(fields, kind)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {_explain(str(error), fields)}") from error


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
