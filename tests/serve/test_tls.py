"""Contexts, end points and names: what TLS is asked to be before the first byte, and what it is worth to a login."""

import hashlib
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from tests.pki import Files, Pki, self_signed

from pgnotary.errors import ConfigError
from pgnotary.serve.tls import ALPN, ServerTls, certificate_names, end_point, server_tls, upstream_context


def shown(files: Files) -> ServerTls:
    return server_tls(files.certificate, files.key, None, required=False)


def der(files: Files) -> bytes:
    return ssl.PEM_cert_to_DER_cert(files.certificate.read_text())


def shake_hands(
    client: ssl.SSLContext, server: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Return both ends of a connection in memory; the client would go on with `session`."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="localhost", session=session)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [ours, theirs]
    for _ in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not pending
    return ours, theirs


@pytest.mark.parametrize("kind", ["sha256", "sha384", "sha512"])
def test_a_login_is_bound_to_the_certificate_by_the_hash_of_its_signature(tmp_path: Path, kind: str) -> None:
    files = self_signed(tmp_path, kind)
    assert shown(files).end_point == hashlib.new(kind, der(files)).digest()


@pytest.mark.parametrize("old", ["md5", "sha1"])
def test_a_certificate_signed_with_an_old_hash_is_bound_by_sha_256(tmp_path: Path, old: str) -> None:
    # Libraries do not sign with these any more: the object identifier of the algorithm, twice, is all that differs.
    identifiers = {"md5": "2a864886f70d010104", "sha1": "2a864886f70d010105"}
    sha256 = bytes.fromhex("2a864886f70d01010b")
    certificate = der(self_signed(tmp_path, "sha256")).replace(sha256, bytes.fromhex(identifiers[old]))
    assert end_point(certificate) == hashlib.sha256(certificate).digest()


def test_a_certificate_whose_signature_has_no_hash_binds_nothing(tmp_path: Path) -> None:
    assert shown(self_signed(tmp_path, "ed25519")).end_point is None


def test_what_is_bound_to_is_the_first_certificate_of_the_file(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    files = pki.issue("localhost")
    expected = hashlib.sha256(der(files)).digest()
    files.certificate.write_text(files.certificate.read_text() + pki.ca.read_text())
    assert shown(files).end_point == expected


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_not_taken_up_again_once_the_certificate_was_read_again(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    pki = Pki(tmp_path)
    files = pki.issue("localhost")
    client, context = pki.client(), shown(files).context
    client.maximum_version = version
    ours, theirs = shake_hands(client, context)
    theirs.write(b"x")
    assert ours.read(1) == b"x"
    assert ours.session is None or not ours.session.has_ticket
    again, _ = shake_hands(client, context, ours.session)
    assert again.session_reused is (version == ssl.TLSVersion.TLSv1_2)
    anew, _ = shake_hands(client, shown(files).context, ours.session)
    assert not anew.session_reused


def test_both_sides_name_the_protocol_that_they_speak(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    ours, theirs = shake_hands(upstream_context(pki.ca), shown(pki.issue("localhost")).context)
    assert ours.selected_alpn_protocol() == theirs.selected_alpn_protocol() == ALPN


def names_of(client: Files, pki: Pki) -> frozenset[str]:
    files = pki.issue("localhost")
    server = server_tls(files.certificate, files.key, pki.ca, required=False)
    _, theirs = shake_hands(pki.client(client), server.context)
    return certificate_names(theirs)


def test_the_names_in_a_certificate_are_told_with_their_kind(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    assert names_of(pki.issue("eva@example.com", common_name="eva"), pki) == {"CN:eva", "email:eva@example.com"}
    assert names_of(pki.issue("eva.example.com"), pki) == {"DNS:eva.example.com"}


def test_who_shows_no_certificate_has_no_names(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    files = pki.issue("localhost")
    server = server_tls(files.certificate, files.key, pki.ca, required=False)
    _, theirs = shake_hands(pki.client(), server.context)
    assert certificate_names(theirs) == frozenset()


def test_a_certificate_with_two_common_names_has_none() -> None:
    class Peer:
        def getpeercert(self) -> dict[str, object]:
            return {"subject": ((("commonName", "eva"),), (("commonName", "bo"),)), "subjectAltName": (("DNS", "x"),)}

    assert certificate_names(Peer()) == {"DNS:x"}  # type: ignore[arg-type]  # all that it is asked


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    files = self_signed(tmp_path, "sha256")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    encrypted = serialization.BestAvailableEncryption(b"secret")
    pkcs8 = serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, encrypted))
    with pytest.raises(ConfigError, match="without a passphrase"):
        shown(files)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    one, other = pki.issue("localhost"), pki.issue("localhost")
    missing = tmp_path / "missing.pem"
    for certificate, key in ((one.certificate, other.key), (missing, one.key), (one.certificate, missing)):
        with pytest.raises(ConfigError, match="expected a certificate and its key in PEM") as refused:
            server_tls(certificate, key, None, required=False)
        assert str(certificate) in str(refused.value)
    for bad in (missing, one.key):
        with pytest.raises(ConfigError, match="certificates of authorities"):
            server_tls(one.certificate, one.key, bad, required=False)
        with pytest.raises(ConfigError, match="certificates of authorities"):
            upstream_context(bad)


def test_nobody_is_trusted_upstream_without_a_certificate_for_the_name(tmp_path: Path) -> None:
    for context in (upstream_context(None), upstream_context(Pki(tmp_path).ca)):
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
