"""`pgnotary serve`: everything that one proxy runs, put together and taken apart in order.

A configuration enters; the proxy runs until SIGTERM or SIGINT, and SIGHUP reloads people and rules: users, groups,
policy, the roster of approvers, and the certificates. The ledger is opened, settled and written to before the first
client is let in, and is the last thing to close.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Never

import click
import uvloop

from pgnotary.approval.api import ApprovalApi
from pgnotary.approval.unix_socket import MAX_LOCAL
from pgnotary.cli.config_option import config_option
from pgnotary.cli.log_lines import log_to_stderr
from pgnotary.config import Address, Config, load
from pgnotary.door import MAX_CONNECTIONS, Listening
from pgnotary.errors import PgnotaryError
from pgnotary.notify.running import notifying
from pgnotary.serve.certificates import CertificateInForce, read_for_approval, upstream_of
from pgnotary.serve.descriptors import make_room
from pgnotary.serve.desk import Desk
from pgnotary.serve.eraser import Eraser
from pgnotary.serve.health import Health, reachable
from pgnotary.serve.policies import ConfigInForce
from pgnotary.serve.proxy import Proxy
from pgnotary.serve.recording import Recording, recording
from pgnotary.serve.recovery import recall
from pgnotary.serve.redactions import Redactions
from pgnotary.serve.resolver import Resolver, asking
from pgnotary.serve.reviews import Reviews
from pgnotary.serve.rosters import RosterInForce
from pgnotary.serve.seen_head import root_at
from pgnotary.serve.upstream import UpstreamAddress
from pgnotary.serve.vitals import Vitals
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

    SIGHUP reads the configuration, the roster of approvers and the certificates again: users, roles, groups and policy
    change at once, what else does takes a restart, as the log says.
    """
    log_to_stderr(verbose=verbose)
    loaded = load(config)
    loaded.inspect()
    if warning := check_version(sqlite_version()):
        log.warning(warning)
    listen = loaded.file.listen
    if missing := make_room(listen.max_clients, listen.max_logins, _callers(loaded)):
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
    for_approval = CertificateInForce(config, read_for_approval)
    async with (
        recording(config, roster, new_high_water=new_high_water) as ledger,
        notifying(config, ledger.appender, ledger.store.head().size),
    ):
        store, appender, keeper = ledger.store, ledger.appender, ledger.keeper
        configured = ConfigInForce(config, lambda: load(config.path), appender)
        in_force = RosterInForce(roster, config.roster, appender)
        desk = Desk(appender, in_force, _now, lambda size: root_at(store, size))
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
            if keeper is not None:
                tasks.create_task(keeper.run(), name="high-water")
            endless = {
                "roster": in_force.run(),
                "configuration": configured.run(),
                "eraser": eraser.run(),
                "heart": ledger.heart.run(proxy.load),
            }
            running = [tasks.create_task(work, name=name) for name, work in endless.items()]
            again = (configured.reload, in_force.reload, certificate.reload, for_approval.reload)
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, again)
            try:
                api = ApprovalApi(
                    desk,
                    store,
                    in_force,
                    config.socket,
                    config.vkey(),
                    listening=_listening(config, for_approval),
                    redactions=redactions,
                    reviews=reviews,
                )
                appender.follow(api.events.witness)
                async with api, _health(config, ledger, proxy, api, upstream), proxy.listening() as address:
                    click.echo(f"pgnotary listens at {_listens(address, config, api)}", err=True)
                    await stop.wait()
                    click.echo("pgnotary stops", err=True)
            finally:
                asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
                for each in running:
                    each.cancel()
                resolver.stop()
                if keeper is not None:
                    keeper.stop()


def _callers(config: Config) -> int:
    """Return how many connections that speak HTTP there may be at once."""
    by_network = config.file.approval.max_connections if config.approval_address else 0
    return MAX_LOCAL + by_network + (MAX_CONNECTIONS if config.metrics_address else 0)


def _listening(config: Config, certificate: CertificateInForce) -> Listening | None:
    """Return where the approval API listens besides its socket, if it does."""
    address, limits = config.approval_address, config.file.approval
    if address is None:
        return None

    def shown() -> ssl.SSLContext | None:
        tls = certificate()
        return tls.context if tls else None

    return Listening(
        "approval.address",
        address.host,
        address.port,
        shown,
        limits.max_connections,
        limits.max_connections_per_address,
        limits.calls_per_s,
    )


@contextlib.asynccontextmanager
async def _health(
    config: Config, ledger: Recording, proxy: Proxy, api: ApprovalApi, upstream: UpstreamAddress
) -> AsyncIterator[None]:
    """Tell how the proxy is, if that is wanted."""
    if (address := config.metrics_address) is None:
        yield
        return
    appender, door = ledger.appender, api.door
    vitals = Vitals(
        [
            ("pgnotary_clients", "Sessions of clients that are logged in.", lambda: proxy.load()[0]),
            ("pgnotary_held", "Statements that wait for a decision.", lambda: proxy.load()[1]),
            ("pgnotary_ledger_entries", "Entries in the ledger.", lambda: ledger.store.head().size),
            ("pgnotary_ledger_up", "Whether the ledger takes entries.", lambda: float(appender.down is None)),
            ("pgnotary_api_watchers", "Streams of events that are open.", lambda: api.watchers),
            ("pgnotary_api_refused_calls_total", "Calls that were not admitted.", lambda: api.callers.refused),
            (
                "pgnotary_api_refused_connections_total",
                "Connections that were closed at once.",
                lambda: door.refused if door else 0,
            ),
        ]
    )
    appender.follow(vitals.witness)
    appender.watch(vitals.ledger_turned)
    health = Health(
        vitals.page,
        lambda: appender.down,
        lambda: appender.well_s,
        lambda: reachable(upstream),
        lambda: proxy.stopping,
    )
    listening = Listening("metrics.address", address.host, address.port, lambda: None)
    async with health.listening(listening) as (host, port):
        log.info("metrics are told at %s port %d", host, port)
        yield


def _listens(address: Address, config: Config, api: ApprovalApi) -> str:
    """Return where the proxy listens, in words."""
    network = f" and {api.address[0]}:{api.address[1]}" if api.address else ""
    return f"{address.host}:{address.port}, approvals at {config.socket}{network}"


def _reload(again: Iterable[Callable[[], None]]) -> None:
    for each in again:
        each()


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    return stop


def _now() -> datetime:
    return datetime.now(UTC)
