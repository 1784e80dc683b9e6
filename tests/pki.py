"""Certificates for tests, all of them made anew: authorities, and what they sign, as files."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID

__all__ = ["Files", "Pki", "self_signed"]


@dataclass(frozen=True)
class Files:
    """A certificate and its key, in PEM."""

    certificate: Path
    key: Path


class Pki:
    """One authority that writes into a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._authority = trustme.CA()
        self._issued = 0
        self.ca = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(self.ca)

    def issue(self, *names: str, common_name: str | None = None, expired: bool = False) -> Files:
        """Return a new certificate for `names`, hosts or e-mail addresses."""
        self._issued += 1
        ended = datetime.now(UTC) - timedelta(days=1)
        leaf = self._authority.issue_cert(
            *names,
            common_name=common_name,
            not_before=ended - timedelta(days=1) if expired else None,
            not_after=ended if expired else None,
        )
        files = Files(self._folder / f"{self._issued}.pem", self._folder / f"{self._issued}.key")
        leaf.cert_chain_pems[0].write_to_path(files.certificate)
        leaf.private_key_pem.write_to_path(files.key)
        files.key.chmod(0o600)
        return files

    def client(self, shows: Files | None = None) -> ssl.SSLContext:
        """Return a client's context that trusts this authority and shows a certificate, if there is one."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if shows is not None:
            context.load_cert_chain(shows.certificate, shows.key)
        return context


def self_signed(folder: Path, kind: str) -> Files:
    """Return a certificate for localhost whose signature is `sha256`, `sha384`, `sha512` (RSA) or `ed25519`."""
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else rsa.generate_private_key(65_537, 2_048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    digests = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512(), "ed25519": None}
    certificate = built.sign(key, digests[kind])
    files = Files(folder / f"{kind}.pem", folder / f"{kind}.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files
