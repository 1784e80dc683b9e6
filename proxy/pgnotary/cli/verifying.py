"""The auditors' command that vouches for a ledger: verify.

A ledger or an exported folder enters, with what its auditor knows from elsewhere: the key, the roster, checkpoints and
heads. Lines on stdout leave, and one of the statuses of `Verified`. Nothing is vouched for that was not checked: what
could not be is told as a note or a gap.
"""

from pathlib import Path

import click

from pgnotary.cli.auditor_output import Verifying, ending, print_faults, show
from pgnotary.cli.exits import Verified
from pgnotary.cli.heads_given import GivenHeads, given_heads
from pgnotary.cli.ledger_source import archive_option, open_ledger, source_options
from pgnotary.errors import BadCheckpoint, BadRoster, LedgerBroken
from pgnotary.request.roster import Roster, parse_roster
from pgnotary.store import LedgerReader

__all__ = ["verify"]

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(cls=Verifying)
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True))
@source_options
@archive_option
@click.option("--allowed-signers", type=_FILE, help="Hold all decisions against this roster.")
@click.option(
    "--checkpoint", "remembered", type=_FILE, multiple=True, help="A checkpoint that you remember; repeatable."
)
@click.option(
    "--heads",
    "head_files",
    type=_FILE,
    multiple=True,
    help="Heads that an approver's command remembers, of any machine; repeatable.",
)
@click.option("--misbehaviour", type=_FILE, help="Check a proof of misbehaviour instead, which needs no ledger.")
@click.option("--verbose", "-v", is_flag=True, help="List approvals that never ran.")
@click.pass_context
@ending
def verify(
    context: click.Context,
    folder: Path | None,
    config: Path | None,
    ledger: Path | None,
    archives: tuple[Path, ...],
    key: str | None,
    allowed_signers: Path | None,
    remembered: tuple[Path, ...],
    head_files: tuple[Path, ...],
    misbehaviour: Path | None,
    verbose: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Check a whole ledger, or an exported FOLDER: every hash, signature, roster and step.

    Exit status: 0 good; 1 tampered; 2 good as far as the evidence reaches: an outcome is unknown, values are withheld
    or redacted, entries are in an archive that is not given, or under no head of --heads; 3 wrong usage, or it cannot
    be looked at.

    \b
    pgnotary verify
    pgnotary verify evidence/ --key proxy.vkey --allowed-signers allowed_signers --heads bo.heads --heads ana.heads
    pgnotary verify --archive archive/2025 --archive archive/2026
    """
    from pgnotary.audit.check import check, gaps, noted, vouched

    if misbehaviour is not None:
        if folder or ledger or remembered or head_files or archives:
            raise click.UsageError("--misbehaviour needs no ledger and no heads: both are in the file")
        context.exit(_check_misbehaviour(misbehaviour, key))
    roster = _roster(allowed_signers)
    try:
        with open_ledger(config, folder or ledger, key, archives) as source:
            vkey = source.checked_vkey()
            notes = [_checkpoint(path, vkey) for path in remembered]
            # Before the ledger: what is remembered later than it was read is not missing in it.
            heads = given_heads(head_files, vkey) if head_files else None
            try:
                checkpoints = None if heads is None else heads.checkpoints
                summary = check(source.reader, vkey, roster=roster, remembered=notes, heads=checkpoints)
            except LedgerBroken as broken:
                print_faults(broken)
                _accuse(heads, source.reader)
                context.exit(Verified.TAMPERED)
    except LedgerBroken as broken:
        print_faults(broken)
        context.exit(Verified.TAMPERED)
    for line in vouched(summary, vkey):
        show(f"ok  {line}")
    for line in noted(summary, pinned_key=source.pinned, pinned_roster=roster is not None):
        show(f"note  {line}")
    for line in heads.passed_over if heads else ():
        show(f"note  {line}")
    if verbose and summary.never_run:
        show(f"note  approved and not sent: {', '.join(summary.never_run)}")
    missing = list(gaps(summary))
    for line in missing:
        show(f"gap  {line}")
    context.exit(Verified.INCOMPLETE if missing else Verified.WHOLE)


def _roster(path: Path | None) -> Roster | None:
    if path is None:
        return None
    try:
        return parse_roster(path.read_text())
    except (BadRoster, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: {error}") from error


def _accuse(heads: GivenHeads | None, reader: LedgerReader) -> None:
    """Print what was passed over, and every proof of misbehaviour, which is written beside the heads."""
    for line in heads.passed_over if heads else ():
        show(f"note  {line}")
    for line in heads.accuse(reader) if heads else ():
        show(f"proof  {line}")


def _check_misbehaviour(path: Path, key: str | None) -> Verified:
    """Print what a proof of misbehaviour shows; a usage error if it shows nothing."""
    from pgnotary.cli.ledger_source import pinned_key
    from pgnotary.errors import BadProof, NotCanonical
    from pgnotary.verify.misbehaviour import MAX_PROOF_BYTES, examine

    try:
        with path.open("rb") as file:
            shown = examine(file.read(MAX_PROOF_BYTES + 1), None if key is None else pinned_key(key))
    except (BadCheckpoint, BadProof, NotCanonical) as error:
        raise click.UsageError(f"{path} shows nothing: {error}") from error
    show(f"{'FAIL' if shown.proven else 'gap'}  {shown.words}")
    if key is None:
        show(f"note  the key is the one in the file, compare it with the one you know: {shown.key}")
    return Verified.TAMPERED if shown.proven else Verified.INCOMPLETE


def _checkpoint(path: Path, vkey: str) -> str:
    """Return a checkpoint that somebody remembers; a file that holds none is the caller's mistake."""
    from pgnotary.ledger.checkpoint import verify as opened

    try:
        note = path.read_text()
        opened(note, vkey)
    except (BadCheckpoint, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path} holds no checkpoint under this key: {error}") from error
    return note
