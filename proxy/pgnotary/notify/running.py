"""The webhooks of one proxy, from its start to its end: a configuration and an open ledger enter.

Whatever cannot be used (an address, authorities, an outbox of another ledger) is a ConfigError before anybody is told
anything. Without a webhook there is no outbox, unless there was one: then it forgets.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from pgnotary import __version__
from pgnotary.config import Config
from pgnotary.notify.notifier import PATIENCE, Notifier, Patience, Receiver
from pgnotary.notify.outbox import Outbox
from pgnotary.notify.sender import Sender, trusting
from pgnotary.store.appender import Appender
from pgnotary.webhook import webhook_seed

__all__ = ["ANSWER_WITHIN_S", "notifying", "outbox_of"]

ANSWER_WITHIN_S = 15.0


def outbox_of(ledger: Path) -> Path:
    """Return where it is remembered how far the webhooks of a ledger were told."""
    return ledger.with_name(f"{ledger.name}.webhooks")


@contextlib.asynccontextmanager
async def notifying(
    config: Config,
    appender: Appender,
    end: int,
    *,
    patience: Patience = PATIENCE,
    answer_within_s: float = ANSWER_WITHIN_S,
) -> AsyncIterator[None]:
    """Tell the configured webhooks during the block; new ones begin at the entry number `end`. Raises ConfigError."""
    hooks, path = config.file.webhook, outbox_of(config.ledger_file)
    if not hooks and not path.exists():
        yield
        return
    seed = config.key().seed
    async with contextlib.AsyncExitStack() as stack:
        outbox = await Outbox.open(path, config.file.ledger.name)
        stack.push_async_callback(outbox.close)
        receivers = []
        for hook in hooks:
            url = config.webhook_url(hook)
            trust = trusting(config.near(hook.ca_file) if hook.ca_file else None) if url.startswith("https:") else None
            sender = await stack.enter_async_context(Sender(__version__, answer_within_s))
            receivers.append(Receiver(hook, url, trust, webhook_seed(seed, hook.name), sender))
        cursors = await outbox.cursors((hook.name for hook in hooks), end)
        notifier = Notifier(receivers, config.ledger_file, outbox, cursors, patience)
        appender.follow(notifier.hear)
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(notifier.run(), name="webhooks")
            try:
                yield
            finally:
                telling.cancel()
