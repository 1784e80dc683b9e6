"""Secrets in SQL: found in whatever form they are written, hidden without a trace, and nothing else is touched."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.judge.texts import ATTACKS, CORPUS, FORWARDED, PSQL

from pgnotary.judge import grammar
from pgnotary.judge.grammar import Unreadable
from pgnotary.judge.reading import read
from pgnotary.judge.secret_names import is_secret_name
from pgnotary.judge.secret_values import words_masked
from pgnotary.judge.secrets import MARKER, discreet, masked, secret_spans, told


def _masked(sql: str, runs: str = "") -> str:
    return masked(sql.encode(), runs.encode()).decode()


# --- by hand: in brackets what must be hidden -------------------------------------------------------------------------

HIDDEN = [
    # Roles.
    "ALTER ROLE bob PASSWORD ⟦'hunter2'⟧ VALID UNTIL '2026-01-01'",
    "create user bob with encrypted/**/password ⟦E'hun\\'ter2'⟧ login",
    "CREATE GROUP g PASSWORD ⟦U&'d!0061t' UESCAPE '!'⟧ USER bob",
    "ALTER USER bob PASSWORD ⟦$$hunter2$$⟧",
    "ALTER USER bob PASSWORD -- as agreed\n ⟦$a$hun$$ter2$a$⟧;",
    "ALTER USER bob PASSWORD ⟦'hun'\n'ter2'⟧",
    "ALTER USER bob PASSWORD ⟦'hun'⟧ -- and\n⟦'ter2'⟧",
    "ALTER ROLE bob SET app.api_key TO ⟦hunter2⟧",
    # Roles in texts that nobody can parse.
    "ALTER ROLE bob PASSWORD ⟦hunter2!x⟧",
    'ALTER ROLE bob PASSWORD ⟦"hunter2"⟧',
    "ALTER ROLE bob PASWORD ⟦'hunter2'⟧",
    "CREATE USER bob IDENTIFIED BY ⟦'hunter2'⟧",
    "CREATE USER bob IDENTIFIED BY ⟦hunter2⟧; SELECT 'x'",
    # Foreign servers, subscriptions, connections.
    "CREATE USER MAPPING FOR bob SERVER s OPTIONS (user 'bob', password ⟦'hunter2'⟧)",
    "ALTER USER MAPPING FOR bob SERVER s OPTIONS (SET password ⟦'hunter2'⟧, ADD \"sslkey\" ⟦'/k'⟧, SET user 'bob')",
    "ALTER SERVER s OPTIONS (ADD passfile ⟦'/p'⟧, sslpassword ⟦'hunter2'⟧, host 'h', password_required 'false')",
    "CREATE SUBSCRIPTION s CONNECTION ⟦'host=h password=hunter2'⟧ PUBLICATION p WITH (slot_name = 'x')",
    "ALTER SUBSCRIPTION s CONNECTION ⟦'host=h PassWord hunter2'⟧",
    "SELECT dblink_connect('c', ⟦'host=h password = hunter2'⟧)",
    "SELECT * FROM dblink(⟦'postgresql://u:hunter2@h'⟧, 'TABLE t')",
    "SELECT dblink_exec('c', 'ALTER ROLE x PASSWORD ⟦''hunter2''⟧')",
    "SELECT dblink_exec('c', 'DELETE FROM t')",
    "COPY t FROM PROGRAM ⟦'curl -u bob:hunter2 x'⟧",
    "COPY t TO PROGRAM ⟦'PGPASSWORD=hunter2 psql'⟧",
    "COPY t TO PROGRAM 'gzip > /tmp/x'",
    "ALTER SYSTEM SET primary_conninfo = ⟦'host=h password=hunter2'⟧",
    "SELECT ⟦'postgres://u:hun'⟧ -- c\n⟦'ter2@h'⟧",
    # Functions.
    "SELECT crypt(⟦'hunter2'⟧, gen_salt('bf', 8)), digest('x', 'sha256')",
    "SELECT pgp_sym_decrypt(d, ⟦'hunter2'⟧, 'cipher-algo=aes256')",
    "SELECT public.HMAC(d, ⟦'hunter2'⟧, 'sha256'), decrypt(d, ⟦'hunter2'⟧, 'aes')",
    "SELECT set_config('app.token', ⟦'hunter2'⟧, false), set_config('app.name', 'x', true)",
    "SELECT jsonb_build_object('password', ⟦'hunter2'⟧, 'a', 'b')",
    "SELECT add_user(name => 'bob', password => ⟦'hunter2'⟧)",
    "CALL set_password(⟦'bob'⟧, ⟦'hunter2'⟧)",
    # Settings.
    "SET LOCAL app.api_key = ⟦'hunter2'⟧",
    "SET vault.secret.value = ⟦'hunter2'⟧",
    "SET app.token TO ⟦hunter2⟧",
    # Columns.
    "INSERT INTO users (name, \"apiKey\", age) VALUES ('eva', ⟦'hunter2'⟧, 5), ('bo', crypt(⟦'hunter2'⟧, "
    "gen_salt('bf')), 6)",
    "INSERT INTO users (pin, name) VALUES (⟦4711⟧, 'eva')",
    "INSERT INTO users (name, passwd) SELECT 'eva', ⟦'hunter2'⟧ FROM t WHERE a = 'x'",
    "INSERT INTO users (n, password) SELECT a, b FROM (VALUES (⟦'eva'⟧, ⟦'hunter2'⟧)) v (a, b)",
    "WITH v (n, password) AS (VALUES (⟦'eva'⟧, ⟦'hunter2'⟧)) INSERT INTO users SELECT * FROM v",
    "UPDATE u SET note = 'x', secret = ⟦'hunter2'⟧ || ⟦'s'⟧, n = 5 WHERE id = 'z'",
    "UPDATE u SET (note, token) = ROW (⟦'x'⟧, ⟦'hunter2'⟧) WHERE id = 5",
    "UPDATE u SET password = CASE WHEN a THEN ⟦'hunter2'⟧ END, n = 'x'",
    "INSERT INTO u VALUES (1, 'x') ON CONFLICT (a) DO UPDATE SET token = ⟦'hunter2'⟧, b = 'x'",
    "MERGE INTO u USING s ON true WHEN NOT MATCHED THEN INSERT (n, token) VALUES ('x', ⟦'hunter2'⟧)",
    "SELECT ⟦'hunter2'⟧ AS password, 'x' AS a, md5(⟦'hunter2'⟧) AS token",
    "DELETE FROM s WHERE ⟦'hunter2'⟧ = s.token OR token IN (⟦'hunter2'⟧, ⟦'x'⟧) OR a IN ('x')",
    "SELECT 1 FROM s WHERE lower(token) = ⟦'hunter2'⟧ AND d ->> 'api_key' = ⟦'hunter2'⟧ AND a = 'x'",
    "CREATE TABLE t (token text NOT NULL CHECK (length(token) > 8) DEFAULT ⟦'hunter2'⟧, b text DEFAULT 'x')",
    "SELECT U&\"p\\0061ssword\" = ⟦'hunter2'⟧",
    "DELETE FROM u WHERE ('eva', ⟦'hunter2'⟧) = (name, password) OR a IN ('x')",
    "SELECT coalesce(u.token, ⟦'hunter2'⟧), coalesce(name, 'x') FROM u",
    "UPDATE u SET d = jsonb_set(d, '{a,password}', ⟦'\"hunter2\"'⟧), e = jsonb_set(e, '{a}', '1')",
    "ALTER TABLE u ALTER COLUMN password SET DEFAULT ⟦'hunter2'⟧, ALTER COLUMN a SET DEFAULT 'x'",
    "COMMENT ON ROLE eva IS ⟦'password: hunter2'⟧",
    "UPDATE u SET password = ⟦hunter2⟧ ⟦WHER⟧ ⟦id⟧ = ⟦1⟧",
    # Statements around others.
    "PREPARE p AS UPDATE u SET password = ⟦'hunter2'⟧ WHERE id = $1",
    "EXPLAIN (ANALYZE) UPDATE u SET password = ⟦'hunter2'⟧",
    "DO $$ BEGIN ALTER ROLE x PASSWORD ⟦'hunter2'⟧; PERFORM 'ok'; END $$",
    "DO $$ DECLARE pw_token text := ⟦'hunter2'⟧; n text := 'x'; BEGIN END $$",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ⟦''hunter2''⟧'; END $$",
    "DO $$ BEGIN EXECUTE format('ALTER ROLE %I PASSWORD %L', ⟦'bob'⟧, ⟦'hunter2'⟧); PERFORM 'x'; END $$",
    "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ' || quote_literal(⟦'hunter2'⟧); END $$",
    "DO $$ BEGIN EXECUTE format('INSERT INTO u (n, token) VALUES (%L, %L)', ⟦'x'⟧, ⟦'hunter2'⟧); PERFORM 'x'; END $$",
    "DO $$ BEGIN EXECUTE 'UPDATE u SET token = $1 WHERE id = $2' USING ⟦'hunter2'⟧, 5; PERFORM 'x'; END $$",
    "DO LANGUAGE plpgsql 'BEGIN ALTER ROLE x PASSWORD ⟦''hunter2''⟧; END'",
    "DO 'BEGIN EXECUTE ''ALTER ROLE x PASSWORD ⟦''''hunter2''''⟧''; DELETE FROM t; END'",
    "DO ⟦E'BEGIN ALTER ROLE x PASSWORD \\'hunter2\\'; END'⟧",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $f$ password = ⟦\"hunter2\"⟧; a = 'x' $f$",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS ⟦$f$ # it's\npassword = \"hunter2\" $f$⟧",
    # Values that are secrets wherever they stand.
    "UPDATE t SET a = ⟦'-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----'⟧, b = 'x'",
    "SELECT ⟦'SCRAM-SHA-256$4096:c2FsdA==$a:b'⟧, ⟦'md50123456789abcdef0123456789abcdef'⟧, 'x'",
    "SELECT ⟦'AKIAIOSFODNN7EXAMPLE'⟧, ⟦'eyJhbGciOi.eyJzdWIiOi.c2ln'⟧, 'x'",
    "SELECT ⟦'https://bob:hunter2@h/x'⟧, 'https://h/x?a=b', ⟦'https://h/x?api_key=hunter2'⟧",
    "SELECT ⟦'s3://k:hunter2@b'⟧, ⟦'amqp://u:hunter2@h'⟧, ⟦'redis://:hunter2@h'⟧, ⟦'mongodb+srv://u:hunter2@h'⟧",
    "SELECT ⟦'{\"a\": \"x\", \"password\": \"hunter2\"}'⟧::jsonb, '{\"a\": \"x\"}'",
    "SELECT 1 ⟦/* postgres://u:hunter2@h */⟧, 2 ⟦-- password=hunter2⟧\n, 3 -- x",
    # Texts that have no tokens.
    "UPDATE t SET note = ⟦'it\\'s', password = 'hunter2'⟧",
    "UPDATE t SET password⟦ = 'hunter2⟧",
    "SELECT ⟦$a$ hunter2⟧",
]  # fmt: skip


def _marker_of(secret: str) -> str:
    if secret.startswith(("/*", "--")):
        return "/* *** */"
    quotes = next((quotes for quotes in ("'" * 4, "'" * 2) if secret.startswith(quotes)), "'")
    return f"{quotes}***{quotes}"


@pytest.mark.parametrize("marked", HIDDEN)
def test_a_secret_is_hidden_and_nothing_else_is_touched(marked: str) -> None:
    shown = re.sub("⟦(.*?)⟧", lambda secret: _marker_of(secret[1]), marked, flags=re.DOTALL)
    assert _masked(marked.replace("⟦", "").replace("⟧", "")) == shown


def test_a_text_that_runs_and_is_hidden_with_its_secret_is_told() -> None:
    for sql in (
        "DO E'BEGIN ALTER ROLE x PASSWORD \\'hunter2\\'; DELETE FROM t; END'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$ # it's\npassword = 1 $$",
        "COPY t TO PROGRAM 'curl -u a:hunter2 http://x | sh'",
        "ALTER ROLE x PASSWORD hunter2 SUPERUSER",
        "SELECT run_with_secret('DELETE FROM t')",
        "UPDATE t SET a = 'x', password = 'hunter2",
    ):
        assert any(span.hides_code for span in secret_spans(sql.encode())), sql
    for sql in (
        "ALTER ROLE x PASSWORD 'hunter2'",
        "DO $$ BEGIN ALTER ROLE x PASSWORD 'hunter2'; DELETE FROM t; END $$",
    ):
        assert [span.hides_code for span in secret_spans(sql.encode())] == [False]


UNTOUCHED = [
    "DELETE FROM orders WHERE status = 'stale' AND note LIKE 'x%'",
    "ALTER ROLE bob PASSWORD NULL VALID UNTIL '2026-01-01'",
    "SET password_encryption = 'scram-sha-256'",
    "SELECT 1 FROM u WHERE password IS NULL AND password_changed_at > '2026-01-01' AND length(password) < 8",
    "COMMENT ON COLUMN users.password IS 'how it is hashed'",
    "SELECT 1 FROM information_schema.columns WHERE column_name = 'password' AND table_name = 'x'",
    "UPDATE usage SET max_tokens = 5, token_count = 6, token_type = 'x', tokens = tokens - 1",
    "INSERT INTO tokens (kind, label) VALUES ('x', 'y')",
    "UPDATE tokens SET kind = 'x' WHERE id = 5",
    "GRANT SELECT ON secrets TO bob",
    "UPDATE u SET password = $1 WHERE id = 'x'",
    "UPDATE u SET password = NULL, token = DEFAULT, note = 'x'",
    "SELECT gen_salt('bf', 8), 'https://h:80/x', 'a@b.c', 'host=h dbname=d', 'user:x'",
    "SELECT 'Enter your password', 'Username'",
    "DO $$ BEGIN UPDATE u SET password = p_new WHERE name = 'x'; END $$",
    "EXECUTE p('eva', 'x')",
]


@pytest.mark.parametrize("sql", UNTOUCHED)
def test_what_is_only_about_secrets_is_left_alone(sql: str) -> None:
    assert _masked(sql) == sql


def test_an_execute_hides_what_its_prepared_statement_takes_for_a_secret() -> None:
    runs = "p:\nINSERT INTO users (name, password) VALUES ($1, $2)"
    assert _masked("EXECUTE p('eva', 'hunter2')", runs) == "EXECUTE p('eva', '***')"


def test_more_comments_than_the_grammar_reads_hide_no_secret() -> None:
    sql = "/*/**/*/ -- it's\n" * 40 + "UPDATE u SET note = '/*', password = 'hunter2', n = $$x$$ /* token=hunter2 */"
    with pytest.raises(Unreadable):
        grammar.scan(sql.encode())
    left = "/*/**/*/ -- it's\n" * 40 + "UPDATE u SET note = '/*', password = '***', n = $$x$$ /* *** */"
    assert _masked(sql) == left


def test_a_secret_deep_inside_literals_is_hidden() -> None:
    sql = "ALTER ROLE x PASSWORD 'hunter2'"
    for depth in range(8):
        sql = f"DO $d{depth}$ BEGIN {sql}; END $d{depth}$"
        assert "hunter2" not in _masked(sql)


@pytest.mark.parametrize("text", [b"\xff ALTER ROLE x PASSWORD 'hunter2'", b"SELECT 'hunter2\xff'"])
def test_bytes_that_are_no_text_are_hidden_from_the_first_quote_on(text: bytes) -> None:
    assert b"hunter2" not in masked(text)


@pytest.mark.parametrize("nest", ["password = (", "crypt(decrypt(1, ", "f(", "CASE WHEN ", "token IN (", "("])
def test_a_nest_is_not_read_for_minutes(nest: str) -> None:
    sql = "SELECT " + nest * (16_000 // len(nest)) + "'hunter2'"
    pool = ThreadPoolExecutor(1)
    try:
        pool.submit(masked, sql.encode()).result(timeout=30)
    finally:
        pool.shutdown(wait=False)


def test_what_is_too_tiresome_to_read_is_hidden_as_a_whole() -> None:
    assert _masked("SELECT " + "crypt(decrypt(1, " * 900 + "'hunter2'; SELECT 'x'") == "SELECT '***'; SELECT 'x'"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    "password passwd PASSWORD userPassword user_password password_hash dbpassword pwd client_secret apiKey api_key "
    "APIKEY access_token accesstoken refresh_tokens app.jwt_secret ssl_passphrase_command private_key pin otp "
    "aws_secret_access_key password2 password_reset_token credentials sslkey passfile stripe_secret_key "
    "pw pw_hash pin_code connection_string dsn userpass totp_seed access_token_v2".split(),
)  # fmt: skip
def test_the_name_of_a_secret_is_known(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    "id name key primary_key compass bypass password_changed_at token_count tokenize secretary_id password_encryption "
    "secret_name passed spin shipping author tokens_used access_key_id secret.id passenger "
    "connection string_value seed version_v2 dsn_count".split(),
)  # fmt: skip
def test_the_name_of_something_else_is_not_taken_for_one(name: str) -> None:
    assert not is_secret_name(name)


# --- messages ---------------------------------------------------------------------------------------------------------

MESSAGES = [
    ("Failing row contains (1, hunter2secret, x).", "UPDATE u SET password = 'hunter2secret'"),
    ("syntax error at or near \"'hunter2secret'\"", "CREATE USER bob 'hunter2secret'"),
    ('syntax error at or near "hunter2secret"', "ALTER ROLE bob PASSWORD hunter2secret"),
    ("unterminated quoted string at or near \"'hunter2secret\"", "UPDATE u SET a = 'x', password = 'hunter2secret"),
    ("Syntaxfehler bei \u00bbhunter2secret\u00ab", "ALTER ROLE bob PASSWORD hunter2secret"),
    ("SQL statement \"ALTER ROLE x PASSWORD 'hunter2secret'\"",
     "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''hunter2secret'''; END $$"),
    ('invalid value "hunter2secretly-cut...', "UPDATE u SET token = 'hunter2secretly-cut-by-the-server'"),
    ("could not connect to postgresql://u:hunter2secret@h: password=hunter2secret", "SELECT 1"),
    ("statement \"ALTER ROLE x PASSWORD 'hunter2secret'\" failed", "SELECT f()"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "sql"), MESSAGES)
def test_a_message_quotes_no_secret_of_the_text_it_is_about(message: str, sql: str) -> None:
    said = told(message, sql.encode())
    assert "hunter2" not in said
    assert "***" in said


def test_a_message_that_quotes_no_secret_is_left_as_it_is() -> None:
    sql = b"UPDATE u SET password = 'a=b' = = 2, n = 'x'"
    for message in ('syntax error at or near "="', 'column "n" does not exist', "division by zero"):
        assert told(message, sql) == message


@pytest.mark.parametrize("sql", [sql for _, sql in MESSAGES[1:5]])
def test_a_reason_why_a_text_cannot_be_read_is_discreet(sql: str) -> None:
    doubt = read(sql.encode()).parts[0].doubt
    assert "hunter2" not in discreet(doubt, sql.encode())


def test_a_discreet_reason_still_names_a_slip_of_the_pen() -> None:
    assert discreet('syntax error at or near "FORM"', b"DELETE FORM t") == 'syntax error at or near "FORM"'
    assert discreet('syntax error at or near ")"', b"ALTER ROLE x PASSWORD )") == 'syntax error at or near ")"'
    assert discreet('at or near "x"', b"ALTER ROLE y PASSWORD x") == 'at or near "***"'


def test_a_message_about_a_very_long_text_quotes_nothing_of_it() -> None:
    sql = b"SELECT " + b"1, " * 30_000 + b"password = 'hunter2' x"
    assert told("near \"'hunter2'\"", sql) == 'near "***"'


def test_words_keep_all_but_their_secrets() -> None:
    words = 'see postgres://bob:hunter2@h/d, host=h password=\'hunter2\' user=u, {"token": "hunter2"}'
    assert words_masked(words) == 'see postgres://bob:***@h/d, host=h password=*** user=u, {"token": ***}'
    assert words_masked("PAY-2210: purge stale orders, token expired") == "PAY-2210: purge stale orders, token expired"


# --- properties -------------------------------------------------------------------------------------------------------

_LETTERS = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def _plain(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _escaped(value: str) -> str:
    shown = (f"\\x{ord(c):02x}" if i % 3 == 0 and ord(c) < 128 else _escape(c) for i, c in enumerate(value))
    return f"E'{''.join(shown)}'"


def _escape(character: str) -> str:
    return "\\" + character if character in "'\\" else character


def _unicode(value: str) -> str:
    return "u&'" + _points(value, "\\") + "'"


def _points(value: str, mark: str) -> str:
    shown = (f"{mark}{ord(c):04x}" if i % 3 == 1 or c in mark + "'" else c for i, c in enumerate(value))
    return "".join(shown)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": _plain,
    "escape string": _escaped,
    "unicode": _unicode,
    "unicode with its own escape": lambda value: f"U&'{_points(value, '!')}' UESCAPE '!'",
    "dollar": lambda value: f"$${value}$$",
    "dollar with a tag": lambda value: f"$q${value}$q$",
    "two lines": lambda value: f"{_plain(value[:5])}\n {_plain(value[5:])}",
    "two lines and a comment": lambda value: f"{_plain(value[:5])} -- and\n {_plain(value[5:])}",
}

BEFORE = [
    "CREATE ROLE r PASSWORD {}",
    "ALTER USER r WITH LOGIN ENCRYPTED PASSWORD {}",
    "CREATE USER MAPPING FOR r SERVER s OPTIONS ( user 'r' , password {} )",
    "ALTER USER MAPPING FOR r SERVER s OPTIONS ( SET password {} )",
    "CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS ( sslpassword {} )",
    "SELECT crypt ( {} , gen_salt ( 'bf' ) )",
    "SELECT pgp_sym_encrypt ( a , {} )",
    "SELECT hmac ( a , {} , 'sha256' )",
    "SELECT set_config ( 'app.secret' , {} , true )",
    "SET SESSION app.api_key = {}",
    "ALTER DATABASE d SET app.token TO {}",
    "INSERT INTO t ( a , passwd ) VALUES ( 1 , {} )",
    "INSERT INTO t AS x ( a , passwd , b ) SELECT 1 , {} , 2",
    "INSERT INTO t VALUES ( 1 ) ON CONFLICT ( a ) DO UPDATE SET token = {}",
    "UPDATE t SET a = 1 , api_key = {} WHERE b = 2",
    "UPDATE t SET ( a , secret ) = ( 1 , {} )",
    "MERGE INTO t USING s ON true WHEN MATCHED THEN UPDATE SET password = lower ( {} )",
    "DELETE FROM t WHERE t . token = {}",
    "DELETE FROM t WHERE token IN ( 'x' , {} )",
    "DELETE FROM t WHERE a -> 'password' = {}",
    "SELECT f ( a => 1 , password => {} )",
    "PREPARE p AS UPDATE t SET password = {}",
    "EXPLAIN ANALYZE UPDATE t SET password = {}",
    "CREATE TABLE t ( a int , token text NOT NULL DEFAULT {} )",
    "EXECUTE format ( 'ALTER ROLE r PASSWORD %L' , {} )",
]
"""What tells of a secret stands before it."""

BEHIND = [
    "SELECT {} AS password , 1",
    "SELECT {} token FROM t",
    "DELETE FROM t WHERE {} = t . token",
    "DELETE FROM t WHERE {} = ANY ( tokens )",
    "SELECT upper ( {} ) AS api_key",
]

VALUES = [
    "host=h user=u password={}",
    "password = '{}' host=h",
    "postgresql://u:{}@h:5432/d?sslmode=require",
    "HTTPS://u:{}@h/x",
    "redis://:{}@h",
    "https://h/x?access_token={}",
    "-----BEGIN OPENSSH PRIVATE KEY-----{}",
    '{{"user": "u", "password": "{}"}}',
    "SCRAM-SHA-256$4096:{}$a:b",
    "eyJhbGciOi.eyJzdWIi.{}",
    "AccountName=x;AccountKey={};",
    "Authorization: Bearer {}",
]
PLACES = [
    "SELECT {}",
    "SELECT dblink_connect ( 'c' , {} )",
    "CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p",
    "COPY t TO PROGRAM {}",
    "INSERT INTO t VALUES ( 1 , {} )",
    "UPDATE t SET a = {} WHERE b = 1",
    "SET x.y = {}",
]

_gaps = st.sampled_from([" ", "  ", "\n", "\t", "/* a */", " -- a\n", "\r\n", "/*/**/*/ "])
_secrets = st.text(_LETTERS, min_size=12, max_size=40).map(lambda letters: "Zq" + letters)
_odd_secrets = st.text(_LETTERS + "'\\\"$@:/ %é\u20ac", min_size=12, max_size=30).map(lambda letters: "Zq" + letters)
_forms = st.sampled_from(sorted(FORMS))


@st.composite
def _spelled(draw: st.DrawFn, template: str, literal: str) -> str:
    """Return a template in some case and spacing, with the literal in its place."""
    words = [literal if word == "{}" else _cased(draw, word) for word in template.split(" ")]
    return "".join(word + draw(_gaps) for word in words)


def _cased(draw: st.DrawFn, word: str) -> str:
    if "'" in word:
        return word
    return "".join(each.upper() if draw(st.booleans()) else each.lower() for each in word)


def _shows(text: str, secret: str) -> bool:
    """Say whether any part of a secret that tells something stands in a text."""
    return any(secret[i : i + 5] in text for i in range(len(secret) - 4))


def _fits(form: str, value: str) -> bool:
    return not form.startswith("dollar") or not re.search(r"\$(q)?\$|\$q?\Z", value)


@given(st.data(), st.sampled_from([*BEFORE, *BEHIND]), _forms, _secrets | _odd_secrets)
def test_a_planted_secret_never_shows(data: st.DataObject, template: str, form: str, secret: str) -> None:
    if not _fits(form, secret):
        return
    literal = FORMS[form](secret)
    sql = data.draw(_spelled(template, literal))
    shown = _masked(sql)
    assert not _shows(shown, secret)
    assert literal not in shown


@given(st.data(), st.sampled_from(PLACES), st.sampled_from(VALUES), _forms, _secrets)
def test_a_planted_value_never_shows(data: st.DataObject, place: str, value: str, form: str, secret: str) -> None:
    sql = data.draw(_spelled(place, FORMS[form](value.format(secret))))
    assert not _shows(_masked(sql), secret)


@given(st.data(), st.sampled_from([*BEFORE, *BEHIND]), _forms, _secrets, st.sampled_from(["dollar", "plain"]))
def test_a_secret_inside_a_body_never_shows(
    data: st.DataObject, template: str, form: str, secret: str, outer: str
) -> None:
    inner = data.draw(_spelled(template, FORMS[form](secret)))
    body = f" BEGIN PERFORM 'x'; {inner} ; END "
    quoted = f"$body${body}$body$" if outer == "dollar" else _plain(body)
    for sql in (f"DO {quoted}", f"CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS {quoted}"):
        assert not _shows(_masked(sql), secret)


@given(
    st.data(),
    st.sampled_from(BEFORE),
    _forms,
    _secrets,
    st.sampled_from([" ) oops (", " ,, '", " $z$ x", " /* x", "\x00"]),
)
def test_a_mistake_in_the_text_brings_no_secret_to_light(
    data: st.DataObject, template: str, form: str, secret: str, mistake: str
) -> None:
    sql = data.draw(_spelled(template, FORMS[form](secret)))
    assert not _shows(_masked(sql + mistake), secret)
    assert not _shows(_masked(mistake + sql), secret)


@given(st.data(), st.sampled_from(BEFORE), st.sampled_from(["plain", "dollar", "dollar with a tag"]), _secrets)
def test_a_text_that_was_cut_off_shows_no_part_of_a_secret(
    data: st.DataObject, template: str, form: str, secret: str
) -> None:
    sql = data.draw(_spelled(template, FORMS[form](secret)))
    cut = data.draw(st.integers(0, len(sql)))
    assert not _shows(_masked(sql[:cut]), secret)


_fragments = st.sampled_from(
    "' '' \" $$ $q$ -- /* */ ( ) , ; = E' U&' \\ UESCAPE '!' password PASSWORD token 'x' SET INSERT INTO VALUES ALTER "
    "ROLE DO AS SELECT crypt password=x postgres://u:p@h \n 5 $1 é \x1b".split(" ")
)  # fmt: skip
_texts = st.lists(_fragments, max_size=30).map(" ".join) | st.lists(_fragments, max_size=12).map("".join) | st.text()


@given(_texts)
def test_masking_again_changes_nothing(text: str) -> None:
    once = masked(text.encode(errors="surrogatepass"))
    assert masked(once) == once


@given(_texts)
def test_whatever_lies_outside_of_secrets_is_unchanged(text: str) -> None:
    raw = text.encode(errors="surrogatepass")
    spans = secret_spans(raw)
    kept, at = [], 0
    for span in spans:
        assert at <= span.start < span.end <= len(raw)
        kept.append(raw[at : span.start])
        at = span.end
    pattern = b"(?:'+\\*\\*\\*'+|/\\* \\*\\*\\* \\*/)".join(map(re.escape, [*kept, raw[at:]]))
    assert re.fullmatch(pattern, masked(raw), re.DOTALL)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_marker_tells_nothing_of_the_length(form: str) -> None:
    shown = {_masked(f"ALTER ROLE r PASSWORD {FORMS[form]('hunter2' * times)}") for times in (1, 2, 9)}
    assert len(shown) == 1
    assert MARKER.decode() in shown.pop()


def test_masking_ordinary_statements_again_changes_nothing() -> None:
    for sql in [*FORWARDED, *ATTACKS.values(), *(row["sql"] for row in (*CORPUS, *PSQL))]:
        if len(sql) < 16_384:
            once = masked(sql.encode())
            assert masked(once) == once


@pytest.mark.parametrize("name", ["a deep nest of sub-selects", "subscripts in a row", "many nests side by side"])
def test_a_harmless_nest_is_shown_as_it_is(name: str) -> None:
    assert _masked(ATTACKS[name]) == ATTACKS[name]


def test_ordinary_statements_keep_their_literals() -> None:
    """What psql itself asks, and what the judge's tests call harmless, holds no secret."""
    touched = [sql for sql in [*FORWARDED, *(row["sql"] for row in PSQL)] if _masked(sql) != sql]
    assert touched == []
