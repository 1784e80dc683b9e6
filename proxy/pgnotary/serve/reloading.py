"""What is in force until it is read again: whoever asks for a reload enters, a new thing in force or a log line leaves.

Asking never waits, and however often somebody asks meanwhile, it is one reload more. A reload that the ledger cannot
record now is tried again until it can; one that fails otherwise leaves in force what was there before.
"""

import asyncio
import logging
from abc import ABC, abstractmethod

from pgnotary.errors import LedgerUnavailable, PgnotaryError

__all__ = ["RETRY_S", "Reloading"]

RETRY_S = 1.0


class Reloading(ABC):
    """Something that is read again as often as asked; `name` and `log` are those of its log lines."""

    def __init__(self, name: str, log: logging.Logger, retry_s: float) -> None:
        self._name = name
        self._log = log
        self._retry_s = retry_s
        self._asked = asyncio.Event()

    def reload(self) -> None:
        """Ask for the file to be read again; `run` does it."""
        self._asked.set()

    async def run(self) -> None:
        """Reload as often as asked, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            try:
                await self._reload()
            except LedgerUnavailable as error:
                self._log.warning("%s waits for the ledger: %s", self._name, error)
                await asyncio.sleep(self._retry_s)
                self._asked.set()
            except PgnotaryError as error:
                self._log.warning("%s was not reloaded, the one before stays in force: %s", self._name, error)

    @abstractmethod
    async def _reload(self) -> None:
        """Bring into force what the file says now; raises LedgerUnavailable, or what is wrong with the file."""
