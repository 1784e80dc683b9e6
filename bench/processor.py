"""What a program has used so far: processor time and memory of a process with all that it started, from Linux's /proc.

https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

import contextlib
import os
import threading
import time
from bisect import bisect_left
from pathlib import Path
from typing import Self

__all__ = ["Meter", "processor_s", "resident_bytes", "tree"]

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_SAMPLE_S = 0.05


def tree(pid: int) -> list[int]:
    """Return a process and its living descendants."""
    found = [pid]
    for parent in found:
        # A process may end while we look.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def processor_s(pid: int) -> float:
    """Return the user and system time of a process, of its living descendants, and of those that it has waited for."""
    ticks = 0
    for each in tree(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # Its name, in parentheses, may have blanks in it. Then: utime, stime, cutime, cstime are fields 14 to 17.
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks * _TICK_S


def resident_bytes(pid: int) -> int:
    """Return the resident memory of that one process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES


class Meter:
    """Notes a program's processor time again and again while the `with` block lasts; without a `pid`, only the time."""

    def __init__(self, pid: int | None) -> None:
        self._pid = pid
        self._samples: list[tuple[float, float]] = []
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._leaving.set()
        self._thread.join()

    def between(self, start: float, end: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the first and the last sample between two times since the epoch, each its time and the seconds used.

        Raises ValueError if there are no two.
        """
        times = [at for at, _ in self._samples]
        first, last = bisect_left(times, start), bisect_left(times, end) - 1
        if first >= last:
            raise ValueError(f"no two samples in {end - start:.2f} s: let it run longer")
        return self._samples[first], self._samples[last]

    def _run(self) -> None:
        while not self._leaving.wait(_SAMPLE_S):
            self._samples.append((time.time(), 0.0 if self._pid is None else processor_s(self._pid)))
