"""The functions of the fuzz of the wire, on what hypothesis makes up: they find nothing, and would find something."""

from itertools import chain

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.fuzz import wire_fuzz
from tests.fuzz.wire_fuzz import SEEDS, pieces, target
from tests.play import message

from pgnotary.wire.frames import FrameCutter

_MESSAGES = st.builds(message, st.sampled_from("QPBEDCSHFXdcfpTZ12nsKR"), st.binary(max_size=20))
_PIECES = st.lists(st.one_of(_MESSAGES, st.binary(max_size=30)), max_size=8)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2), _PIECES)
def test_it_finds_nothing_in_what_is_made_up(kind: int, said: list[bytes]) -> None:
    target(bytes([kind]) + b"".join(bytes([len(each)]) + each for each in said))


@pytest.mark.parametrize("seed", SEEDS)
def test_it_finds_nothing_in_what_it_begins_with(seed: bytes) -> None:
    target(seed)


@given(st.binary(max_size=600))
@example(b"\xffab")
def test_pieces_lose_nothing_but_their_lengths(data: bytes) -> None:
    assert len(data) == sum(map(len, pieces(data))) + len(pieces(data))
    assert set(chain.from_iterable(pieces(data))) <= set(data)


def test_it_would_find_a_stream_that_depends_on_its_cuts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(FrameCutter):
        def feed(self, chunk: bytes):  # type: ignore[no-untyped-def]  # the real one's
            self._buffer.clear()
            return super().feed(chunk)

    monkeypatch.setattr(wire_fuzz, "frontend_frames", lambda cap: Forgetful({ord("S"): 100}, ValueError, cap))
    with pytest.raises(AssertionError, match="depends on where the network cut"):
        target(b"\0\2S\0\3\0\0\4")
