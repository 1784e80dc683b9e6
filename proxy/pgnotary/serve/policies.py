"""The configuration in force: read again when the operator asks for it, its rules recorded before they count.

A reader of the configuration's file enters, and asks for a reload; a configuration that was recorded leaves. People and
rules change with it: users, roles, groups, policy. What a running proxy cannot change (where it listens, its upstream,
its ledger, where approvers come in) stays as it was at the start, and the log says so. A file that cannot be used
changes nothing, and the log says why.
"""

import logging
from collections.abc import Callable, Iterator

import msgspec

from pgnotary.config import Config
from pgnotary.errors import LedgerUnavailable
from pgnotary.ledger.canonical import JSON
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.serve.reloading import RETRY_S, Reloading
from pgnotary.store import Append
from pgnotary.store.appender import Appender

__all__ = ["ConfigInForce"]

log = logging.getLogger(__name__)

_FIXED = ("listen", "upstream", "ledger", "approval", "metrics", "webhook")
"""The sections that only a start reads."""


class ConfigInForce(Reloading):
    """The configuration of one proxy; called, it gives the one in force."""

    def __init__(
        self,
        started: Config,
        read: Callable[[], Config],
        appender: Appender,
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        super().__init__("the configuration", log, retry_s)
        self._config = started
        self._read = read
        self._appender = appender
        self._followers: list[Callable[[Config], None]] = []
        self._in_doubt = False
        """Nobody can tell whether the newest entry is that of the configuration in force."""

    def __call__(self) -> Config:
        """Return the configuration in force."""
        return self._config

    def follow(self, adopt: Callable[[Config], None]) -> None:
        """Have somebody told of each further configuration, once it is recorded."""
        self._followers.append(adopt)

    async def _reload(self) -> None:
        """Bring the file's people and rules into force; raises ConfigError, LedgerUnavailable."""
        read = self._read()
        for role in read.file.role:
            read.password(role.name)
        before = self._config
        if (read.digest, read.policy.digest) == (before.digest, before.policy.digest) and not self._in_doubt:
            log.info("the configuration has not changed")
            return
        left = [*_left(before, read)]
        sections = {name: getattr(before.file, name) for name in _FIXED}
        config = msgspec.structs.replace(read, file=msgspec.structs.replace(read.file, **sections))
        body: dict[str, JSON] = {"profile": config.profile, "policy": config.policy.digest, "config": config.digest}
        try:
            await self._appender.append(Append(Draft(EntryType.POLICY, body | ({"left": [*left]} if left else {}))))
        except LedgerUnavailable:
            # It may have been recorded all the same: a file that is put back as it was has to be recorded, too.
            self._in_doubt = True
            raise
        self._in_doubt = False
        # Durable, and nothing is waited for from here on: what is judged next is judged by it.
        self._config = config
        for adopt in self._followers:
            adopt(config)
        for key in left:
            log.warning("%s has changed in the file; that takes a restart, and is left as it was", key)
        log.info("the configuration was reloaded: policy %s", config.policy.digest[:16])


def _left(before: Config, read: Config) -> Iterator[str]:
    """Yield the keys that are another in the file, and stay as they were."""
    for section in _FIXED:
        old, new = getattr(before.file, section), getattr(read.file, section)
        if isinstance(old, tuple):
            # Tables that may stand there several times are one thing.
            if old != new:
                yield section
            continue
        for name in old.__struct_fields__:
            if getattr(old, name) != getattr(new, name):
                yield f"{section}.{name}"
