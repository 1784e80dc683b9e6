"""Approves all that is held: what remains of a suite's differences then is not that somebody had to be asked."""

import contextlib
import threading
from typing import Self

from tests.flow.served import PATIENCE_S, Served

from pgnotary.approval.bodies import RequestPaper
from pgnotary.approval.papers import read_paper
from pgnotary.errors import ApiError
from pgnotary.request.decision import Answer

__all__ = ["Robot"]

_POLL_S = 0.02


class Robot:
    """Decides while the `with` block lasts, in a thread of its own."""

    def __init__(self, served: Served) -> None:
        self.approved = 0
        self._served = served
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        while not self._leaving.wait(_POLL_S):
            with contextlib.suppress(ApiError):
                for body in self._served.api.requests():
                    self._approve(body)

    def _approve(self, body: RequestPaper) -> None:
        # Whoever asked may have gone meanwhile.
        with contextlib.suppress(ApiError):
            self._served.decide(read_paper(body, body.id), Answer.APPROVE)
            self.approved += 1
