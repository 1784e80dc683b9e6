"""An exported folder as a ledger: the files that `pgnotary.audit.export` writes enter, entries and a checkpoint leave.

Nothing is believed: bytes are handed on as they stand, for the verifier to judge. A value in `opened.jsonl` belongs to
the entry whose leaf hash it names; one that names no entry, or cannot be read, is a fault of the folder. So is each
file of evidence that is not what the entries say, or that no entry answers for. Only the places of the values are kept
in memory, and the names of the files.
"""

import errno
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from hashlib import file_digest, sha256
from importlib import resources
from pathlib import Path
from typing import TypeAlias

from pgnotary.audit.evidence import DECISIONS, ROSTER, ROSTERS, WITHDRAWALS, Evidence, File
from pgnotary.errors import ConfigError, LedgerBroken, NotCanonical
from pgnotary.ledger.base import Base, read_base
from pgnotary.ledger.canonical import MAX_ENTRY_BYTES, b64, decode, encode, unb64
from pgnotary.ledger.tree import leaf_hash
from pgnotary.store import StoredEntry

__all__ = [
    "BASE",
    "CHECKPOINT",
    "ENTRIES",
    "KEY",
    "OPENED",
    "VERIFIER",
    "FolderReader",
    "file_sha256",
    "opened_line",
    "shipped_verifier",
]

ENTRIES, OPENED, CHECKPOINT = "entries.jsonl", "opened.jsonl", "checkpoint.txt"
KEY = "proxy.vkey"
BASE = "base.json"
VERIFIER = "verify.py"

# A roster, and of each open session what it was opened with: nobody has so many.
_MAX_BASE = 64 * 1024 * 1024

# The longest message of the wire protocol is 1 GiB; a statement of more than this in base64 is not ours.
_MAX_OPENED_LINE = 64 * 1024 * 1024

_LEAF = re.compile(r"[0-9a-f]{64}")

_Opened: TypeAlias = tuple[bytes, str, bytes, bytes]
"""Leaf, name, salt, value."""


class FolderReader:
    """A `LedgerReader` over an exported folder; raises ConfigError if `path` is none."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        for name in (ENTRIES, CHECKPOINT):
            if not (self._path / name).is_file():
                raise ConfigError(f"{self._path} is not an exported ledger: it has no {name}")

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._path

    def base(self) -> Base | None:
        """Return what stands for entries that are archived elsewhere; None if none are. Raises LedgerBroken."""
        try:
            with _file(self._path / BASE) as file:
                return read_base(file.read(_MAX_BASE))
        except FileNotFoundError:
            return None
        except (OSError, NotCanonical) as error:
            raise LedgerBroken([f"{BASE} cannot be read: {error}"]) from error

    def entries(self) -> Iterator[StoredEntry]:
        """Yield every entry in order, with those of its values that are not withheld."""
        where, _ = self._places()
        opened_path = self._path / OPENED
        with (self._path / ENTRIES).open("rb") as file, _opened_file(opened_path) as opened:
            while line := file.readline(MAX_ENTRY_BYTES + 2):
                raw = line.removesuffix(b"\n")
                values = [_read(opened, place) for place in where.get(leaf_hash(raw), ())]
                yield StoredEntry(raw, {name: (salt, value) for _, name, salt, value in values})

    def checkpoints(self) -> Iterator[str]:
        """Yield the one checkpoint that an export holds."""
        yield _text(self._path / CHECKPOINT)

    def vkey(self) -> str:
        """Return the proxy's key that came with the export: as good as who handed it over."""
        return _text(self._path / KEY).removesuffix("\n")

    def key_faults(self, vkey: str) -> Iterator[str]:
        """Yield a fault if the key that came with the export is not the one that it is verified with."""
        try:
            if self.vkey() != vkey:
                yield f"{KEY} holds another key than the one that this is verified with"
        except FileNotFoundError:
            yield f"{KEY} is missing: it holds the key that this is verified with"
        except LedgerBroken as broken:
            yield from broken.faults

    def index_faults(self) -> Iterator[str]:
        """Yield a fault for each file of evidence, and each line of `opened.jsonl`, that no entry answers for."""
        where, faults = self._places()
        evidence = Evidence(self.base())
        expected: set[str] = set()
        with (self._path / ENTRIES).open("rb") as file:
            while line := file.readline(MAX_ENTRY_BYTES + 2):
                raw = line.removesuffix(b"\n")
                where.pop(leaf_hash(raw), None)
                for each in evidence.take(raw):
                    expected.add(each.name)
                    yield from self._compared(each)
        for each in evidence.last():
            expected.add(each.name)
            yield from self._compared(each)
        for name in self._names():
            if name not in expected:
                yield f"{name!r:.80} is in the folder, but no entry says so"
        yield from faults
        for leaf in where:
            yield f"{OPENED} has a value for an entry with leaf {leaf.hex()[:8]}, which is not in {ENTRIES}"

    def notes(self) -> Iterator[str]:
        """Yield what is worth knowing of the folder and no fault: its verifier is not ours, or of another version."""
        ours = shipped_verifier()
        try:
            with _file(self._path / VERIFIER) as file:
                found = file.read(len(ours) + 1)
        except FileNotFoundError:
            # Exports had none at first, and nobody needs the one that comes with the evidence.
            return
        except OSError as error:
            yield f"{VERIFIER} cannot be read: {error.strerror}"
            return
        if found != ours:
            yield f"{VERIFIER} is another one than this pgnotary writes: take one from a source of your own"

    def _compared(self, expected: File) -> Iterator[str]:
        try:
            with _file(self._path / expected.name) as file:
                # One byte more than it may have tells as much as all of them.
                found = file.read(len(expected.content) + 1)
        except FileNotFoundError:
            yield f"{expected.name} is missing: entry #{expected.place} says what is in it"
        except OSError as error:
            yield f"{expected.name} cannot be read: {error.strerror}"
        else:
            if found != expected.content:
                yield f"{expected.name} is not what entry #{expected.place} says: the file was changed"

    def _names(self) -> Iterator[str]:
        """Yield the names of all files that stand where evidence does."""
        if (self._path / ROSTER).exists():
            yield ROSTER
        for folder in (DECISIONS, ROSTERS, WITHDRAWALS):
            for path in sorted((self._path / folder).rglob("*")):
                if not path.is_dir() or path.is_symlink():
                    yield path.relative_to(self._path).as_posix()

    def _places(self) -> tuple[dict[bytes, list[int]], list[str]]:
        """Return where in `opened.jsonl` each leaf's values begin, and a fault for each line that has no place."""
        where: dict[bytes, list[int]] = defaultdict(list)
        faults: list[str] = []
        seen: set[tuple[bytes, str]] = set()
        with _opened_file(self._path / OPENED) as file:
            at, number = 0, 0
            while line := file.readline(_MAX_OPENED_LINE):
                number += 1
                try:
                    leaf, name, _, _ = _parse(line)
                    if (leaf, name) in seen:
                        raise NotCanonical(f"another value for {name} of the same entry")
                except NotCanonical as error:
                    faults.append(f"{OPENED} line {number} cannot be used: {error}")
                else:
                    seen.add((leaf, name))
                    where[leaf].append(at)
                at += len(line)
        return where, faults


def shipped_verifier() -> bytes:
    """Return the file that an export holds as `verify.py`."""
    return resources.files("pgnotary.audit").joinpath("standalone.py").read_bytes()


def opened_line(leaf: bytes, name: str, salt: bytes, value: bytes) -> bytes:
    """Return a value as a line of `opened.jsonl`."""
    return encode({"leaf": leaf.hex(), "name": name, "salt": b64(salt), "value": b64(value)}) + b"\n"


def file_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file; of one that is not there, as if it were empty."""
    try:
        with _file(path) as file:
            return file_digest(file, "sha256").digest()
    except FileNotFoundError:
        return sha256().digest()


def _parse(line: bytes) -> _Opened:
    """Read a line of `opened.jsonl`; raises NotCanonical."""
    fields = decode(line.removesuffix(b"\n"))
    if fields.keys() != {"leaf", "name", "salt", "value"}:
        raise NotCanonical(f"expected leaf, name, salt and value, found {', '.join(sorted(fields))}")
    leaf, name, salt, value = (fields[key] for key in ("leaf", "name", "salt", "value"))
    if not (isinstance(leaf, str) and isinstance(name, str) and isinstance(salt, str) and isinstance(value, str)):
        raise NotCanonical("a field that is not a string")
    if not _LEAF.fullmatch(leaf):
        raise NotCanonical("the leaf is not 64 hexadecimal digits")
    return bytes.fromhex(leaf), name, unb64(salt), unb64(value)


def _read(file: io.BufferedIOBase, at: int) -> _Opened:
    file.seek(at)
    return _parse(file.readline(_MAX_OPENED_LINE))


def _file(path: Path) -> io.BufferedIOBase:
    """Open a file that came with the folder; what a FIFO or a device holds might come later, or never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "is no regular file", str(path))
    return path.open("rb")


def _opened_file(path: Path) -> io.BufferedIOBase:
    # All values may have been withheld.
    try:
        return _file(path) if path.exists() else io.BytesIO()
    except OSError as error:
        raise LedgerBroken([f"{path.name} cannot be read: {error.strerror}"]) from error


def _text(path: Path) -> str:
    try:
        with _file(path) as file:
            return file.read().decode()
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise LedgerBroken([f"{path.name} cannot be read: {error}"]) from error
