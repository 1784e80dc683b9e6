"""One text after the other is judged, timed, read again otherwise, and run on a server if it was forwarded.

Texts enter; what must not be leaves as a `Finding`, made as short as it still shows. The judge of a text and the server
that runs it belong together: what the judge knows is that server's catalog.
"""

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from tests.fuzz.adapter import DOCUMENTED, KNOWN_WITHOUT_A_DATABASE, Judged, Known, judge
from tests.fuzz.found import why_open
from tests.fuzz.readers import contradictions, second_opinion
from tests.fuzz.report import Finding
from tests.fuzz.server import Server
from tests.fuzz.shrink import shrunk

__all__ = ["SLOW_S", "Hunt", "Tell"]

SLOW_S = 0.1
"""Of processor time; a text that takes the judge longer is a finding."""

# Of findings that look alike this many are made short and kept, of those that are open none; all are counted.
_KEPT = 4


class Tell(Protocol):
    """Takes the figures so far, a finding if there is one, and what it is alike."""

    def __call__(self, figures: Counter[str], finding: Finding | None, alike: str) -> None: ...


class Hunt:
    """Looks at one text after the other, and tells what it found."""

    def __init__(self, tell: Tell, seed: int, judges: list[tuple[Server, Known]]) -> None:
        self._tell = tell
        self._seed = seed
        self._judges = judges
        self._figures: Counter[str] = Counter()
        self._kept: dict[str, set[bytes]] = {}
        self._said = 0.0
        self._number = 0

    def look_at(self, text: bytes, number: int) -> None:
        self._number = number
        self._figures["texts"] += 1
        server, known = self._judges[number % len(self._judges)] if self._judges else (None, KNOWN_WITHOUT_A_DATABASE)
        judged = self._judged(text, known)
        if judged is not None and judged.forwarded:
            self._figures["forwarded"] += 1
            self._read_again(text, judged)
            if server is not None and not judged.controls_transactions:
                self._ask(text, judged, server, known)
        if time.monotonic() - self._said > 2:
            self.say()

    def say(self, finding: Finding | None = None, alike: str = "") -> None:
        self._said = time.monotonic()
        self._figures["sessions lost"] = sum(server.lost for server, _ in self._judges)
        self._tell(self._figures, finding, alike)

    def _judged(self, text: bytes, known: Known) -> Judged | None:
        start = time.process_time()
        try:
            judged = judge(text, known)
        except DOCUMENTED:
            return None
        except Exception as error:
            name = type(error).__name__
            self._keep("error", f"raises {name}", text, lambda shorter: _raises(shorter, known, name))
            return None
        # Of three times the shortest: the others were somebody else's.
        if time.process_time() - start > SLOW_S and _is_slow(text, known):
            self._keep("slow", "takes the judge long", text, lambda shorter: _is_slow(shorter, known))
        return judged

    def _read_again(self, text: bytes, judged: Judged) -> None:
        for said in contradictions(text, judged):
            self._keep("readers", said, text, _contradicts)
        self._figures["second reader differs on the raw text"] += bool(second_opinion(text, judged))

    def _ask(self, text: bytes, judged: Judged, server: Server, known: Known) -> None:
        self._figures["asked"] += 1
        effects = server.effects(text, judged)
        self._figures["answered without error"] += not effects.sqlstate
        if not effects.did:
            return

        def still_shows(shorter: bytes) -> bool:
            again = _forwarded(shorter, known)
            if again is None:
                return False
            now = server.effects(shorter, again)
            return bool(now.did & effects.did) and now.via == effects.via

        self._keep("write", "; ".join(sorted(effects.did)), text, still_shows, via=effects.via, server=server)

    def _keep(
        self,
        kind: str,
        did: str,
        text: bytes,
        still_shows: Callable[[bytes], bool],
        *,
        via: frozenset[str] = frozenset(),
        server: Server | None = None,
    ) -> None:
        told = ", ".join(sorted(via))
        why = why_open(did, via)
        alike = f"{kind}{f', open ({why})' if why else ''}: " + (f"via {told}" if told else did)
        kept = self._kept.setdefault(alike, set())
        if why or len(kept) >= _KEPT:
            self.say(alike=alike)
            return
        short = shrunk(text, still_shows)
        if short in kept:
            self.say(alike=alike)
            return
        kept.add(short)
        where = wall = ""
        if server is not None:
            where = server.name
            wall = "stopped by the wall" if server.is_stopped_by_the_wall(short) else "not stopped by the wall"
        shown = short.decode(errors="backslashreplace")
        self.say(Finding(kind, shown, did, told, where, wall, self._seed, self._number), alike)


def _forwarded(text: bytes, known: Known) -> Judged | None:
    try:
        judged = judge(text, known)
    # What else it raises is a finding of its own once the loop comes to such a text.
    except Exception:
        return None
    return judged if judged.forwarded and not judged.controls_transactions else None


def _raises(text: bytes, known: Known, name: str) -> bool:
    try:
        judge(text, known)
    except DOCUMENTED:
        return False
    except Exception as error:
        return type(error).__name__ == name
    return False


def _is_slow(text: bytes, known: Known) -> bool:
    def spent() -> float:
        start = time.process_time()
        with contextlib.suppress(*DOCUMENTED):
            judge(text, known)
        return time.process_time() - start

    return min(spent() for _ in range(3)) > SLOW_S


def _contradicts(text: bytes) -> bool:
    judged = _forwarded(text, KNOWN_WITHOUT_A_DATABASE)
    return judged is not None and bool(contradictions(text, judged))
