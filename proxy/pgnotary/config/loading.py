"""How a configuration is read: a path enters, a `Config` leaves that has been checked, or ConfigError.

Only the file itself is read, and the rules of policy if they have a file of their own: what decides must not change
behind our back. What the other files say that it names, `Config` tells when it is asked.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pgnotary.config.checks import check
from pgnotary.config.configuration import Config, groups_in
from pgnotary.config.tables import File, Rules
from pgnotary.config.toml import structure
from pgnotary.errors import ConfigError
from pgnotary.judge import rules
from pgnotary.judge.needs import Group
from pgnotary.judge.rule_table import RuleTable, rules_of

__all__ = ["load", "parse"]


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
    file = structure(path, raw, File)
    config = Config(path.absolute(), file, hashlib.sha256(raw).hexdigest(), _own_rules(path, file))
    check(config)
    return config


def _own_rules(path: Path, file: File) -> tuple[rules.Rule, ...]:
    if file.policy.rules and file.policy.rule:
        raise ConfigError(
            f"{path}: policy.rules is {file.policy.rules!r}: "
            "expected either that file or [[policy.rule]] tables, not both"
        )
    return _rules(f"{path}: policy.", file.policy.rule, groups_in(path, file))


def _rules_in(named_by: Path, path: Path, groups: Sequence[Group]) -> tuple[rules.Rule, ...]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{named_by}: policy.rules is {path}, which cannot be read: {error.strerror}") from error
    return _rules(f"{path}: ", structure(path, raw, Rules).rule, groups)


def _rules(where: str, tables: tuple[RuleTable, ...], groups: Sequence[Group]) -> tuple[rules.Rule, ...]:
    try:
        return rules_of(tables, groups)
    except ConfigError as error:
        raise ConfigError(f"{where}{error}") from error
