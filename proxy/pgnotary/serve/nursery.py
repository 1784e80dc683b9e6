"""A nursery of readers: a process that has loaded the judge once, and forks a process for each text that is read.

Sockets enter, lent by the proxy; on each of them a reader takes one text, answers with the parts of its Statement and
dies. No reader reads two texts, so nothing that a text does to its reader can change how the next one is read. None
outlives its limits, and none outlives the proxy: the kernel ends a reading that takes too long, and the nursery ends
its readers and itself when the proxy's end of its control socket closes.

It is forked from the proxy, not started anew: a proxy that has given up its rights may not be able to read a program's
files again. That has to happen before the proxy has threads, an event loop, or keys in its memory.

The control socket carries one byte for each move: the number of a slot, with a socket for a new reader in it, or
without one for the end of the reader in it. On a lent socket a text and its answer have their length in front.
"""

import faulthandler
import gc
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NoReturn

import msgspec

from pgnotary.judge.reading import read
from pgnotary.judge.second import TIMED, bounds
from pgnotary.judge.statement import Statement

__all__ = ["LENGTH_BYTES", "MAX_ANSWER_BYTES", "Limits", "Nursery", "Read", "read_with_time"]

LENGTH_BYTES = 4

# What the proxy decodes on its loop, some milliseconds. Trees are left out before anything else is.
MAX_ANSWER_BYTES = 262_144

Read = Callable[[bytes], Statement]
"""What a reader does with its text."""

_READY = b"."
_CONTROL_FD = 3
_MAX_FD = 1 << 20
_NICENESS = 5

_START_S = 10.0

# Two seconds in all, then the nursery is stopped or stuck.
_LOOK_S = 0.002
_LOOKS = 1_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What one reader may take; a text that needs more is held unread."""

    processor_s: float = 0.25
    """Processor time from when it has its text, so that a busy machine changes no verdict."""
    wall_s: float = 3.0
    """All its life."""
    memory_bytes: int = 512 << 20
    """All that it maps, with the 100 MB that it is born with."""


def read_with_time(text: bytes) -> Statement:
    """Read a text in a process that is ended if it takes too long: nests are read that nobody else may try."""
    bounds.set(TIMED)
    return read(text)


class Nursery:
    """The nursery's process as the proxy sees it; closed once."""

    def __init__(self, limits: Limits, read: Read) -> None:
        """Fork, and wait until it is ready; raises ChildProcessError if it does not start."""
        self._control, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            _be_nursery(theirs, limits, read)
        theirs.close()
        self._control.settimeout(_START_S)
        try:
            if not self._control.recv(1):
                raise EOFError
        except (OSError, EOFError) as error:
            self.close()
            raise ChildProcessError("the nursery of readers did not start") from error
        # Lent sockets are few and a move is one byte: no send of ours ever has to wait.
        self._control.settimeout(0)

    def lend(self, slot: int, lent: socket.socket) -> None:
        """Let a reader be born in a slot, with its end of a socket; raises OSError if the nursery is gone."""
        socket.send_fds(self._control, [bytes([slot])], [lent.fileno()])

    def end(self, slot: int) -> None:
        """End the reader in a slot, if it still lives."""
        # A nursery that is gone has no slots; its readers end by their own timers.
        with suppress(OSError):
            self._control.send(bytes([slot]))

    def close(self) -> None:
        """End the nursery and its readers, and wait until they are gone."""
        self._control.close()
        for _ in range(_LOOKS):
            if os.waitpid(self.pid, os.WNOHANG) != (0, 0):
                return
            time.sleep(_LOOK_S)
        _end(self.pid)


# --- the nursery's process --------------------------------------------------------------------------------------------


def _be_nursery(control: socket.socket, limits: Limits, read: Read) -> NoReturn:
    status = 1
    try:
        # The proxy's objects are left as they are, and a reader does not live long enough to have garbage.
        gc.disable()
        control = _leave_the_proxy(control)
        _serve(control, limits, read)
        status = 0
    finally:
        os._exit(status)


def _leave_the_proxy(control: socket.socket) -> socket.socket:
    """Let go of all that the proxy has open, of its terminal and of its signals."""
    # It would write into whatever comes to have its number.
    faulthandler.disable()
    signal.set_wakeup_fd(-1)
    # They are meant for the proxy, which may need readers until it has stopped.
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    for name in (signal.SIGCHLD, signal.SIGALRM, signal.SIGPROF):
        signal.signal(name, signal.SIG_DFL)
    # The event loop goes first.
    os.nice(_NICENESS)
    kept = os.dup(control.detach())
    # A library that complains would print the text.
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.dup2(kept, _CONTROL_FD)
    most = os.sysconf("SC_OPEN_MAX")
    os.closerange(_CONTROL_FD + 1, most if 0 < most < _MAX_FD else _MAX_FD)
    return socket.socket(fileno=_CONTROL_FD)


def _serve(control: socket.socket, limits: Limits, read: Read) -> None:
    readers: dict[int, int] = {}
    control.send(_READY)
    try:
        while True:
            move, lent, _, _ = socket.recv_fds(control, 1, 1)
            if not move:
                return
            slot = move[0]
            if slot in readers:
                _end(readers.pop(slot))
            for fd in lent:
                # No process for it: the proxy finds its socket closed.
                with suppress(OSError):
                    readers[slot] = _bear(control, fd, limits, read)
                os.close(fd)
    finally:
        for pid in readers.values():
            _end(pid)


def _end(pid: int) -> None:
    # Nobody else waits for it, so that the number is still its own.
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _bear(control: socket.socket, lent: int, limits: Limits, read: Read) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            control.close()
            _be_reader(lent, limits, read)
        finally:
            os._exit(1)
    return pid


# --- a reader's process -----------------------------------------------------------------------------------------------


def _be_reader(lent: int, limits: Limits, read: Read) -> None:
    # A core file would hold the text. macOS has no limit of memory.
    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_AS, limits.memory_bytes)):
        with suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))
    # Neither timer has a handler: the kernel ends us, wherever we are.
    signal.setitimer(signal.ITIMER_REAL, limits.wall_s)
    with socket.socket(fileno=lent) as proxy:
        text = _receive(proxy, int.from_bytes(_receive(proxy, LENGTH_BYTES)))
        signal.setitimer(signal.ITIMER_PROF, limits.processor_s)
        answer = _answer(read(text))
        proxy.sendall(len(answer).to_bytes(LENGTH_BYTES) + answer)


def _receive(proxy: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = proxy.recv(size - len(received))
        if not chunk:
            raise EOFError("the proxy has hung up")
        received += chunk
    return bytes(received)


def _answer(statement: Statement) -> bytes:
    encoded = msgspec.msgpack.encode(statement.parts)
    if len(encoded) <= MAX_ANSWER_BYTES:
        return encoded
    return msgspec.msgpack.encode([replace(part, tree=b"") for part in statement.parts])
