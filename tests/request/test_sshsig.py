"""SSH signatures, both ways against the real ssh-keygen, and nothing else accepted."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from pgnotary.errors import BadSignature
from pgnotary.ledger.canonical import b64, unb64
from pgnotary.request.openssh import private_key_file, public_line
from pgnotary.request.ssh_encoding import pack, public_blob
from pgnotary.request.sshsig import DECISION_NAMESPACE, MAX_ARMORED_CHARS, sign, verify

VECTOR: dict[str, str] = json.loads((Path(__file__).parents[1] / "vectors" / "sshsig.json").read_text(encoding="utf-8"))
SEED, PUBLIC = bytes.fromhex(VECTOR["seed"]), bytes.fromhex(VECTOR["public"])
MESSAGE = bytes.fromhex(VECTOR["message"])
ARMORED = VECTOR["armored"]
MAGIC = b"SSHSIG"

Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def ssh_keygen(tmp_path: Path) -> Run:
    """Runs ssh-keygen in a folder of the test's own."""
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("ssh-keygen is not installed")

    def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([program, *arguments], input=stdin, cwd=tmp_path, capture_output=True, check=False)

    return run


def blob_of(armored: str) -> bytes:
    return unb64("".join(armored.split("\n")[1:-2]))


def armor(blob: bytes, width: int = 70) -> str:
    text = b64(blob)
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    return "\n".join(["-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""])


def test_the_golden_signature_never_changes() -> None:
    assert sign(MESSAGE, SEED, VECTOR["namespace"]) == ARMORED
    assert verify(ARMORED, MESSAGE, DECISION_NAMESPACE) == PUBLIC


@given(st.binary(), st.binary(min_size=32, max_size=32), st.text(min_size=1, max_size=20))
def test_a_signature_names_the_key_that_made_it(message: bytes, seed: bytes, namespace: str) -> None:
    assert verify(sign(message, seed, namespace), message, namespace) == bytes(SigningKey(seed).verify_key)


def check_with_ssh_keygen(run: Run, folder: Path, message: bytes, namespace: str) -> bool:
    (folder / "roster").write_text(f"ana@corp {public_line(PUBLIC)}\n")
    (folder / "sig").write_text(ARMORED)
    done = run("-Y", "verify", "-f", "roster", "-I", "ana@corp", "-n", namespace, "-s", "sig", stdin=message)
    return done.returncode == 0


def test_ssh_keygen_accepts_what_we_sign_and_nothing_near_it(ssh_keygen: Run, tmp_path: Path) -> None:
    assert check_with_ssh_keygen(ssh_keygen, tmp_path, MESSAGE, DECISION_NAMESPACE)
    assert not check_with_ssh_keygen(ssh_keygen, tmp_path, MESSAGE + b"\n", DECISION_NAMESPACE)
    assert not check_with_ssh_keygen(ssh_keygen, tmp_path, MESSAGE, "api@pgnotary")


def test_we_accept_what_ssh_keygen_signs_and_our_bytes_are_its_own(ssh_keygen: Run, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text(private_key_file(SEED, "ana@corp", 7))
    done = ssh_keygen("-Y", "sign", "-f", "key", "-n", DECISION_NAMESPACE, stdin=MESSAGE)
    assert done.stdout.decode() == ARMORED, done.stderr
    assert verify(done.stdout.decode(), MESSAGE, DECISION_NAMESPACE) == PUBLIC


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_signatures_by_other_kinds_of_key_are_refused(ssh_keygen: Run, tmp_path: Path, kind: str) -> None:
    ssh_keygen("-q", "-t", kind, "-N", "", "-f", "key")
    done = ssh_keygen("-Y", "sign", "-f", "key", "-n", DECISION_NAMESPACE, stdin=MESSAGE)
    assert done.returncode == 0
    with pytest.raises(BadSignature, match="only ssh-ed25519 and sk-ssh-ed25519"):
        verify(done.stdout.decode(), MESSAGE, DECISION_NAMESPACE)


def test_a_signature_over_sha256_is_refused(ssh_keygen: Run, tmp_path: Path) -> None:
    ssh_keygen("-q", "-t", "ed25519", "-N", "", "-f", "key")
    done = ssh_keygen("-Y", "sign", "-O", "hashalg=sha256", "-f", "key", "-n", DECISION_NAMESPACE, stdin=MESSAGE)
    assert done.returncode == 0
    with pytest.raises(BadSignature, match="'sha256', not sha512"):
        verify(done.stdout.decode(), MESSAGE, DECISION_NAMESPACE)


@given(st.data())
def test_a_changed_byte_of_the_message_breaks_the_signature(data: st.DataObject) -> None:
    changed = bytearray(MESSAGE)
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadSignature, match="the signature is wrong"):
        verify(ARMORED, bytes(changed), DECISION_NAMESPACE)


def test_a_signature_for_another_purpose_is_refused() -> None:
    with pytest.raises(BadSignature, match="namespace 'api@pgnotary', expected 'decision@pgnotary'"):
        verify(sign(MESSAGE, SEED, "api@pgnotary"), MESSAGE, DECISION_NAMESPACE)


def test_the_namespace_cannot_be_swapped_in_a_finished_signature() -> None:
    blob = blob_of(sign(MESSAGE, SEED, "api@pgnotary")).replace(pack(b"api@pgnotary"), pack(b"decision@pgnotary"))
    with pytest.raises(BadSignature, match="the signature is wrong"):
        verify(armor(blob), MESSAGE, DECISION_NAMESPACE)


def test_no_namespace_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="namespace"):
        sign(MESSAGE, SEED, "")


def test_no_changed_bit_of_the_blob_is_accepted() -> None:
    blob = blob_of(ARMORED)
    for at in range(len(blob)):
        for bit in range(8):
            changed = bytearray(blob)
            changed[at] ^= 1 << bit
            with pytest.raises(BadSignature):
                verify(armor(bytes(changed)), MESSAGE, DECISION_NAMESPACE)


def test_no_shortened_or_lengthened_blob_is_accepted() -> None:
    blob = blob_of(ARMORED)
    for end in range(len(blob)):
        with pytest.raises(BadSignature):
            verify(armor(blob[:end] or b"\0"), MESSAGE, DECISION_NAMESPACE)
    for longer in (blob + b"\0", b"\0" + blob):
        with pytest.raises(BadSignature):
            verify(armor(longer), MESSAGE, DECISION_NAMESPACE)


def signature_blob(
    *,
    version: int = 1,
    key: bytes = public_blob(PUBLIC),
    reserved: bytes = b"",
    hashed_with: bytes = b"sha512",
    kind: bytes = b"ssh-ed25519",
    signature: bytes = bytes(64),
    after: bytes = b"",
) -> bytes:
    inner = pack(kind, signature) + after
    fields = pack(key, DECISION_NAMESPACE.encode(), reserved, hashed_with, inner)
    return MAGIC + version.to_bytes(4, "big") + fields


@pytest.mark.parametrize(
    ("blob", "why"),
    [
        (signature_blob(), "the signature is wrong"),
        (signature_blob(version=0), "version 0"),
        (signature_blob(version=2), "version 2"),
        (signature_blob(reserved=b"x"), "reserved"),
        (signature_blob(hashed_with=b"sha1"), "'sha1', not sha512"),
        (signature_blob(kind=b"ssh-rsa"), "type is not ssh-ed25519"),
        (signature_blob(key=pack(b"sk-ssh-ed25519@openssh.com", PUBLIC, b"ssh:")), "type is not sk-ssh-ed25519"),
        (signature_blob(key=pack(b"ssh-ed25519", PUBLIC[:-1])), "32 bytes, not 31"),
        (signature_blob(key=public_blob(PUBLIC) + b"x"), "1 bytes too many"),
        (signature_blob(key=public_blob(bytes(32))), "the signature is wrong"),
        (signature_blob(signature=bytes(63)), "64 bytes, not 63"),
        (signature_blob(signature=bytes(65)), "64 bytes, not 65"),
        (signature_blob(after=b"x"), "1 bytes too many"),
        (b"SSHSIH" + signature_blob()[6:], "does not begin with SSHSIG"),
        (MAGIC + b"\0\0\0\1\xff\xff\xff\xff", "cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_blob_that_is_not_exactly_one_signature_is_refused_with_the_reason(blob: bytes, why: str) -> None:
    with pytest.raises(BadSignature, match=why):
        verify(armor(blob), MESSAGE, DECISION_NAMESPACE)


@pytest.mark.parametrize(
    "armored",
    [
        "",
        "x" + ARMORED,
        "\n" + ARMORED,
        ARMORED + "\n",
        ARMORED + ARMORED,
        ARMORED + "trailing words that nobody signed\n",
        ARMORED.replace("\n", "\r\n"),
        ARMORED.replace("\n", " \n"),
        ARMORED.replace("SSH SIGNATURE", "SSH SIGNATUR"),
        ARMORED.replace("U1NI", "U1-_"),
        ARMORED.replace("U1NI", "U1N\n\nI"),
        ARMORED.replace("Dw==", "Dw="),
        ARMORED.replace("Dw==", "Dx=="),
        ARMORED.replace("Dw==", "Dw==\n===="),
        ARMORED.replace("\n-----END", "-----END"),
        armor(blob_of(ARMORED), width=77),
    ],
    ids=lambda armored: repr(armored)[-40:],
)
def test_an_armor_that_could_be_read_two_ways_is_refused(armored: str) -> None:
    with pytest.raises(BadSignature):
        verify(armored, MESSAGE, DECISION_NAMESPACE)


def test_an_endless_armor_is_refused_before_it_is_read() -> None:
    namespace = "n" * MAX_ARMORED_CHARS
    with pytest.raises(BadSignature, match="not an armored SSH signature"):
        verify(sign(MESSAGE, SEED, namespace), MESSAGE, namespace)


@pytest.mark.parametrize("width", [64, 76])
def test_other_line_widths_are_read_and_so_is_a_missing_last_newline(width: int) -> None:
    assert verify(armor(blob_of(ARMORED), width).removesuffix("\n"), MESSAGE, DECISION_NAMESPACE) == PUBLIC
