"""Signatures by FIDO keys: what a touch signs is accepted, and nothing that only looks like one, by either verifier.

No hardware is needed: `tests/authenticator.py` does in software what an authenticator does. Whatever is accepted here
is accepted by ssh-keygen too; what ssh-keygen leaves to its caller, user presence, is refused.
"""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from tests.authenticator import APPLICATION, armor, security_key, sk_blob, string, touch, wrapped

from pgnotary.audit import standalone
from pgnotary.errors import BadKey, BadRoster, BadSignature
from pgnotary.ledger.canonical import b64
from pgnotary.request.openssh import fingerprint, private_key_file, public_line, read_private_key, read_public_line
from pgnotary.request.roster import parse_roster
from pgnotary.request.ssh_encoding import SecurityKey, public_blob, read_public_blob
from pgnotary.request.sshsig import DECISION_NAMESPACE, sign, verify

SEED, OTHER = bytes([8]) * 32, bytes([9]) * 32
PUBLIC = bytes(SigningKey(SEED).verify_key)
KEY = security_key(SEED)
MESSAGE = b'{"decision":"approve"}'
NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
VECTOR: dict[str, str] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "sshsig_sk.json").read_text(encoding="utf-8")
)


def ssh_keygen_accepts(folder: Path, armored: str, line: str) -> bool:
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("ssh-keygen is not installed")
    (folder / "roster").write_text(f"ana@corp {line}\n")
    (folder / "sig").write_text(armored)
    command = [program, "-Y", "verify", "-f", "roster", "-I", "ana@corp", "-n", DECISION_NAMESPACE, "-s", "sig"]
    return subprocess.run(command, input=MESSAGE, cwd=folder, capture_output=True, check=False).returncode == 0


def refused_by_both(armored: str, why: str) -> None:
    with pytest.raises(BadSignature, match=why):
        verify(armored, MESSAGE, DECISION_NAMESPACE)
    with pytest.raises(standalone.Bad):
        standalone._signer_of(armored, MESSAGE, DECISION_NAMESPACE)


def test_the_golden_signature_verifies_for_ever() -> None:
    message, armored = bytes.fromhex(VECTOR["message"]), VECTOR["armored"]
    key = SecurityKey(bytes.fromhex(VECTOR["public"]), VECTOR["application"])
    assert verify(armored, message, VECTOR["namespace"]) == key == read_public_line(VECTOR["line"]).public
    assert standalone._signer_of(armored, message, VECTOR["namespace"]).fingerprint == VECTOR["fingerprint"]
    assert fingerprint(key) == VECTOR["fingerprint"]
    assert touch(message, bytes.fromhex(VECTOR["seed"]), VECTOR["namespace"]) == armored


@pytest.mark.parametrize("application", [APPLICATION, "ssh:pgnotary"])
@pytest.mark.parametrize("flags", [0x01, 0x05, 0x1D])
def test_a_touch_is_accepted_here_and_by_ssh_keygen(tmp_path: Path, application: str, flags: int) -> None:
    armored = touch(MESSAGE, SEED, DECISION_NAMESPACE, application=application, flags=flags, counter=2**32 - 1)
    key = security_key(SEED, application)
    assert verify(armored, MESSAGE, DECISION_NAMESPACE) == key
    assert standalone._signer_of(armored, MESSAGE, DECISION_NAMESPACE).fingerprint == fingerprint(key)
    assert ssh_keygen_accepts(tmp_path, armored, public_line(key))
    assert not ssh_keygen_accepts(tmp_path, armored, public_line(PUBLIC))


def test_ssh_keygen_names_the_key_as_we_do(tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    (tmp_path / "key.pub").write_text(public_line(KEY, "ana@corp") + "\n")
    done = subprocess.run(["ssh-keygen", "-l", "-f", "key.pub"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().split()[1] == fingerprint(KEY)


def test_a_signature_without_user_presence_is_refused_though_ssh_keygen_takes_it(tmp_path: Path) -> None:
    for flags in (0x00, 0x04):
        armored = touch(MESSAGE, SEED, DECISION_NAMESPACE, flags=flags)
        refused_by_both(armored, "nobody touched the security key")
        assert ssh_keygen_accepts(tmp_path, armored, public_line(KEY))


_PLAIN_SIGNATURE = SigningKey(SEED).sign(wrapped(MESSAGE, DECISION_NAMESPACE)).signature
_PLAIN_BLOB = public_blob(PUBLIC)
_SK, _PLAIN = b"sk-ssh-ed25519@openssh.com", b"ssh-ed25519"


@pytest.mark.parametrize(
    ("armored", "why"),
    [
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, flags=0, said_flags=1), "the signature is wrong"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, flags=1, said_flags=5), "the signature is wrong"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, said_counter=8), "the signature is wrong"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, flags=0x41), "more than SSH has a place for"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, flags=0x81), "more than SSH has a place for"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, application="ssh:mail", said_application="ssh:"), "is wrong"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, application="https://shop.example"), "for the application"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, application="ssh:a\nb"), "for the application"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, application="ssh:" + "x" * 201), "for the application"),
        (touch(MESSAGE, SEED, "api@pgnotary"), "namespace 'api@pgnotary'"),
        (touch(MESSAGE + b" ", SEED, DECISION_NAMESPACE), "the signature is wrong"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, key=sk_blob(OTHER)), "the signature is wrong"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, behind=b"x"), "1 bytes too many"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, key=_PLAIN_BLOB), "type is not ssh-ed25519"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, key=_PLAIN_BLOB, kind=_PLAIN), "5 bytes too many"),
        (touch(MESSAGE, SEED, DECISION_NAMESPACE, kind=_PLAIN), "type is not sk-ssh-ed25519"),
        (armor(sk_blob(SEED), DECISION_NAMESPACE, string(_PLAIN) + string(_PLAIN_SIGNATURE)), "type is not sk-"),
        (armor(sk_blob(SEED), DECISION_NAMESPACE, string(_SK) + string(_PLAIN_SIGNATURE)), "cut short"),
        (armor(sk_blob(SEED), DECISION_NAMESPACE, string(_SK) + string(_PLAIN_SIGNATURE) + b"\1\0\0\0\7"), "is wrong"),
        (armor(_PLAIN_BLOB, DECISION_NAMESPACE, string(_SK) + string(_PLAIN_SIGNATURE)), "type is not ssh-ed25519"),
    ],
    ids=[
        "flags that were not signed",
        "verification that was not signed",
        "a counter that was not signed",
        "attested data",
        "extensions",
        "made for another application",
        "made for a web site",
        "an application of two lines",
        "an endless application",
        "made for another purpose",
        "made over another message",
        "another authenticator's",
        "something behind it",
        "a touch for the plain key of the same point",
        "a touch that calls itself plain, for the plain key",
        "a touch that calls itself plain",
        "a plain signature for the security key",
        "a plain signature that calls itself a touch",
        "a plain signature with flags and a counter behind it",
        "a plain signature that calls itself a touch, for the plain key",
    ],
)
def test_what_only_looks_like_a_touch_is_refused(tmp_path: Path, armored: str, why: str) -> None:
    refused_by_both(armored, why)


def test_no_changed_byte_of_a_touch_is_accepted() -> None:
    blob = armored_bytes(touch(MESSAGE, SEED, DECISION_NAMESPACE))
    for at in range(len(blob)):
        changed = bytearray(blob)
        changed[at] ^= 0x04
        with pytest.raises(BadSignature):
            verify(armored_again(bytes(changed)), MESSAGE, DECISION_NAMESPACE)
    for end in range(len(blob)):
        with pytest.raises(BadSignature):
            verify(armored_again(blob[:end] or b"\0"), MESSAGE, DECISION_NAMESPACE)


def armored_bytes(armored: str) -> bytes:
    return standalone._unbase64("".join(armored.split("\n")[1:-2]))


def armored_again(blob: bytes) -> str:
    return f"-----BEGIN SSH SIGNATURE-----\n{_lines(b64(blob))}-----END SSH SIGNATURE-----\n"


def _lines(text: str) -> str:
    return "".join(f"{text[at : at + 70]}\n" for at in range(0, len(text), 70))


# --- on the roster ----------------------------------------------------------------------------------------------------


def test_a_security_key_and_the_plain_key_of_the_same_point_are_two_identities() -> None:
    assert len({KEY, PUBLIC, security_key(SEED, "ssh:mail")}) == 3
    assert len({fingerprint(KEY), fingerprint(PUBLIC), fingerprint(security_key(SEED, "ssh:mail"))}) == 3
    touched, plain = touch(MESSAGE, SEED, DECISION_NAMESPACE), sign(MESSAGE, SEED, DECISION_NAMESPACE)
    for line, wrong in ((public_line(PUBLIC), touched), (public_line(KEY), plain)):
        with pytest.raises(BadSignature, match="nobody on the roster has the key"):
            parse_roster(f"ana {line}").find(verify(wrong, MESSAGE, DECISION_NAMESPACE), NOW)
        second = standalone._signer_of(wrong, MESSAGE, DECISION_NAMESPACE)
        with pytest.raises(standalone.Bad, match="nobody on the roster has the key"):
            standalone._find(standalone.read_roster(f"ana {line}"), second, NOW, DECISION_NAMESPACE)


def test_a_line_of_the_roster_is_found_by_its_touch_and_written_as_it_was_read() -> None:
    text = f'ana namespaces="decision@pgnotary" {public_line(KEY)}\nbo {public_line(security_key(OTHER, "ssh:bo"))}\n'
    roster = parse_roster(text)
    assert roster.text == text
    assert (
        roster.find(verify(touch(MESSAGE, SEED, DECISION_NAMESPACE), MESSAGE, DECISION_NAMESPACE), NOW).person == "ana"
    )
    second = standalone._signer_of(touch(MESSAGE, SEED, DECISION_NAMESPACE), MESSAGE, DECISION_NAMESPACE)
    assert standalone._find(standalone.read_roster(text), second, NOW, DECISION_NAMESPACE) == "ana"
    other = touch(MESSAGE, OTHER, DECISION_NAMESPACE)
    with pytest.raises(BadSignature, match="nobody on the roster"):
        roster.find(verify(other, MESSAGE, DECISION_NAMESPACE), NOW)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"ana {public_line(KEY)}\nana {public_line(PUBLIC)}", "already listed for ana on line 1"),
        (f"ana {public_line(PUBLIC)}\nbo {public_line(KEY)}", "already listed for ana on line 1"),
        (f"ana {public_line(KEY)}\nbo {public_line(security_key(SEED, 'ssh:bo'))}", "already listed for ana"),
        (f"ana ssh-ed25519 {b64(public_blob(KEY))}", "the line says ssh-ed25519"),
        (f"ana sk-ssh-ed25519@openssh.com {b64(public_blob(PUBLIC))}", "the line says sk-ssh-ed25519"),
        (f"ana sk-ssh-ed25519@openssh.com {b64(sk_blob(SEED, 'https://x'))}", "for the application"),
        (f"ana sk-ssh-ed25519@openssh.com {b64(sk_blob(SEED) + b'x')}", "1 bytes too many"),
        (f"ana sk-ssh-ed25519@openssh.com {b64(sk_blob(SEED)[:-9])}", "cut short"),
        (f"ana sk-ssh-ed25519-cert-v01@openssh.com {b64(sk_blob(SEED))}", "only ssh-ed25519 and"),
        (f"ana sk-ecdsa-sha2-nistp256@openssh.com {b64(sk_blob(SEED))}", "only ssh-ed25519 and"),
        (f"ana verify-required {public_line(KEY)}", "a key of type 'verify-required'"),
        (f'ana namespaces="x",verify-required {public_line(KEY)}', "cannot honour"),
    ],
)
def test_a_roster_with_a_doubtful_security_key_is_refused_by_both(text: str, why: str) -> None:
    with pytest.raises(BadRoster, match=why):
        parse_roster(text)
    with pytest.raises(standalone.Bad):
        standalone.read_roster(text)


def test_a_file_that_names_a_key_in_an_authenticator_is_refused_with_what_to_do() -> None:
    plain = private_key_file(SEED, "ana", 7)
    body = standalone._unbase64("".join(plain.splitlines()[1:-1]))
    named = body.replace(string(public_blob(PUBLIC)), string(sk_blob(SEED)), 1)
    text = plain.splitlines()[0] + "\n" + _lines(b64(named)) + plain.splitlines()[-1] + "\n"
    with pytest.raises(BadKey, match="FIDO authenticator: sign with ssh-keygen -Y sign"):
        read_private_key(text)


def test_a_security_key_of_another_length_is_refused() -> None:
    with pytest.raises(BadKey, match="32 bytes, not 31"):
        public_blob(SecurityKey(PUBLIC[:-1], APPLICATION))
    with pytest.raises(BadKey, match="32 bytes, not 31"):
        read_public_blob(string(_SK) + string(PUBLIC[:-1]) + string(b"ssh:"))
