"""What an approver's machine remembers: whole after whatever fails, for its owner alone, and nothing is lost of two."""

import multiprocessing
import os
import resource
import stat
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.approval.office import LEDGER, PROXY_SEED, SEEDS, VKEY, public_of

from pgnotary.approval.memory import Memory
from pgnotary.errors import BadCheckpoint, NotRemembered
from pgnotary.ledger import checkpoint as notes
from pgnotary.ledger.remembered import MAX_HEADS_BYTES, Remembered, heads_text, read_heads, remembered

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def head(size: int, origin: str = LEDGER, seed: bytes = PROXY_SEED) -> Remembered:
    note = notes.sign(notes.Checkpoint(origin, size, bytes([size % 251]) * 32), origin, seed)
    return remembered(note, notes.vkey(origin, public_of(seed)), NOON + timedelta(seconds=size))


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "state" / "heads", patience_s=0.2)


def remember(memory: Memory, *heads: Remembered) -> None:
    with memory.held():
        for each in heads:
            memory.remember(each)


def test_the_newest_head_of_each_ledger_and_key_is_kept_for_its_owner_alone(memory: Memory) -> None:
    assert memory.heads() == []
    others = [head(5, "other.example/ledger"), head(9, seed=SEEDS["mallory"])]
    remember(memory, head(3), *others, head(7))
    assert memory.heads() == [*others, head(7)]
    assert stat.S_IMODE(memory.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(memory.path.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in memory.path.parent.iterdir()) == ["heads", "heads.lock"]


def test_a_link_to_the_file_stays_a_link(memory: Memory, tmp_path: Path) -> None:
    remember(memory, head(3))
    (tmp_path / "link").symlink_to(memory.path)
    remember(Memory(tmp_path / "link"), head(7))
    assert (tmp_path / "link").is_symlink()
    assert memory.heads() == [head(7)]


def test_links_in_a_circle_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(NotRemembered, match="nothing was signed"):
        Memory(tmp_path / "a").heads()


GOOD = head(3).line.encode()
GARBAGE = {
    "rubbish": b"rubbish\n",
    "nothing on a line": b"\n",
    "not UTF-8": b"\xff\xfe\n",
    "cut in its last line": GOOD + head(4, "o.example").line.encode()[:-9],
    "without its end": GOOD[:-1],
    "another encoding": GOOD.replace(b'{"key"', b'{ "key"'),
    "another root": GOOD.replace(b"AwMD", b"BAQE"),
    "another size": GOOD.replace(b"\\n3\\n", b"\\n2\\n"),
    "another key": GOOD.replace(VKEY.encode(), notes.vkey(LEDGER, public_of(SEEDS["mallory"])).encode()),
    "no key": GOOD.replace(VKEY.encode(), b"x"),
    "no time": GOOD.replace(b"2026-11-26", b"2026-99-26"),
    "another format": GOOD.replace(b"head/1", b"head/9"),
    "one field more": GOOD.replace(b"{", b'{"a":1,'),
    "two of one ledger": GOOD + head(4).line.encode(),
    "endless": GOOD * (MAX_HEADS_BYTES // len(GOOD) + 2),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_refused_and_never_written_over(memory: Memory, name: str) -> None:
    memory.path.parent.mkdir()
    memory.path.write_bytes(GARBAGE[name])
    memory.path.chmod(0o600)
    with pytest.raises(BadCheckpoint, match="nothing was signed"):
        memory.heads()
    with pytest.raises(BadCheckpoint):
        remember(memory, head(9))
    assert memory.path.read_bytes() == GARBAGE[name]


def test_every_flipped_bit_of_the_file_is_found_or_says_another_time() -> None:
    text = head(3).line.encode()
    for at in range(len(text)):
        for bit in range(8):
            changed = bytearray(text)
            changed[at] ^= 1 << bit
            try:
                [found] = read_heads(bytes(changed))
            except BadCheckpoint:
                continue
            assert (found.key, found.note) == (VKEY, head(3).note)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_not_believed(memory: Memory, mode: int) -> None:
    remember(memory, head(3))
    memory.path.chmod(mode)
    with pytest.raises(BadCheckpoint, match=rf"others can write .*\(mode {mode:04o}\)"):
        memory.heads()


def test_who_waits_too_long_for_the_lock_is_told(memory: Memory) -> None:
    with memory.held(), pytest.raises(NotRemembered, match="another command has held its lock"), memory.held():
        raise AssertionError("two have the lock")


def _add(path: Path, numbers: range) -> None:
    """Remember heads of ledgers of one's own, and push a common one forward, as one command of many does."""
    memory = Memory(path)
    for n in numbers:
        with memory.held():
            common = [each.checkpoint.size for each in memory.heads() if each.checkpoint.origin == "common.example"]
            memory.remember(head(n, f"own-{n}.example"))
            memory.remember(head((common or [0])[0] + 1, "common.example"))


def test_of_many_commands_at_once_none_loses_what_another_has_seen(memory: Memory) -> None:
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=_add, args=(memory.path, range(at, at + 10))) for at in range(1, 41, 10)]
    for each in running:
        each.start()
    for each in running:
        each.join(60)
        assert each.exitcode == 0
    found = {each.checkpoint.origin: each.checkpoint.size for each in memory.heads()}
    assert found == {"common.example": 40, **{f"own-{n}.example": n for n in range(1, 41)}}


def _fill(path: Path, ready: Path) -> None:
    memory = Memory(path)
    with memory.held():
        for n in range(4, 10**9):
            memory.remember(head(n))
            ready.touch()


def test_a_command_that_is_killed_leaves_a_whole_file_and_no_lock(memory: Memory, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(10):
        running = context.Process(target=_fill, args=(memory.path, tmp_path / f"ready-{round_}"))
        running.start()
        while not (tmp_path / f"ready-{round_}").exists():
            time.sleep(0.001)
        time.sleep(round_ / 500)
        running.kill()
        running.join()
        [found] = memory.heads()
        assert found.checkpoint.size >= 4
        with memory.held():
            pass


def _on_a_full_disk(path: Path) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        remember(Memory(path), head(9))
    except NotRemembered as error:
        os._exit(7 if "cannot be written: File too large" in str(error) else 8)
    os._exit(0)


def test_on_a_full_disk_the_old_head_stays_and_the_failure_is_told(memory: Memory) -> None:
    remember(memory, head(3))
    running = multiprocessing.get_context("fork").Process(target=_on_a_full_disk, args=(memory.path,))
    running.start()
    running.join(30)
    assert running.exitcode == 7
    assert memory.heads() == [head(3)]
    assert sorted(path.name for path in memory.path.parent.iterdir()) == ["heads", "heads.lock"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotRemembered, match="nothing was signed"), Memory(tmp_path / "file" / "heads").held():
        raise AssertionError("a file is no folder")


def test_evidence_is_kept_once_for_the_same_heads(memory: Memory) -> None:
    remember(memory, head(3))
    path = memory.keep_evidence(b"first", "a", "b")
    assert memory.keep_evidence(b"second", "a", "b") == path
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert memory.keep_evidence(b"third", "a", "c") != path


def test_files_of_several_machines_can_be_joined() -> None:
    heads = [head(3), head(9), head(3)]
    assert read_heads(heads_text(heads).encode()) == heads
    assert read_heads(b"") == []


def test_a_head_is_synced_before_it_takes_its_place_and_its_place_afterwards(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(memory, head(3))
    done: list[str] = []
    sync, move = os.fsync, os.replace

    def fsync(file: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
        sync(file)

    def replace(old: str, new: Path) -> None:
        assert read_heads(Path(old).read_bytes()) == [head(9)]
        done.append("place")
        move(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    remember(memory, head(9))
    assert done == ["file", "place", "folder"]
