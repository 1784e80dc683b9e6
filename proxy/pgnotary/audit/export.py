"""A ledger as a folder that anybody can check by hand.

A reader and a key enter, files leave: exact entry bytes, the values that are not withheld, the newest checkpoint, the
rosters, and each decision and withdrawal as the exact bytes that were signed beside the armored signature. Nothing is
judged: a broken ledger is exported as it is, because then the export is the evidence. An existing folder is never
written into.

    entries.jsonl      one entry a line, byte for byte; entry #0 is the first line
    opened.jsonl       one value a line: leaf of its entry, name, salt, value
    checkpoint.txt     the newest checkpoint: a signed note over all of entries.jsonl
    proxy.vkey         the key that must have signed it
    base.json          only if the first entries are archived: what stands for them (docs/ledger-format.md)
    allowed_signers, rosters/, decisions/, withdrawals/   what follows from the entries: see `pgnotary.audit.evidence`
    README.txt         how to check all this with a shell, sha256sum and ssh-keygen
    verify.py          a second verifier, `pgnotary.audit.standalone`, that needs Python and nothing else
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgnotary.audit.check import settled
from pgnotary.audit.evidence import DECISIONS, ROSTERS, WITHDRAWALS, Evidence
from pgnotary.audit.folder import BASE, CHECKPOINT, ENTRIES, KEY, OPENED, VERIFIER, opened_line, shipped_verifier
from pgnotary.audit.veil import Veil
from pgnotary.audit.withheld import Disclosure
from pgnotary.errors import ConfigError, NotCanonical
from pgnotary.ledger.entries import parse_entry
from pgnotary.ledger.tree import leaf_hash
from pgnotary.store import LedgerReader, StoredEntry, base_of

__all__ = ["Exported", "export_folder"]


@dataclass(frozen=True, slots=True)
class Exported:
    """How much was written."""

    entries: int
    opened: int
    withheld: int
    """Values that were there and were left out."""
    secret: int
    """How many of those were left out because they hold a secret."""
    decisions: int


def export_folder(
    reader: LedgerReader,
    folder: Path,
    vkey: str,
    withhold: Sequence[str] = (),
    *,
    disclose: Sequence[str] = (),
    secrets: bool = False,
) -> Exported:
    """Write a ledger into a new folder; raises ConfigError if it exists and is not empty.

    Sealed values whose name matches one of `withhold` are left out (`t*` stands for t1, t2 and so on), and if there is
    any `disclose`, all that match none of it; ConfigError if one of them can match nothing. So are those that hold
    secrets, unless `secrets`: evidence is whole or absent.
    """
    disclosure = Disclosure(tuple(withhold), tuple(disclose))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is there already: name a new folder")
    for name in (DECISIONS, ROSTERS, WITHDRAWALS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    base = base_of(reader)
    stored, checkpoint = settled(reader)
    evidence, values = Evidence(base), _Values(disclosure, secrets=secrets)
    with (folder / ENTRIES).open("wb") as entries, (folder / OPENED).open("wb") as opened:
        for each in stored:
            entries.write(each.raw + b"\n")
            opened.writelines(values.lines(each))
            for file in evidence.take(each.raw):
                (folder / file.name).write_bytes(file.content)
    if base is not None:
        (folder / BASE).write_bytes(base.raw)
    for file in evidence.last():
        (folder / file.name).write_bytes(file.content)
    for name, text in ((CHECKPOINT, checkpoint), (KEY, vkey + "\n"), ("README.txt", README)):
        (folder / name).write_bytes(text.encode())
    (folder / VERIFIER).write_bytes(shipped_verifier())
    return Exported(evidence.entries, values.opened, values.withheld, values.secret, evidence.decisions)


class _Values:
    """Takes entries one by one and gives the lines for their values that are not withheld."""

    def __init__(self, disclosure: Disclosure, *, secrets: bool) -> None:
        self._disclosure = disclosure
        self._veil = None if secrets else Veil()
        self.opened = self.withheld = self.secret = 0

    def lines(self, stored: StoredEntry) -> Iterator[bytes]:
        """Yield a line for each value."""
        leaf = leaf_hash(stored.raw)
        told = self._veil.values(_request_of(stored.raw), stored.opened) if self._veil else stored.opened
        for name, (salt, value) in stored.opened.items():
            if not self._disclosure.gives(name):
                self.withheld += 1
            elif told[name][1] != value:
                self.withheld += 1
                self.secret += 1
            else:
                self.opened += 1
                yield opened_line(leaf, name, salt, value)


def _request_of(raw: bytes) -> str | None:
    try:
        return parse_entry(raw).request
    except NotCanonical:
        # Broken ones are exported too.
        return None


README = """\
An exported ledger, and how to check it without the program that wrote it.
Run the commands in this folder. They need a POSIX shell, sed, sha256sum and ssh-keygen (OpenSSH 8.1 or newer).

If there is a base.json here, the first entries of the ledger are in an archive: base.json says which entry is line 1
("size") and what its "prev" is, and `pgnotary verify . --archive FOLDER` takes both together.

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
   A file in withdrawals/ is the call by which who asked took a request back, signed in the namespace request@pgnotary
   by the "person" of the entry that ends it: its "target" names the request, its "proxy" is the line in proxy.vkey.

4. A line of opened.jsonl is a value that its entry only commits to: the entry with that leaf has, under "seals" and the
   value's name, the base64 of SHA-256 over the line "pgnotary/seal/1" and its newline, the name, a zero byte, the salt
   and the value. Values that are not in the file were withheld, e.g. because they hold a secret, or redacted; the
   chain does not need them. An entry of type "redacted" names what was erased ("values"), why and by whom; its
   "document" is what that person has signed, in the namespace redaction@pgnotary, and "signature" the signature.

5. checkpoint.txt is a signed note (https://c2sp.org/tlog-checkpoint) over the Merkle tree (RFC 6962) of all leaf
   hashes; proxy.vkey is the key it is signed with. A key that comes with the evidence proves little: compare it with
   the one that you know, and compare the checkpoint with those that approvers and auditors have seen before.

All of this and more does verify.py, which needs Python 3.11 and nothing else. It was written from the format's
description and shares no code with pgnotary. Who can change this folder can change that file too: take it, like the key
and the roster, from a source of your own.

  python3 /from/elsewhere/verify.py . --key /from/elsewhere/proxy.vkey --allowed-signers /from/elsewhere/allowed_signers

With pgnotary installed:  pgnotary verify . --key proxy.vkey
"""
