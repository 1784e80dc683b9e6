"""Writes what `pgnotary serve` runs from: a folder with configuration, signing key, role password, users, approvers.

Names and secrets enter, files leave: all of them, or none and an error. Nothing that exists is overwritten, no name
leads out of the folder, and no configuration is written that could not be loaded. Passwords and private keys are
readable by their owner alone, and of a user's password only a SCRAM verifier is kept.
"""

import contextlib
import errno
import os
import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgnotary.config import load, parse
from pgnotary.errors import BadRoster, ConfigError
from pgnotary.ledger.checkpoint import vkey
from pgnotary.ledger.signing_key import parse_skey, skey
from pgnotary.request.openssh import SEED_BYTES, private_key_file, public_line, read_private_key
from pgnotary.request.roster import Signer, parse_roster
from pgnotary.request.sshsig import DECISION_NAMESPACE
from pgnotary.serve.scram import SALT_BYTES, make_verifier

__all__ = ["NewFile", "add_user", "check_person", "ledger_name", "make_folder", "replace_text", "write_new"]

_TEMPLATE = """\
# Only what differs from a default stands here. Every key: config/reference.toml in pgnotary's sources.
[listen]
address = {listen}

[upstream]
address = {upstream}

[[role]]
name = {role}
password_file = {password_file}

[ledger]
name = {name}
"""
_USER = """
[[user]]
name = {name}
role = {role}
verifier = "{verifier}"
"""
_ROSTER = f'# One approver a line: NAME namespaces="{DECISION_NAMESPACE}" KEY\n'

# What a configuration allows in ledger.name, and what becomes of the rest in a name that we choose.
_NOT_IN_LEDGER_NAMES = re.compile(r"[^a-z0-9._-]+")
_MAX_LEDGER_NAME = 100
# Of users and roles: PostgreSQL's names are no longer.
_MAX_NAME = 63


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that must not exist yet."""

    path: Path
    text: str
    mode: int = 0o600


def write_new(*files: NewFile) -> None:
    """Write files, and the folders above them, all or none; raises ConfigError if one exists or cannot be written."""
    made: list[Path] = []
    try:
        for file in files:
            _make_folder(file.path.parent, made)
            descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
            made.append(file.path)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(file.text)
    except BaseException as error:
        for path in reversed(made):
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, FileExistsError):
            raise ConfigError(f"{error.filename}: exists already, and is not overwritten") from error
        if isinstance(error, OSError):
            raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from error
        raise


def make_folder(
    folder: Path,
    *,
    listen: str,
    upstream: str,
    role: str,
    password: str,
    name: str,
    users: Mapping[str, str] | None = None,
    approvers: Sequence[str] = (),
) -> Path:
    """Write all that `serve` needs into `folder` and return the configuration's path; raises ConfigError.

    Without a `password` the role has none. `users` maps names to passwords; approver NAME gets a key in approvers/NAME.
    """
    config = folder / "pgnotary.toml"
    password_file = f"secrets/{_file_name('role', role)}" if password else ""
    fields = {"listen": listen, "upstream": upstream, "role": role, "password_file": password_file, "name": name}
    text = _TEMPLATE.format_map({key: _quoted(value) for key, value in fields.items()})
    text += "".join(_user(user, role, secret) for user, secret in (users or {}).items())
    parse(config, text.encode())
    signing = skey(name, secrets.token_bytes(SEED_BYTES))
    files = [NewFile(config, text)]
    if password:
        files.append(NewFile(folder / password_file, password + "\n"))
    files.append(NewFile(folder / "proxy.key", signing + "\n"))
    files.append(NewFile(folder / "proxy.vkey", vkey(name, parse_skey(signing).public) + "\n", 0o644))
    roster = _ROSTER
    for approver in approvers:
        line, key_files = _approver(folder, approver)
        roster += line + "\n"
        files += key_files
    files.append(NewFile(folder / "allowed_signers", roster, 0o644))
    write_new(*files)
    return config


def add_user(config: Path, name: str, role: str, password: str) -> None:
    """Add a user to a configuration file, or leave it as it is and raise ConfigError."""
    loaded = load(config)
    if loaded.user(name) is not None:
        raise ConfigError(f"{config}: user {name!r} stands there already")
    text = config.read_bytes() + _user(name, role, password).encode()
    parse(config, text)
    replace_text(config, text)


def check_person(name: str) -> None:
    """Raise ConfigError unless `name` can stand on a roster of approvers."""
    # A blank would end the name on its line, and what follows would be read as something else.
    people: tuple[str, ...] = ()
    if not any(character.isspace() for character in name):
        with contextlib.suppress(BadRoster):
            people = parse_roster(Signer(name, bytes(32), (DECISION_NAMESPACE,)).line).people
    if people != (name,):
        raise ConfigError(
            f"{name!r:.80} cannot be an approver's name: expected a letter or digit, "
            "then at most 127 letters, digits and . _ @ + : / -"
        )


def ledger_name(host: str, database: str) -> str:
    """Return a name for the ledger of a database: what cannot be in one becomes a dash."""
    parts = [_NOT_IN_LEDGER_NAMES.sub("-", part.lower()) for part in (host, database)]
    return "/".join(parts)[:_MAX_LEDGER_NAME]


def _approver(folder: Path, name: str) -> tuple[str, list[NewFile]]:
    """Return an approver's line on the roster, and the files of a new key."""
    check_person(name)
    path = folder / "approvers" / _file_name("approver", name)
    private = private_key_file(secrets.token_bytes(SEED_BYTES), name, secrets.randbits(32))
    public = read_private_key(private).public
    files = [
        NewFile(path, private),
        NewFile(path.with_name(f"{path.name}.pub"), public_line(public, name) + "\n", 0o644),
    ]
    return Signer(name, public, (DECISION_NAMESPACE,)).line, files


def _user(name: str, role: str, password: str) -> str:
    if not 1 <= len(name) <= _MAX_NAME:
        raise ConfigError(f"a user's name has 1 to {_MAX_NAME} characters, not {len(name)}: {name!r:.80}")
    verifier = make_verifier(password, salt=secrets.token_bytes(SALT_BYTES))
    return _USER.format(name=_quoted(name), role=_quoted(role), verifier=verifier)


def _make_folder(path: Path, made: list[Path]) -> None:
    """Make a folder and those above it, and note each that was made."""
    if path.is_dir():
        return
    if path.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    _make_folder(path.parent, made)
    path.mkdir()
    made.append(path)


def replace_text(path: Path, text: bytes) -> None:
    """Put `text` in the place of a file's content at once: who reads meanwhile finds the old or the new.

    Its mode is kept, and by root its owner. Raises ConfigError.
    """
    target = path.resolve()
    try:
        before = target.stat()
        descriptor, new = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), before.st_mode & 0o7777)
                if os.geteuid() == 0:
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(new).replace(target)
        except BaseException:
            Path(new).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error


def _file_name(kind: str, name: str) -> str:
    """Return `name` if it can name a file in a folder of ours, and nothing anywhere else."""
    if not name or "/" in name or "\0" in name or name.startswith(".") or len(os.fsencode(name)) > 200:
        raise ConfigError(
            f"{kind} {name!r:.80} cannot name a file: expected at most 200 bytes, no slash, and no dot first"
        )
    return name


def _quoted(text: str) -> str:
    """Return a TOML string."""
    if not text.isprintable() or any(character in '"\\' for character in text):
        raise ConfigError(f"{text!r:.80} cannot be written: expected no quotes, backslashes or control characters")
    return f'"{text}"'
