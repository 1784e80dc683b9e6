"""SCRAM-SHA-256, both sides: how a client proves its password to us, and how we prove ours to PostgreSQL.

Messages of the exchange enter as bytes, the next message leaves; nothing here reads a socket, a clock or a source of
randomness, so nonces and salts are arguments. A password never leaves: not in a message, not in an error, not in a
`repr`. A client learns only that the exchange failed, never whether the user exists: an unknown user meets a verifier
that no password fits, made from the proxy's own secret, the same each time.

Channel binding (SCRAM-SHA-256-PLUS, tls-server-end-point alone) ties an exchange to the certificate that both sides
saw: who stands between two TLS connections fails it, and so does who only takes PLUS out of our offer. What the server
says is bounded before it is obeyed.

SASLprep is scramp's; the exchange is not, because scramp's server refuses the empty user name that libpq sends, and its
client refuses the low iteration counts that PostgreSQL allows.

Sources: RFC 5802, RFC 7677, RFC 5929, RFC 4013; PostgreSQL 18, "SASL Authentication", and
src/backend/libpq/auth-scram.c.
"""

import base64
import hashlib
import hmac
import re

from scramp.utils import ScramException, saslprep  # type: ignore[import-untyped]  # scramp has no py.typed

from pgnotary.errors import (
    ClientProtocolError,
    ConfigError,
    NotAuthenticated,
    NotSupported,
    UpstreamProtocolError,
    UpstreamRefused,
)
from pgnotary.verifier import MAX_ITERATIONS, MECHANISM, Verifier, check_iterations

__all__ = [
    "DEFAULT_ITERATIONS",
    "MECHANISM_PLUS",
    "NONCE_BYTES",
    "SALT_BYTES",
    "ScramClient",
    "ScramServer",
    "make_verifier",
    "mock_verifier",
]

MECHANISM_PLUS = f"{MECHANISM}-PLUS"
SALT_BYTES = 16
NONCE_BYTES = 18
# PostgreSQL's own (scram_iterations). More would help if a verifier were stolen, but the client pays for them at each
# login: asyncpg, which has no C for it, stops its event loop for half a second with 100,000.
DEFAULT_ITERATIONS = 4_096

_NONCE = rb"[!-+\--~]{1,256}"
_BASE64 = rb"[A-Za-z0-9+/]{1,344}={0,2}"
_EXTENSIONS = rb"(?:,[A-Za-z]=[^,\0]+)*"

# gs2-header = gs2-cbind-flag "," [ authzid ] ","; then the bare message, whose user name PostgreSQL ignores too.
_CLIENT_FIRST = re.compile(
    rb"(?P<flag>[ny]|p=tls-server-end-point),,(?P<bare>n=[^,\0]*,r=(?P<nonce>%b)%b)" % (_NONCE, _EXTENSIONS)
)
_CLIENT_FINAL = re.compile(
    rb"(?P<unproven>c=(?P<binding>[^,]+),r=(?P<nonce>%b)%b),p=(?P<proof>%b)" % (_NONCE, _EXTENSIONS, _BASE64)
)
_SERVER_FIRST = re.compile(rb"r=(?P<nonce>%b),s=(?P<salt>%b),i=(?P<iterations>[1-9][0-9]{0,6})" % (_NONCE, _BASE64))
_SERVER_FINAL = re.compile(rb"v=(?P<signature>%b)" % _BASE64)


def make_verifier(password: str, *, salt: bytes, iterations: int = DEFAULT_ITERATIONS) -> str:
    """Return the verifier of a password in PostgreSQL's own form.

    `salt` is SALT_BYTES random bytes. Raises ConfigError for an empty password, and for too few or too many iterations.
    """
    if not password:
        raise ConfigError("a password must not be empty")
    check_iterations(iterations)
    salted = _salted(password, salt, iterations)
    return str(Verifier(iterations, salt, _stored_key(salted), _hmac(salted, b"Server Key")))


def mock_verifier(user: str, secret: bytes) -> Verifier:
    """Return the verifier that an unknown user meets: always the same for a name, and no password fits it.

    Its keys are no hashes of anything, so nobody can know a ClientKey for them, not even who knows `secret`. It looks
    like any verifier with DEFAULT_ITERATIONS: give real ones another count and unknown users can be told from known.
    """
    name = user.encode(errors="replace")
    salt, stored, server = (_hmac(secret, label + b"\0" + name) for label in (b"salt", b"stored key", b"server key"))
    return Verifier(DEFAULT_ITERATIONS, salt[:SALT_BYTES], stored, server)


class ScramServer:
    """Our side of one exchange with a client: `challenge` its first message, then `verify` its second.

    `user` is the one of the start-up packet, which alone counts; `nonce` is random text of at least NONCE_BYTES bytes
    of randomness, fresh for each exchange; `end_point` is tls-server-end-point of our certificate over TLS.
    """

    def __init__(self, user: str, verifier: Verifier, nonce: str, end_point: bytes | None = None) -> None:
        self._user = user
        self._verifier = verifier
        self._end_point = end_point
        self._bound = b""
        self._own_nonce = nonce.encode()
        self._header = self._bare = self._nonce = self._first = b""

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What we offer, the best first."""
        return (MECHANISM,) if self._end_point is None else (MECHANISM_PLUS, MECHANISM)

    def challenge(self, client_first: bytes, mechanism: str = MECHANISM) -> bytes:
        """Return server-first-message to a client that has chosen one of our `mechanisms`."""
        match = _CLIENT_FIRST.fullmatch(client_first)
        if match is None:
            raise _why_not(client_first)
        self._header = match["flag"] + b",,"
        self._bound = self._check_binding(match["flag"], mechanism)
        self._bare = match["bare"]
        self._nonce = match["nonce"] + self._own_nonce
        salt, iterations = _b64(self._verifier.salt), self._verifier.iterations
        self._first = b"r=%b,s=%b,i=%d" % (self._nonce, salt.encode(), iterations)
        return self._first

    def verify(self, client_final: bytes) -> bytes:
        """Return server-final-message, or raise NotAuthenticated, which says the same whatever was wrong."""
        match = _CLIENT_FINAL.fullmatch(client_final)
        if match is None:
            raise ClientProtocolError("malformed SCRAM message: client-final-message expected")
        if not hmac.compare_digest(match["binding"], base64.b64encode(self._header + self._bound)):
            raise ClientProtocolError(
                "SCRAM channel binding check failed"
                if self._bound
                else "unexpected SCRAM channel-binding attribute in client-final-message"
            )
        if not hmac.compare_digest(match["nonce"], self._nonce):
            raise ClientProtocolError("invalid SCRAM response: the nonce does not match")
        said = b",".join((self._bare, self._first, match["unproven"]))
        if not self._proves(match["proof"], said):
            raise NotAuthenticated(f'password authentication failed for user "{self._user}"')
        return b"v=" + _b64(_hmac(self._verifier.server_key, said)).encode()

    def _check_binding(self, flag: bytes, mechanism: str) -> bytes:
        """Return what the client must be bound to; ClientProtocolError if flag, mechanism and offer disagree."""
        binds = flag.startswith(b"p")
        if binds != (mechanism == MECHANISM_PLUS):
            what = "but binds no channel" if not binds else "without channel binding, but binds a channel"
            raise ClientProtocolError(f"the client selected {mechanism} {what}")
        if binds:
            if self._end_point is None:
                raise ClientProtocolError(f"the client selected {mechanism}, which was not offered")
            return self._end_point
        # RFC 5802, section 6: "If the flag is set to "y" and the server supports channel binding, the server MUST fail
        # authentication": somebody in between has taken PLUS out of our offer.
        if flag == b"y" and self._end_point is not None:
            raise ClientProtocolError(
                "the client supports SCRAM channel binding but thinks the server does not; this server does support it"
            )
        return b""

    def _proves(self, proof: bytes, said: bytes) -> bool:
        given = _unb64(proof)
        if given is None or len(given) != 32:
            raise ClientProtocolError("malformed SCRAM message: the proof is not 32 bytes in base64")
        client_key = _xor(given, _hmac(self._verifier.stored_key, said))
        return hmac.compare_digest(hashlib.sha256(client_key).digest(), self._verifier.stored_key)


def _why_not(client_first: bytes) -> ClientProtocolError | NotSupported:
    flag, _, rest = client_first.partition(b",")
    if flag.startswith(b"p=") and flag != b"p=tls-server-end-point":
        return ClientProtocolError("unsupported SCRAM channel-binding type, expected tls-server-end-point")
    if flag in (b"n", b"y", b"p=tls-server-end-point") and rest.startswith(b"a="):
        return NotSupported("the client uses an authorization identity, which is not supported")
    if flag in (b"n", b"y") and rest.startswith(b",m="):
        return NotSupported("the client requires an unsupported SCRAM extension")
    return ClientProtocolError("malformed SCRAM message: client-first-message expected")


class ScramClient:
    """Our side of one exchange with PostgreSQL: `first`, then `final`, then `check` what it answers.

    `nonce` is random text of at least NONCE_BYTES bytes of randomness, fresh for each exchange. With an `end_point`,
    tls-server-end-point of the server's certificate, the mechanism is MECHANISM_PLUS; without one, `could_bind` says
    that there would be one and the server has not offered it, which it refuses if somebody took the offer away.
    """

    def __init__(self, password: str, nonce: str, *, could_bind: bool = False, end_point: bytes = b"") -> None:
        self._password = password
        self._own_nonce = nonce.encode()
        self._header = b"p=tls-server-end-point,," if end_point else b"y,," if could_bind else b"n,,"
        self._end_point = end_point
        self._signature = b""

    @property
    def _bare(self) -> bytes:
        # The user name of the start-up packet counts, this one is ignored: libpq leaves it empty as well.
        return b"n=,r=" + self._own_nonce

    def first(self) -> bytes:
        """Return client-first-message."""
        return self._header + self._bare

    def final(self, server_first: bytes) -> bytes:
        """Return client-final-message. May compute for a second: call it in a thread.

        Raises UpstreamProtocolError for a message that is malformed, answers another nonce, or wants too much work.
        """
        match = _SERVER_FIRST.fullmatch(server_first)
        if match is None:
            raise UpstreamProtocolError("malformed SCRAM message: server-first-message expected")
        nonce, salt, iterations = match["nonce"], _unb64(match["salt"]), int(match["iterations"])
        if not nonce.startswith(self._own_nonce) or nonce == self._own_nonce:
            raise UpstreamProtocolError("the SCRAM nonce of the server does not extend ours")
        if salt is None:
            raise UpstreamProtocolError("malformed SCRAM message: the salt is not base64")
        if iterations > MAX_ITERATIONS:
            raise UpstreamProtocolError(f"the server wants {iterations} SCRAM iterations, more than {MAX_ITERATIONS}")
        unproven = b"c=" + base64.b64encode(self._header + self._end_point) + b",r=" + nonce
        said = b",".join((self._bare, server_first, unproven))
        salted = _salted(self._password, salt, iterations)
        self._signature = _hmac(_hmac(salted, b"Server Key"), said)
        proof = _xor(_hmac(salted, b"Client Key"), _hmac(_stored_key(salted), said))
        return unproven + b",p=" + _b64(proof).encode()

    def check(self, server_final: bytes) -> None:
        """Raise UpstreamRefused unless the server has proven that it knows the password's verifier."""
        match = _SERVER_FINAL.fullmatch(server_final)
        if match is None or not self._signature:
            raise UpstreamProtocolError("malformed SCRAM message: server-final-message expected")
        if not hmac.compare_digest(_unb64(match["signature"]) or b"", self._signature):
            raise UpstreamRefused("the server does not know the verifier of our password: it is not the one we trust")


def _salted(password: str, salt: bytes, iterations: int) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", _prepared(password), salt, iterations)


def _prepared(password: str) -> bytes:
    # "If the password is not valid UTF-8, or contains prohibited characters, [...] use the original": auth-scram.c and
    # libpq do, or a password with an emoji could be set and never used.
    try:
        return (saslprep(password) or password).encode()
    except ScramException:
        return password.encode(errors="surrogateescape")


def _stored_key(salted: bytes) -> bytes:
    return hashlib.sha256(_hmac(salted, b"Client Key")).digest()


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _unb64(text: bytes) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None
