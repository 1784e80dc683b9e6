"""A proxy's ledger from its opening to its close: what is checked before anything is written, and what a run says.

A configuration and a roster enter; an open ledger leaves, to which this run's start, its roster and what an earlier run
left open are recorded already. A ledger that does not extend the head that was kept elsewhere is refused before an
entry is written; who goes on all the same has that head named in `proxy-started`. At the end the stop is recorded.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pgnotary import __version__
from pgnotary.config import Config
from pgnotary.errors import ConfigError, NotExtended
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.ledger.checkpoint import Checkpoint
from pgnotary.ledger.entries import Draft, EntryType
from pgnotary.request.roster import Roster
from pgnotary.serve.heart import Heart
from pgnotary.serve.life_log import log_lives
from pgnotary.serve.recovery import recover
from pgnotary.store import Append
from pgnotary.store.appender import Appender
from pgnotary.store.high_water import Contradiction, HighWater, Keeper, contradiction, shorter
from pgnotary.store.reserve import Reserve
from pgnotary.store.sqlite import SqliteStore
from pgnotary.store.sqlite_version import sqlite_version

__all__ = ["Recording", "recording"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recording:
    """An open ledger, and what keeps it alive and known elsewhere."""

    store: SqliteStore
    appender: Appender
    heart: Heart
    keeper: Keeper | None
    """None if no high-water mark is kept."""


@contextlib.asynccontextmanager
async def recording(config: Config, roster: Roster, *, new_high_water: bool) -> AsyncIterator[Recording]:
    """Open the ledger and record the start; at the end of the block record the stop, unless an error ended it.

    `new_high_water`: go on although the ledger does not extend its high-water mark; refused where it does. Raises
    NotExtended, ConfigError, and what `SqliteStore.open` raises.
    """
    key = config.key()
    mark = None if config.high_water is None else HighWater(config.high_water, config.vkey())
    if mark is None and new_high_water:
        raise ConfigError(f"{config.path}: --new-high-water needs ledger.high_water: set it, or leave the option out")
    kept = None if mark is None else _kept(config, mark, new_high_water=new_high_water)
    reserve = Reserve(config.ledger_file.with_name(f"{config.ledger_file.name}.reserve"))
    store = await SqliteStore.open(config.ledger_file, key.name, key.seed, now=_now, reserve=reserve)
    try:
        found = None if kept is None else await contradiction(kept, store)
        if found is not None and not new_high_water:
            raise _refused(found)
        if found is None and new_high_water:
            raise ConfigError("the ledger extends its high-water mark: leave --new-high-water out")
        keeper = None if mark is None else Keeper(mark, store)
        if keeper is not None and found is None:
            # Before anything is recorded: what can never be written is found now.
            await _begin(keeper)
        async with Appender(store) as appender:
            appender.follow(log_lives)
            heart = Heart(appender, config.file.ledger.heartbeat_s)
            await appender.append(
                Append(Draft(EntryType.STARTED, _started(config, found))),
                Append(Draft(EntryType.ROSTER, {"allowed_signers": roster.text})),
            )
            if keeper is not None and found is not None:
                # Behind the entry that names the head it replaces: a kill in between leaves that to be named again.
                await _begin(keeper)
            # Behind the start: until then this run has promised nothing, and the one before it may be long gone.
            await recover(store, appender)
            yield Recording(store, appender, heart, keeper)
            stopped = {"why": "stopped by a signal", **heart.clocks()}
            await appender.append(Append(Draft(EntryType.STOPPED, stopped)))
        if keeper is not None:
            await keeper.keep_or_say()
    finally:
        await store.close()


def _kept(config: Config, mark: HighWater, *, new_high_water: bool) -> Contradiction | Checkpoint:
    """Return what the mark says; raises NotExtended if there is no ledger at all that could extend it."""
    kept = mark.read()
    if not isinstance(kept, Contradiction):
        if kept.size and not new_high_water and not config.ledger_file.exists():
            # Not even an empty one is made in its place.
            raise _refused(shorter(kept, 0))
        if _on_one_device(mark, config):
            log.warning(
                "the high-water mark lies on the ledger's own volume: what restores one restores both",
                extra={"high_water": str(mark.path)},
            )
    return kept


def _on_one_device(mark: HighWater, config: Config) -> bool:
    with contextlib.suppress(OSError):
        return mark.path.parent.stat().st_dev == config.ledger_file.parent.stat().st_dev
    return False


async def _begin(keeper: Keeper) -> None:
    try:
        await keeper.keep()
    except OSError as error:
        raise ConfigError(
            f"the high-water mark cannot be written: {error.strerror}: make its folder writable"
        ) from error


def _refused(found: Contradiction) -> NotExtended:
    return NotExtended(
        f"{found.message}; nothing was written. Put the right ledger in its place, or, if entries are lost for good, "
        "start once with --new-high-water, which is recorded"
    )


def _started(config: Config, found: Contradiction | None) -> dict[str, JSON]:
    body: dict[str, JSON] = {
        "version": __version__,
        "profile": config.policy.profile,
        "policy": config.policy.digest,
        "config": config.digest,
        "heartbeat_s": config.file.ledger.heartbeat_s,
        "clock": timestamp(_now()),
        "sqlite": ".".join(map(str, sqlite_version())),
    }
    return body if found is None else {**body, "abandoned": found.fields}


def _now() -> datetime:
    return datetime.now(UTC)
