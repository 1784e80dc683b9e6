"""Writes what `pgnotary serve` runs from: a folder with configuration, signing key, role password, users, approvers.

Names and secrets enter, files leave. Nothing that exists is overwritten; passwords and private keys are readable by
their owner alone, and of a user's password only a SCRAM verifier is kept.
"""

import os
import secrets
from pathlib import Path

from nacl.signing import SigningKey

from pgnotary.errors import ConfigError
from pgnotary.ledger.checkpoint import vkey
from pgnotary.ledger.signing_key import parse_skey, skey
from pgnotary.request.openssh import private_key_file, public_line
from pgnotary.request.sshsig import DECISION_NAMESPACE
from pgnotary.serve.scram import make_verifier

__all__ = ["add_user", "make_approver", "make_folder", "write_new"]

_TEMPLATE = """\
# Every key with its default and what it means: config/reference.toml
[listen]
address = "{listen}"

[upstream]
address = "{upstream}"

[[role]]
name = "{role}"
password_file = "{password_file}"

[ledger]
name = "{name}"
"""
_USER = """
[[user]]
name = {name}
role = {role}
verifier = "{verifier}"
"""


def write_new(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file that must not exist yet; raises ConfigError if it does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path}: exists already, and is not overwritten") from error


def make_folder(folder: Path, *, listen: str, upstream: str, role: str, password: str, name: str) -> Path:
    """Write configuration, signing key and role password into `folder` and return the configuration's path."""
    seed = secrets.token_bytes(32)
    config = folder / "pgnotary.toml"
    password_file = f"secrets/{role}"
    write_new(
        config, _TEMPLATE.format(listen=listen, upstream=upstream, role=role, password_file=password_file, name=name)
    )
    write_new(folder / password_file, password + "\n")
    write_new(folder / "proxy.key", skey(name, seed) + "\n")
    public = parse_skey(skey(name, seed)).public
    write_new(folder / "proxy.vkey", vkey(name, public) + "\n", 0o644)
    write_new(folder / "allowed_signers", '# One approver a line: NAME namespaces="decision@pgnotary" KEY\n', 0o644)
    return config


def add_user(config: Path, name: str, role: str, password: str) -> None:
    """Append a user to a configuration file."""
    text = _USER.format(
        name=_quoted(name), role=_quoted(role), verifier=make_verifier(password, salt=secrets.token_bytes(16))
    )
    with config.open("a") as file:
        file.write(text)


def make_approver(folder: Path, name: str) -> Path:
    """Make a key for an approver, put it on the roster, and return the private key's path."""
    seed = secrets.token_bytes(32)
    path = folder / "approvers" / name
    write_new(path, private_key_file(seed, name, int.from_bytes(secrets.token_bytes(4), "big")))
    line = public_line(bytes(SigningKey(seed).verify_key), name)
    write_new(path.with_suffix(".pub"), line + "\n", 0o644)
    with (folder / "allowed_signers").open("a") as roster:
        roster.write(f'{name} namespaces="{DECISION_NAMESPACE}" {line}\n')
    return path


def _quoted(text: str) -> str:
    if not text or any(ord(character) < 32 or character in '"\\' for character in text):
        raise ConfigError(f"{text!r} cannot be a name: expected no quotes, backslashes or control characters")
    return f'"{text}"'
