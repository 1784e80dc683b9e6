"""Bytes of deleted values taken out of the ledger's files, behind everything else, until none is left.

A store enters. What an earlier run left is done first. A reader of the file can keep its bytes there: then it is tried
again each second, said once in the log, and never called done.
"""

import asyncio
import logging

from pgnotary.errors import LedgerUnavailable
from pgnotary.store import ErasingStore

__all__ = ["Eraser"]

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_READ = "a program is reading the ledger's file: it is tried again until that has ended"


class Eraser:
    """The one task of a proxy that erases."""

    def __init__(self, store: ErasingStore, retry_s: float = _RETRY_S) -> None:
        self._store = store
        self._retry_s = retry_s
        self._asked = asyncio.Event()
        self._tried = asyncio.Event()
        self._why = "it has only begun"

    @property
    def hindrance(self) -> str:
        """Why bytes of deleted values may still be in the files; empty if none are."""
        return self._why if self._store.is_erasing() else ""

    def wake(self) -> None:
        """Say that something was deleted, or may have been."""
        self._why = "it has only begun"
        self._asked.set()

    async def tried(self, within_s: float) -> None:
        """Return once there is nothing to erase, or that has been tried and failed, or after so many seconds."""
        try:
            async with asyncio.timeout(within_s):
                while self._store.is_erasing():
                    self._tried.clear()
                    await self._tried.wait()
                    if self._why == _READ:
                        return
        except TimeoutError:
            return

    async def run(self) -> None:
        """Erase as often as there is something to erase, until cancelled."""
        while True:
            self._asked.clear()
            if self._store.is_erasing():
                await self._try()
            if not self._store.is_erasing():
                await self._asked.wait()
                continue
            try:
                async with asyncio.timeout(self._retry_s):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def _try(self) -> None:
        before = self._why
        try:
            self._why = "" if await self._store.erase() else _READ
        except LedgerUnavailable as error:
            self._why = str(error)
        if self._why and self._why != before:
            log.warning("bytes of redacted values are still in the ledger's files: %s", self._why)
        elif not self._why:
            log.info("redacted values are erased from the ledger's files")
        self._tried.set()
