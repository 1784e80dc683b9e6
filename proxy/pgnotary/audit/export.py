"""A ledger as a folder that anybody can check by hand, and its requests as a table.

A reader and a key enter, files leave: exact entry bytes, the values that are not withheld, the newest checkpoint, the
rosters, and each decision as the exact bytes that were signed beside the armored signature. Nothing is judged: a broken
ledger is exported as it is, because then the export is the evidence. An existing folder is never written into.

    entries.jsonl      one entry a line, byte for byte; entry #0 is the first line
    opened.jsonl       one value a line: leaf of its entry, name, salt, value
    checkpoint.txt     the newest checkpoint: a signed note over all of entries.jsonl
    proxy.vkey         the key that must have signed it
    allowed_signers    the roster in force at the end; rosters/N is the one that entry #N put in force
    decisions/R-17.json, decisions/R-17.json.sig
    README.txt         how to check all this with a shell, sha256sum and ssh-keygen
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from pgnotary.audit.check import settled
from pgnotary.audit.folder import CHECKPOINT, ENTRIES, KEY, OPENED, ROSTER, opened_line
from pgnotary.audit.story import Story
from pgnotary.errors import ConfigError, DecisionRefused, NotCanonical
from pgnotary.ledger.canonical import timestamp
from pgnotary.ledger.entries import Entry, EntryType, parse_entry
from pgnotary.ledger.tree import leaf_hash
from pgnotary.store import LedgerReader, StoredEntry
from pgnotary.verify.signed import signed

__all__ = ["COLUMNS", "Exported", "export_folder", "table"]

COLUMNS = (
    "id", "time", "user", "database", "kind", "relations", "statement", "estimate", "exact", "decision", "approver",
    "decided_at", "max_rows", "result", "rows", "xid",
)  # fmt: skip

# The ids that a proxy gives: nothing that could lead out of the folder.
_REQUEST = re.compile(r"R-[0-9]{1,15}")

# What a spreadsheet may take for a formula (OWASP, "CSV Injection"), also behind spaces that it drops.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


@dataclass(frozen=True, slots=True)
class Exported:
    """How much was written."""

    entries: int
    opened: int
    withheld: int
    """Values that were there and were left out."""
    decisions: int


def export_folder(reader: LedgerReader, folder: Path, vkey: str, withhold: Sequence[str] = ()) -> Exported:
    """Write a ledger into a new folder; raises ConfigError if it exists and is not empty.

    Sealed values whose name matches one of `withhold` are left out (`t*` stands for t1, t2 and so on).
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already: name a new folder")
    (folder / "decisions").mkdir(parents=True, exist_ok=True)
    stored, checkpoint = settled(reader)
    exporter = _Exporter(folder, withhold)
    with (folder / ENTRIES).open("wb") as entries, (folder / OPENED).open("wb") as opened:
        for each in stored:
            entries.write(each.raw + b"\n")
            opened.writelines(exporter.disclosed(each))
            exporter.take(each.raw)
    _write(folder / CHECKPOINT, checkpoint)
    _write(folder / KEY, vkey + "\n")
    _write(folder / "README.txt", README)
    return Exported(exporter.entries, exporter.opened, exporter.withheld, exporter.decisions)


def table(told: Iterable[Story], withhold: Sequence[str] = ()) -> Iterator[list[str]]:
    """Yield COLUMNS and then one row a request, without what matches `withhold`; no cell begins like a formula."""
    yield list(COLUMNS)
    for story in told:
        shown = replace(story, statement=None) if _is_withheld("statement", withhold) else story
        yield [_cell(value) for value in _values(shown)]


class _Exporter:
    """Takes entries one by one and writes what does not go into the two long files."""

    def __init__(self, folder: Path, withhold: Sequence[str]) -> None:
        self._folder = folder
        self._withhold = withhold
        self.entries = self.opened = self.withheld = self.decisions = 0

    def disclosed(self, stored: StoredEntry) -> Iterator[bytes]:
        """Yield the lines for an entry's values that are not withheld."""
        leaf = leaf_hash(stored.raw)
        for name, (salt, value) in stored.opened.items():
            if _is_withheld(name, self._withhold):
                self.withheld += 1
            else:
                self.opened += 1
                yield opened_line(leaf, name, salt, value)

    def take(self, raw: bytes) -> None:
        """Write a decision or a roster into its file."""
        self.entries += 1
        try:
            entry = parse_entry(raw)
        except NotCanonical:
            # It is in entries.jsonl, where `verify` will name it.
            return
        if entry.type is EntryType.DECISION:
            self._decision(entry)
        elif entry.type is EntryType.ROSTER:
            text = str(entry.body.get("allowed_signers", ""))
            _write(self._folder / ROSTER, text)
            (self._folder / "rosters").mkdir(exist_ok=True)
            _write(self._folder / "rosters" / str(self.entries - 1), text)

    def _decision(self, entry: Entry) -> None:
        name = entry.request or ""
        try:
            document, signature = signed(entry)
        except DecisionRefused:
            return
        path = self._folder / "decisions" / f"{name}.json"
        # A second decision of the same request is a fault; the first one's evidence stays.
        if _REQUEST.fullmatch(name) and not path.exists():
            path.write_bytes(document.raw)
            _write(path.with_name(f"{name}.json.sig"), signature)
            self.decisions += 1


def _is_withheld(name: str, withhold: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in withhold)


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode())


def _values(story: Story) -> list[str | int | None]:
    preview, decision = story.preview, story.decision
    return [
        story.request,
        timestamp(story.asked_at),
        story.user,
        story.database,
        story.kind,
        ", ".join(story.relations),
        story.statement,
        preview.estimate if preview else None,
        preview.exact if preview else None,
        decision.answer if decision else None,
        decision.approver if decision else None,
        timestamp(decision.at) if decision else None,
        decision.max_rows if decision else None,
        story.state.value,
        story.rows,
        story.xid,
    ]


def _cell(value: str | int | None) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    return f"'{value}" if _FORMULA.match(value) else value


README = """\
An exported ledger, and how to check it without the program that wrote it.
Run the commands in this folder. They need a POSIX shell, sed, sha256sum and ssh-keygen (OpenSSH 8.1 or newer).

1. One entry's leaf hash is SHA-256 over a zero byte and the entry's line without its newline. Entry #0 is line 1:

    sed -n 1p entries.jsonl | tr -d '\\n' >line
    printf '\\0' | cat - line | sha256sum

   The next entry has this hash as its "prev". The first entry's "prev" is 64 zeros.

2. The whole chain, entry by entry; it prints nothing but the hash of the last one:

    prev=$(printf '%064d' 0)
    while IFS= read -r line; do
        case $line in *'"prev":"'"$prev"'"'*) ;; *) echo "the chain breaks before: $line"; break ;; esac
        prev=$({ printf '\\0'; printf %s "$line"; } | sha256sum | cut -d ' ' -f 1)
    done <entries.jsonl
    echo "$prev"

3. A decision is the file that its approver signed, byte for byte. For each of them:

    for file in decisions/*.json; do
        person=$(sed 's/.*"approver":"\\([^"]*\\)".*/\\1/' "$file")
        ssh-keygen -Y verify -f allowed_signers -I "$person" -n decision@pgnotary -s "$file.sig" <"$file"
    done

   allowed_signers is the roster in force at the end. If somebody left since then, use the file in rosters/ with the
   highest number below that of the decision's entry, and add -O verify-time=YYYYMMDDHHMMSSZ.
   In the file, "request_leaf" and "preview_leaf" are leaf hashes as in step 1: what was asked and what was shown.

4. A line of opened.jsonl is a value that its entry only commits to: the entry with that leaf has, under "seals" and the
   value's name, the base64 of SHA-256 over the line "pgnotary/seal/0" and its newline, the name, a zero byte, the salt
   and the value. Values that are not in the file were withheld or erased; the chain does not need them.

5. checkpoint.txt is a signed note (https://c2sp.org/tlog-checkpoint) over the Merkle tree (RFC 6962) of all leaf
   hashes; proxy.vkey is the key it is signed with. A key that comes with the evidence proves little: compare it with
   the one that you know, and compare the checkpoint with those that approvers and auditors have seen before.

With pgnotary installed, all of this and more:  pgnotary verify . --key proxy.vkey
"""
