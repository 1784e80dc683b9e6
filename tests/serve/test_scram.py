"""SCRAM-SHA-256 against its specification, another implementation, and a real PostgreSQL."""

import base64
import hashlib
import hmac
import re

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql
from scramp import ScramClient as OtherClient  # type: ignore[import-untyped]  # scramp has no py.typed
from scramp import ScramMechanism

from pgnotary.demo.postgres import EmbeddedPostgres
from pgnotary.errors import (
    ClientProtocolError,
    ConfigError,
    NotAuthenticated,
    NotSupported,
    UpstreamProtocolError,
    UpstreamRefused,
)
from pgnotary.serve.scram import (
    DEFAULT_ITERATIONS,
    MECHANISM_PLUS,
    ScramClient,
    ScramServer,
    make_verifier,
    mock_verifier,
)
from pgnotary.verifier import MECHANISM, Verifier, parse_verifier

SALT = bytes(range(16))
QUICK = 4_096
PASSWORD = "correct horse"
VERIFIER = make_verifier(PASSWORD, salt=SALT, iterations=QUICK)


def server(verifier: str | Verifier = VERIFIER, nonce: str = "server-nonce") -> ScramServer:
    known = verifier if isinstance(verifier, Verifier) else parse_verifier(verifier)
    return ScramServer("alice", known, nonce)


def log_in(ours: ScramServer, client: ScramClient) -> None:
    client.check(ours.verify(client.final(ours.challenge(client.first()))))


# The example of RFC 7677, section 3.
RFC_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
RFC_CLIENT_FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
RFC_SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
RFC_CLIENT_FINAL = (
    b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
)
RFC_SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_the_exchange_of_the_rfc_goes_as_the_rfc_says() -> None:
    verifier = make_verifier("pencil", salt=RFC_SALT, iterations=4096)
    ours = server(verifier, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert ours.challenge(RFC_CLIENT_FIRST) == RFC_SERVER_FIRST
    assert ours.verify(RFC_CLIENT_FINAL) == RFC_SERVER_FINAL


@settings(max_examples=25, deadline=None)
@given(st.text(min_size=1, max_size=20))
def test_whoever_knows_the_password_gets_in(password: str) -> None:
    log_in(server(make_verifier(password, salt=SALT, iterations=QUICK)), ScramClient(password, "client-nonce"))


def test_another_implementation_of_the_client_gets_in() -> None:
    theirs = OtherClient([MECHANISM], "alice", PASSWORD)
    ours = server()
    theirs.set_server_first(ours.challenge(theirs.get_client_first().encode()).decode())
    theirs.set_server_final(ours.verify(theirs.get_client_final().encode()).decode())


def test_another_implementation_makes_the_same_verifier() -> None:
    salt, stored, served, iterations = ScramMechanism(MECHANISM).make_auth_info(PASSWORD, 10_000, SALT)
    assert str(Verifier(iterations, salt, stored, served)) == make_verifier(PASSWORD, salt=SALT, iterations=10_000)


@pytest.mark.parametrize(
    ("set_as", "typed_as"),
    [
        ("\N{ROMAN NUMERAL NINE}", "IX"),  # RFC 4013: normalised
        ("I\N{SOFT HYPHEN}X", "IX"),  # mapped to nothing
        ("a\N{NO-BREAK SPACE}b", "a b"),  # mapped to space
        ("\N{GRINNING FACE}", "\N{GRINNING FACE}"),  # unassigned in Unicode 3.2: taken as it is
        ("bell\a", "bell\a"),  # prohibited: taken as it is
        ("\N{SOFT HYPHEN}", "\N{SOFT HYPHEN}"),  # nothing would be left: taken as it is
    ],
)
def test_a_password_may_be_typed_in_any_of_its_spellings(set_as: str, typed_as: str) -> None:
    log_in(server(make_verifier(set_as, salt=SALT, iterations=QUICK)), ScramClient(typed_as, "client-nonce"))


def test_postgresql_lets_in_whoever_has_our_verifier(postgres: EmbeddedPostgres) -> None:
    passwords = [PASSWORD, "\N{ROMAN NUMERAL NINE}\N{SOFT HYPHEN}", "\N{GRINNING FACE}"]
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        for number, password in enumerate(passwords):
            role = sql.Identifier(f"scram_{number}")
            verifier = make_verifier(password, salt=SALT)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, verifier))
            psycopg.connect(postgres.dsn("postgres", f"scram_{number}", password)).close()
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_verifier_made_by_postgresql_lets_the_password_in(postgres: EmbeddedPostgres) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE scram_made LOGIN PASSWORD {}").format(PASSWORD))
        row = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'scram_made'").fetchone()
        connection.execute("DROP ROLE scram_made")
    assert row is not None
    log_in(server(row[0]), ScramClient(PASSWORD, "client-nonce"))
    # A login costs a driver as much as it does there, and an unknown user cannot be told from this one.
    assert parse_verifier(row[0]).iterations == DEFAULT_ITERATIONS


def test_a_verifier_has_the_usual_iterations_unless_told_otherwise_and_survives_being_read() -> None:
    text = make_verifier(PASSWORD, salt=SALT)
    assert parse_verifier(text).iterations == DEFAULT_ITERATIONS
    assert str(parse_verifier(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "md5d41d8cd98f00b204e9800998ecf8427e",
        PASSWORD,
        VERIFIER + "\n",
        VERIFIER.replace("SHA-256", "SHA-1"),
        VERIFIER.replace("4096", "4095"),
        VERIFIER.replace("4096", "1000001"),
        VERIFIER.replace("4096", "04096"),
        VERIFIER.replace("4096", "-4096"),
        VERIFIER.replace("4096", "\N{ARABIC-INDIC DIGIT FOUR}096"),
        re.sub(r":.+\$", ":$", VERIFIER),
        re.sub(r":.+\$", ":!!!!$", VERIFIER),
        re.sub(r":.+\$", ":\u00e9\u00e9$", VERIFIER),
        VERIFIER[:-4],
        VERIFIER + "AAAA",
    ],
)
def test_what_is_no_verifier_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^(not a )?SCRAM verifier: ") as refusal:
        parse_verifier(text)
    assert len(text) < 10 or text not in str(refusal.value)


@pytest.mark.parametrize(("password", "iterations"), [("", QUICK), ("x", 4_095), ("x", 1_000_001), ("x", 0)])
def test_an_empty_password_or_a_strange_count_makes_no_verifier(password: str, iterations: int) -> None:
    with pytest.raises(ConfigError):
        make_verifier(password, salt=SALT, iterations=iterations)


def test_a_verifier_does_not_show_its_keys() -> None:
    verifier = parse_verifier(VERIFIER)
    assert repr(verifier) == f"Verifier(iterations=4096, salt={SALT!r})"


def test_a_wrong_password_is_told_in_the_words_of_postgresql() -> None:
    with pytest.raises(NotAuthenticated) as refusal:
        log_in(server(), ScramClient("wrong", "client-nonce"))
    assert refusal.value.message == 'password authentication failed for user "alice"'
    assert refusal.value.sqlstate == "28P01"


def test_an_unknown_user_meets_what_a_known_one_meets() -> None:
    mock = mock_verifier("nobody", b"secret")
    known = parse_verifier(make_verifier(PASSWORD, salt=SALT))
    challenges, errors = [], []
    for verifier in (known, mock):
        ours, client = server(verifier), ScramClient("guess", "client-nonce")
        challenges.append(ours.challenge(client.first()))
        with pytest.raises(NotAuthenticated) as refusal:
            ours.verify(client.final(challenges[-1]))
        errors.append(str(refusal.value))
    shapes = [re.sub(rb"s=[A-Za-z0-9+/]{22}==", b"s=", challenge) for challenge in challenges]
    assert shapes[0] == shapes[1]
    assert errors[0] == errors[1]


def test_an_unknown_user_meets_the_same_salt_each_time_and_another_for_each_name_and_secret() -> None:
    first = mock_verifier("nobody", b"secret")
    assert mock_verifier("nobody", b"secret") == first
    others = [mock_verifier("somebody", b"secret"), mock_verifier("nobody", b"other secret")]
    assert len({first.salt, *(other.salt for other in others)}) == 3


def test_the_second_message_must_repeat_the_channel_flag_of_the_first() -> None:
    for flag, binding in ((b"n", b"biws"), (b"y", b"eSws")):
        ours, client = server(), ScramClient(PASSWORD, "client-nonce")
        bare = client.first().removeprefix(b"n,,")
        challenge = ours.challenge(flag + b",," + bare)
        assert ours.verify(proven(bare, challenge, b"c=" + binding)).startswith(b"v=")
        ours.challenge(flag + b",," + bare)
        with pytest.raises(ClientProtocolError, match="channel-binding"):
            ours.verify(proven(bare, challenge, b"c=" + (b"eSws" if flag == b"n" else b"biws")))


def test_of_all_bindings_one_is_known() -> None:
    ours = ScramServer("alice", parse_verifier(VERIFIER), "server-nonce", end_point=bytes(32))
    with pytest.raises(ClientProtocolError, match="expected tls-server-end-point"):
        ours.challenge(b"p=tls-unique,,n=,r=abc", MECHANISM_PLUS)


@pytest.mark.parametrize("binding", [b"", bytes(31), bytes(33), b"\1" * 32])
def test_a_binding_is_compared_whole(binding: bytes) -> None:
    ours = ScramServer("alice", parse_verifier(VERIFIER), "server-nonce", end_point=bytes(32))
    header = b"p=tls-server-end-point,,"
    challenge = ours.challenge(header + b"n=,r=abc", MECHANISM_PLUS)
    with pytest.raises(ClientProtocolError, match="channel binding check failed"):
        ours.verify(proven(b"n=,r=abc", challenge, b"c=" + base64.b64encode(header + binding)))
    assert ours.verify(proven(b"n=,r=abc", challenge, b"c=" + base64.b64encode(header + bytes(32)))).startswith(b"v=")


def proven(bare: bytes, challenge: bytes, start: bytes) -> bytes:
    """Return a client-final-message with a true proof, whatever else it says: RFC 5802, section 3, line by line."""
    unproven = start + b"," + challenge.split(b",")[0]
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, QUICK)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored = hashlib.sha256(client_key).digest()
    signature = hmac.digest(stored, b",".join([bare, challenge, unproven]), "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return unproven + b",p=" + base64.b64encode(proof)


@pytest.mark.parametrize(
    ("client_first", "error"),
    [
        (b"p=tls-server-end-point,,n=,r=abc", ClientProtocolError),
        (b"p=tls-unique,,n=,r=abc", ClientProtocolError),
        (b"p=tls-exporter,,n=,r=abc", ClientProtocolError),
        (b"p,,n=,r=abc", ClientProtocolError),
        (b"p=tls-server-end-point,a=root,n=,r=abc", NotSupported),
        (b"n,a=root,n=,r=abc", NotSupported),
        (b"n,,m=ext,n=,r=abc", NotSupported),
        (b"", ClientProtocolError),
        (b"x,,n=,r=abc", ClientProtocolError),
        (b"n,,n=,r=", ClientProtocolError),
        (b"n,,n=,r=a\x00", ClientProtocolError),
        (b"n,,n=,r=a\n", ClientProtocolError),
        (b"n,,n=,r=" + b"a" * 257, ClientProtocolError),
        (b"n,,r=abc,n=", ClientProtocolError),
        (b"n,,n=,r=abc,", ClientProtocolError),
    ],
)
def test_a_first_message_of_another_kind_is_refused(client_first: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        server().challenge(client_first)


def test_a_first_message_may_carry_extensions() -> None:
    ours = server()
    challenge = ours.challenge(b"n,,n=,r=abc,x=y")
    assert ours.verify(proven(b"n=,r=abc,x=y", challenge, b"c=biws")).startswith(b"v=")


@pytest.mark.parametrize(
    "client_final",
    [
        b"",
        b"c=biws,r=abcserver-nonce",
        b"c=biws,r=abcserver-nonce,p=",
        b"c=biws,r=abcserver-nonce,p=AAAA",
        b"c=biws,r=abcserver-nonce,p=AAAAA",
        b"c=biws,r=abc,p=" + base64.b64encode(bytes(32)),
        b"c=biws,r=abcserver-noncf,p=" + base64.b64encode(bytes(32)),
        b"c=biwsAAAA,r=abcserver-nonce,p=" + base64.b64encode(bytes(32)),
    ],
)
def test_a_malformed_second_message_is_a_fault_of_the_client(client_final: bytes) -> None:
    ours = server()
    ours.challenge(b"n,,n=,r=abc")
    with pytest.raises(ClientProtocolError):
        ours.verify(client_final)


def test_there_is_no_second_message_without_a_first() -> None:
    with pytest.raises(ClientProtocolError):
        server().verify(b"c=biws,r=server-nonce,p=" + base64.b64encode(bytes(32)))


def test_a_proof_is_good_for_one_nonce_only() -> None:
    ours, client = server(), ScramClient(PASSWORD, "client-nonce")
    overheard = client.final(ours.challenge(client.first()))
    later = server(nonce="another-nonce")
    later.challenge(client.first())
    with pytest.raises(ClientProtocolError):
        later.verify(overheard)


@given(st.binary(max_size=100))
def test_no_bytes_get_in_or_break_the_server(junk: bytes) -> None:
    ours = server()
    with pytest.raises((ClientProtocolError, NotSupported)):
        ours.challenge(junk)
    ours.challenge(b"n,,n=,r=abc")
    with pytest.raises((ClientProtocolError, NotAuthenticated)):
        ours.verify(junk)


@pytest.mark.parametrize(
    "server_first",
    [
        b"",
        b"e=other-error",
        b"r=other,s=AAAA,i=4096",
        b"r=client-nonce,s=AAAA,i=4096",
        b"r=client-nonce!,s=AAAA,i=0",
        b"r=client-nonce!,s=AAAA,i=-1",
        b"r=client-nonce!,s=AAAA,i=1000001",
        b"r=client-nonce!,s=AAAA,i=2147483648",
        b"r=client-nonce!,s=AAAA,i=" + b"9" * 5_000,
        b"r=client-nonce!,s=A,i=4096",
        b"r=client-nonce!,s=,i=4096",
        b"r=client-nonce!,s=AAAA",
        b"r=client-nonce!,s=" + b"A" * 1_000 + b",i=4096",
        b"r=client-nonce!" + b"a" * 10_000 + b",s=AAAA,i=4096",  # CVE-2026-6665 of pgbouncer
    ],
)
def test_a_server_cannot_make_us_believe_or_compute_anything(server_first: bytes) -> None:
    client = ScramClient(PASSWORD, "client-nonce")
    with pytest.raises(UpstreamProtocolError) as refusal:
        client.final(server_first)
    assert len(str(refusal.value)) < 200
    assert PASSWORD not in str(refusal.value)


@pytest.mark.parametrize("iterations", [1, 1_000_000])
def test_a_server_may_ask_for_any_reasonable_count(iterations: int) -> None:
    client = ScramClient(PASSWORD, "client-nonce")
    assert client.final(b"r=client-nonce!,s=AAAA,i=%d" % iterations).startswith(b"c=biws,r=client-nonce!,p=")


@pytest.mark.parametrize(
    ("server_final", "error"),
    [
        (b"v=" + base64.b64encode(bytes(32)), UpstreamRefused),
        (b"v=AAAAA", UpstreamRefused),
        (b"e=invalid-proof", UpstreamProtocolError),
        (b"", UpstreamProtocolError),
    ],
)
def test_a_server_that_does_not_know_the_password_is_not_trusted(server_final: bytes, error: type[Exception]) -> None:
    client = ScramClient(PASSWORD, "client-nonce")
    client.final(b"r=client-nonce!,s=AAAA,i=4096")
    with pytest.raises(error):
        client.check(server_final)


def test_a_server_is_not_trusted_before_it_was_challenged() -> None:
    with pytest.raises(UpstreamProtocolError):
        ScramClient(PASSWORD, "client-nonce").check(b"v=AAAA")
