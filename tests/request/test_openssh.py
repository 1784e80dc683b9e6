"""OpenSSH key files and lines: ssh-keygen reads ours, we read its, and every other key is refused by name."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from pgnotary.errors import BadKey
from pgnotary.ledger.canonical import b64, unb64
from pgnotary.request.openssh import (
    PrivateKey,
    PublicKey,
    fingerprint,
    private_key_file,
    public_line,
    read_private_key,
    read_public_line,
)
from pgnotary.request.ssh_encoding import pack, public_blob, read_public_blob

VECTOR: dict[str, str] = json.loads((Path(__file__).parents[1] / "vectors" / "sshsig.json").read_text(encoding="utf-8"))
SEED, PUBLIC = bytes.fromhex(VECTOR["seed"]), bytes.fromhex(VECTOR["public"])
FILE = private_key_file(SEED, "ana@corp", 0x01020304)

Run = Callable[..., str]


@pytest.fixture
def ssh_keygen(tmp_path: Path) -> Run:
    """Runs ssh-keygen in a folder of the test's own and gives what it prints."""
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("ssh-keygen is not installed")

    def run(*arguments: str) -> str:
        done = subprocess.run([program, *arguments], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    return run


def test_the_golden_line_and_fingerprint_never_change() -> None:
    assert public_line(PUBLIC, "ana@corp") == VECTOR["line"]
    assert fingerprint(PUBLIC) == VECTOR["fingerprint"]


# Each length of the comment pads the file differently.
@pytest.mark.parametrize("comment", ["", "a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "Ana Müller"])
def test_ssh_keygen_reads_the_private_key_we_write(ssh_keygen: Run, tmp_path: Path, comment: str) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(private_key_file(SEED, comment, 0xFFFFFFFF), encoding="utf-8")
    printed = read_public_line(ssh_keygen("-y", "-f", "key"))
    assert printed.public == PUBLIC
    assert printed.comment == comment or not comment.isascii()
    assert ssh_keygen("-l", "-f", "key").split()[1] == fingerprint(PUBLIC)


def test_we_read_what_ssh_keygen_writes_and_would_write_the_same(ssh_keygen: Run, tmp_path: Path) -> None:
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-C", "ana@corp", "-f", "key")
    text = (tmp_path / "key").read_text()
    key = read_private_key(text)
    line = (tmp_path / "key.pub").read_text()
    assert read_public_line(line) == PublicKey(key.public, "ana@corp")
    assert public_line(key.public, key.comment) + "\n" == line
    assert ssh_keygen("-l", "-f", "key").split()[1] == fingerprint(key.public)
    # The check number is the only thing in the file that is drawn at random besides the seed.
    blob = unb64("".join(text.split("\n")[1:-2]))
    checkint = int.from_bytes(blob[blob.rindex(pack(b"ssh-ed25519")) - 4 :][:4], "big")
    assert private_key_file(key.seed, key.comment, checkint) == text


@given(st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1), st.text("ab @é.", max_size=30).map(str.strip))
def test_a_private_key_file_gives_the_key_back(seed: bytes, checkint: int, comment: str) -> None:
    public = bytes(SigningKey(seed).verify_key)
    assert read_private_key(private_key_file(seed, comment, checkint)) == PrivateKey(seed, public, comment)
    assert read_public_line(public_line(public, comment)) == PublicKey(public, comment)


def test_a_private_key_with_a_passphrase_says_so(ssh_keygen: Run, tmp_path: Path) -> None:
    ssh_keygen("-q", "-t", "ed25519", "-N", "correct horse", "-f", "key")
    with pytest.raises(BadKey, match="is protected by a passphrase: "):
        read_private_key((tmp_path / "key").read_text())


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["-t", "rsa"], "'ssh-rsa'; only ssh-ed25519"),
        (["-t", "ecdsa"], "'ecdsa-sha2-nistp256'; only ssh-ed25519"),
        (["-t", "rsa", "-N", "correct horse"], "'ssh-rsa'; only ssh-ed25519"),
        (["-t", "rsa", "-m", "PEM"], "the private key is in the format RSA PRIVATE KEY; expected OpenSSH's"),
        (["-t", "rsa", "-m", "PKCS8"], "the private key is in the format PRIVATE KEY; expected OpenSSH's"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_private_keys_of_other_kinds_are_refused_by_name(
    ssh_keygen: Run, tmp_path: Path, arguments: list[str], why: str
) -> None:
    ssh_keygen("-q", "-N", "", *arguments, "-f", "key")
    with pytest.raises(BadKey, match=why):
        read_private_key((tmp_path / "key").read_text())


def blob_of(text: str) -> bytes:
    return unb64("".join(text.split("\n")[1:-2]))


def file_of(blob: bytes) -> str:
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{b64(blob)}\n-----END OPENSSH PRIVATE KEY-----\n"


def test_no_changed_bit_of_a_private_key_is_overlooked() -> None:
    blob = blob_of(FILE)
    for at in range(len(blob)):
        for bit in range(8):
            changed = bytearray(blob)
            changed[at] ^= 1 << bit
            try:
                key = read_private_key(file_of(bytes(changed)))
            except BadKey:
                continue
            # Nothing protects the comment.
            assert (key.seed, key.public) == (SEED, PUBLIC)
            assert key.comment != "ana@corp"


def test_a_private_key_that_is_cut_short_anywhere_is_refused() -> None:
    blob = blob_of(FILE)
    for end in range(len(blob)):
        with pytest.raises(BadKey):
            read_private_key(file_of(blob[:end]))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not a private key"),
        ("hello", "not a private key"),
        (VECTOR["line"], "this is a public key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", "its last line is missing"),
        (file_of(b"openssh-key-v2\0"), "version 1"),
        (FILE.replace("b3Bl", "b3B!"), "cannot be read"),
        (file_of(blob_of(FILE).replace(b"\0\0\0\1\0\0\0\x33", b"\0\0\0\2\0\0\0\x33")), "several keys"),
        (file_of(blob_of(FILE).replace(b"\1\2\3\4\1\2\3\4", b"\1\2\3\4\1\2\3\5")), "its two check numbers differ"),
        (file_of(blob_of(FILE).replace(SEED, bytes(32))), "do not belong together"),
        (file_of(blob_of(FILE)[:-1] + b"x"), "padding"),
        (file_of(blob_of(FILE) + b"x"), "1 bytes too many"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "in the format ENCRYPTED PRIVATE KEY"),
    ],
    ids=lambda value: value[:30],
)
def test_a_file_that_is_no_private_key_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        read_private_key(text)


def test_a_private_key_file_with_windows_line_ends_is_read() -> None:
    assert read_private_key(FILE.replace("\n", "\r\n")).seed == SEED


def test_a_private_key_in_a_traceback_does_not_show_its_seed() -> None:
    assert "seed" not in repr(read_private_key(FILE))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "a key of type ''"),
        ("ssh-ed25519", "cannot be read"),
        ("ssh-ed25519 AAAA", "cannot be read"),
        (f"ssh-rsa {b64(public_blob(PUBLIC))}", "'ssh-rsa'; only ssh-ed25519"),
        (f"ssh-ed25519 {b64(pack(b'ssh-rsa', PUBLIC))}", "'ssh-rsa'; only ssh-ed25519"),
        (f"ssh-ed25519 {b64(pack(b'ssh-ed25519', PUBLIC + PUBLIC))}", "32 bytes, not 64"),
        (f"ssh-ed25519 {b64(public_blob(PUBLIC) + b'x')}", "1 bytes too many"),
        (VECTOR["line"].replace("AAAA", "AAA"), "cannot be read"),
        (VECTOR["line"] + "\n" + VECTOR["line"], "one line"),
        (FILE, "this is a private key"),
    ],
    ids=lambda value: value[:30],
)
def test_a_text_that_is_not_one_public_key_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        read_public_line(text)


@pytest.mark.parametrize("comment", ["two\nlines", "bell\a", " space", "line\u2028separator", "\x85"])
def test_a_comment_that_would_become_something_else_is_refused(comment: str) -> None:
    with pytest.raises(BadKey, match="comment"):
        public_line(PUBLIC, comment)
    with pytest.raises(BadKey, match="comment"):
        private_key_file(SEED, comment, 0)


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33)])
def test_keys_of_another_length_are_refused(wrong: bytes) -> None:
    with pytest.raises(BadKey, match="32 bytes"):
        public_blob(wrong)
    with pytest.raises(BadKey, match="32 bytes"):
        private_key_file(wrong, "", 0)


@given(st.binary(max_size=80))
def test_no_bytes_make_the_reader_fail_otherwise(blob: bytes) -> None:
    for read in (lambda: read_public_blob(blob), lambda: read_private_key(file_of(b"openssh-key-v1\0" + blob))):
        with pytest.raises(BadKey):
            read()
