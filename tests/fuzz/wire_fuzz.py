"""The fuzz of the wire: bytes go through framing, start-up and the session core, in pieces that they choose themselves.

Coverage guides what bytes come next. A crash is whatever is raised that is no error of ours, a stream that depends on
where it was cut, an answer that is no message, or a word after the end; a hang is one input that takes 30 seconds.

    python -m tests.fuzz.wire_fuzz --seconds 600 [--corpus FOLDER] [--seed N]

Needs atheris: pip install --require-hashes -r tests/fuzz/requirements.txt (Linux on x86-64, CPython 3.11). The same
functions run without it, on what hypothesis makes up, in test_wire_fuzz.py.
"""

import argparse
import importlib
import inspect
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from tests.play import Play

from pgnotary.errors import PgnotaryError
from pgnotary.session import events
from pgnotary.wire import messages
from pgnotary.wire.frames import FrameCutter, backend_frames, frontend_frames
from pgnotary.wire.startup import encode_cancel, encode_startup, parse_packet, startup_length

__all__ = ["SEEDS", "pieces", "target"]

_HANG_S = 30
_MAX_BYTES = 4_096
_CAP = 1 << 20
_WAIT = messages.query(b"delete from t")


def target(data: bytes) -> None:
    """Do with the bytes what their first one says; raises AssertionError, or whatever it found."""
    if data:
        (_framing, _starting, _conversing)[data[0] % 3](data[1:])


def pieces(data: bytes) -> list[bytes]:
    """Cut bytes where they say: each piece begins with its length in one byte."""
    found, rest = [], data
    while rest:
        length, rest = rest[0], rest[1:]
        found.append(rest[:length])
        rest = rest[length:]
    return found


def _framing(data: bytes) -> None:
    cuts = pieces(data)
    makers: tuple[Callable[[], FrameCutter], ...] = (
        lambda: frontend_frames(_CAP),
        lambda: backend_frames(runs=False),
        lambda: backend_frames(runs=True),
    )
    for make in makers:
        whole, pieced = _cut(make(), [b"".join(cuts)]), _cut(make(), cuts)
        assert whole == pieced, "what is cut out depends on where the network cut"


def _cut(cutter: FrameCutter, chunks: list[bytes]) -> tuple[bytes, str, int]:
    """Return all that came out, the fault that ended it, and what still waits."""
    found = bytearray()
    try:
        for chunk in chunks:
            for frame in cutter.feed(chunk):
                assert frame.raw == b"".join(frame.type + _word(body) + body for body in frame.bodies())
                found += frame.raw
    except PgnotaryError as error:
        return bytes(found), str(error), 0
    return bytes(found), "", cutter.pending_bytes


def _word(body: bytes) -> bytes:
    return (len(body) + 4).to_bytes(4, "big")


def _starting(data: bytes) -> None:
    try:
        length = startup_length(data[:4].ljust(4, b"\0"))
        parse_packet(data[:length])
    except PgnotaryError:
        return


def _conversing(data: bytes) -> None:
    """Let client and server say pieces in turns; what they are is for the first byte of each to say."""
    with Play() as play:
        for piece in pieces(data):
            if play.session.closed:
                break
            who, said = piece[:1], piece[1:]
            match (who[0] if who else 0) % 8:
                case 0:
                    play.receive(events.UpstreamBytes(said))
                case 1:
                    play.receive(events.ClientGone())
                case 2:
                    play.receive(events.CancelRequested())
                case 3:
                    play.clock += 1_000
                    play.receive(events.Tick())
                case _:
                    play.receive(events.ClientBytes(said))
            play.run()
        play.receive(events.ClientGone())
        play.run()
        play.unread.clear()


def _conversation(*said: bytes) -> bytes:
    return b"\2" + b"".join(bytes([len(each) + 1, 4]) + each for each in said)


_RUN = messages.parse(b"s", b"select 1") + messages.bind(b"p", b"s") + b"E\0\0\0\12p\0\0\0\0\0"
SEEDS = (
    b"\0" + bytes([len(_WAIT)]) + _WAIT,
    b"\0\x12" + b"D\0\0\0\x06\0\0" * 2 + b"Z\0\0\0",
    b"\1" + encode_startup({"user": "eva", "database": "shop"}),
    b"\1" + encode_cancel(4711, b"1234"),
    _conversation(_WAIT, messages.TERMINATE),
    _conversation(_RUN + messages.SYNC, messages.query(b"begin"), _RUN + messages.FLUSH, messages.SYNC),
    _conversation(messages.query(b"select 1; delete from t"), messages.query(b"rollback")),
    _conversation(b"C\0\0\0\7Ss\0", b"D\0\0\0\7Pp\0", b"d\0\0\0\5x", b"c\0\0\0\4", b"F\0\0\0\4"),
)
"""Inputs to begin with: one of each kind."""


def _instrumented() -> Iterator[FunctionType]:
    """Yield the functions whose branches guide the fuzz."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("pgnotary.wire.", "pgnotary.session.")):
            owners = [module, *(each for each in vars(module).values() if inspect.isclass(each))]
            for owner in owners:
                for each in vars(owner).values():
                    if isinstance(each, FunctionType) and each.__module__ == name:
                        yield each


def main() -> int:
    """Fuzz for the time that was asked for; 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, help="a folder for what leads to new places; a new one unless told")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        atheris: Any = importlib.import_module("atheris")
    except ImportError:
        print("not run: atheris is not at hand; pip install --require-hashes -r tests/fuzz/requirements.txt")
        return 2
    corpus = options.corpus or Path(tempfile.mkdtemp(prefix="wire-fuzz-"))
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    for function in _instrumented():
        atheris.instrument_func(function)
    arguments = (f"-max_total_time={options.seconds}", f"-timeout={_HANG_S}", f"-max_len={_MAX_BYTES}")
    atheris.Setup([sys.argv[0], *arguments, f"-seed={options.seed}", f"{corpus}"], target)
    atheris.Fuzz()  # Ends the process, with a status of its own if something was found.
    return 0


if __name__ == "__main__":
    sys.exit(main())
