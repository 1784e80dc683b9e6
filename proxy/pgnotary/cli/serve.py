"""`pgnotary serve`: everything that one proxy runs, put together and taken apart in order.

A configuration enters; the proxy runs until SIGTERM or SIGINT, and SIGHUP reloads people and rules: users, groups,
policy, the roster of approvers, and the certificate. The ledger is opened, settled and written to before the first
client is let in, and is the last thing to close.
"""

import asyncio
import gc
import itertools
import logging
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Never

import click
import uvloop

from pgnotary.approval.api import ApprovalApi
from pgnotary.cli.config_option import config_option
from pgnotary.cli.log_lines import log_to_stderr
from pgnotary.config import Config, load
from pgnotary.errors import PgnotaryError
from pgnotary.serve.certificates import CertificateInForce, upstream_of
from pgnotary.serve.descriptors import make_room
from pgnotary.serve.desk import Desk
from pgnotary.serve.eraser import Eraser
from pgnotary.serve.policies import ConfigInForce
from pgnotary.serve.proxy import Proxy
from pgnotary.serve.recording import recording
from pgnotary.serve.recovery import recall
from pgnotary.serve.redactions import Redactions
from pgnotary.serve.resolver import Resolver, asking
from pgnotary.serve.reviews import Reviews
from pgnotary.serve.rosters import RosterInForce
from pgnotary.serve.workers import Workers
from pgnotary.session.prepared_transactions import PreparedTransactions
from pgnotary.store.sqlite_version import check_version, sqlite_version

__all__ = ["raise_the_first", "serve"]

log = logging.getLogger(__name__)

# Python's own is 700.
_NEW_OBJECTS = 7_000


@click.command()
@config_option
@click.option("--verbose", "-v", is_flag=True, help="Log connections too that end before they have logged in.")
@click.option(
    "--new-high-water",
    is_flag=True,
    help="Go on, once, with a ledger that does not extend its high-water mark; the ledger says so for ever.",
)
def serve(config: Path, *, verbose: bool, new_high_water: bool) -> None:
    """Run the proxy until SIGTERM or SIGINT.

    SIGHUP reads the configuration, the roster of approvers and the certificate again: users, roles, groups and policy
    change at once, what else does takes a restart, as the log says.
    """
    log_to_stderr(verbose=verbose)
    loaded = load(config)
    loaded.inspect()
    if warning := check_version(sqlite_version()):
        log.warning(warning)
    listen = loaded.file.listen
    if missing := make_room(listen.max_clients, listen.max_logins):
        log.warning(
            "too few file descriptors for listen.max_clients: raise the hard limit (ulimit -Hn)",
            extra={"missing": missing},
        )
    try:
        # Before the loop and its threads: what is forked later would inherit them.
        with Workers() as workers:
            _look_for_cycles_less()
            uvloop.run(_serve(loaded, workers, new_high_water=new_high_water))
    except ExceptionGroup as group:
        raise_the_first(group)


def _look_for_cycles_less() -> None:
    """Let the garbage collector pass over what is there for good, and come for new objects a tenth as often.

    Each statement makes dozens of objects and no cycle, so that it came every few statements, in vain.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])


def raise_the_first(group: ExceptionGroup[Exception]) -> Never:
    """Raise what came first out of task groups, unless there is a fault of our own in it, which shows as it is."""
    _, faults = group.split(PgnotaryError)
    if faults is not None:
        raise group
    first: Exception = group
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    raise first from group


async def _serve(config: Config, workers: Workers, *, new_high_water: bool) -> None:
    roster = config.roster()
    certificate, upstream = CertificateInForce(config), upstream_of(config)
    async with recording(config, roster, new_high_water=new_high_water) as ledger:
        store, appender, keeper = ledger.store, ledger.appender, ledger.keeper
        configured = ConfigInForce(config, lambda: load(config.path), appender)
        in_force = RosterInForce(roster, config.roster, appender)
        desk = Desk(appender, in_force, _now)
        prepared = PreparedTransactions()
        await recall(store, prepared, config.policy.digest)
        resolver = Resolver(store, appender, asking(configured, upstream), prepared, config.policy.digest)
        appender.follow(resolver.witness)
        eraser = Eraser(store)
        reviews = Reviews(store, appender, in_force, desk.moment)
        await reviews.recall()
        desk.glass = reviews
        redactions = Redactions(store, appender, in_force, desk.moment, eraser, reviews.unreviewed)
        numbers = itertools.count(await store.last_request_number() + 1)

        def mint() -> str:
            return f"R-{next(numbers)}"

        proxy = Proxy(config, appender, desk, in_force, mint, workers, certificate, upstream, prepared)
        configured.follow(proxy.adopt)
        configured.follow(resolver.adopt)
        stop = _stop_signal()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(resolver.run(), name="resolver")
            reloading = tasks.create_task(in_force.run(), name="roster")
            reconfiguring = tasks.create_task(configured.run(), name="configuration")
            erasing = tasks.create_task(eraser.run(), name="eraser")
            beating = tasks.create_task(ledger.heart.run(proxy.load), name="heart")
            if keeper is not None:
                tasks.create_task(keeper.run(), name="high-water")
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, configured, in_force, certificate)
            try:
                api = ApprovalApi(desk, store, in_force, config.socket, redactions=redactions, reviews=reviews)
                async with api, proxy.listening() as address:
                    where = f"{address.host}:{address.port}"
                    click.echo(f"pgnotary listens at {where}, approvals at {config.socket}", err=True)
                    await stop.wait()
                    click.echo("pgnotary stops", err=True)
            finally:
                asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
                reloading.cancel()
                reconfiguring.cancel()
                erasing.cancel()
                beating.cancel()
                resolver.stop()
                if keeper is not None:
                    keeper.stop()


def _reload(config: ConfigInForce, roster: RosterInForce, certificate: CertificateInForce) -> None:
    config.reload()
    roster.reload()
    certificate.reload()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop


def _now() -> datetime:
    return datetime.now(UTC)
