"""Secrets that are bound to a text: each is found where a literal would be, and by what it is."""

import re
from collections.abc import Sequence

import pytest

from pgnotary.judge.bound_secrets import Bindings, BoundPlaces
from pgnotary.judge.secrets import masked

# In brackets the parameters whose values must not be shown; $n stands for the n-th value.
PLACES = [
    "UPDATE users SET name = $1, password = ⟦$2⟧ WHERE id = $3",
    "UPDATE users AS u SET (name, password) = (⟦$1⟧, ⟦$2⟧) WHERE u.id = $3",
    "UPDATE users SET password = ⟦$1⟧::text, note = $2",
    "UPDATE users SET password = CAST(⟦$1⟧ AS text), note = $2",
    "UPDATE users SET password = coalesce(⟦$1⟧, password), note = $2",
    "UPDATE users SET password = ⟦$1⟧ || 'x' || note, note = $2",
    "UPDATE users SET password = upper(trim(⟦$1⟧)), note = $2",
    "UPDATE users SET password = CASE WHEN id = ⟦$1⟧ THEN ⟦$2⟧ ELSE password END, note = $3",
    "UPDATE users SET note = $1 WHERE token = ⟦$2⟧",
    "UPDATE users SET password = v.p FROM (VALUES (⟦$1⟧, ⟦$2⟧)) AS v (id, p) WHERE v.id = id AND n = $3",
    "UPDATE users SET password = v.p FROM unnest(⟦$1⟧::int[], ⟦$2⟧::text[]) AS v (id, p) WHERE v.id = id AND n = $3",
    "UPDATE users SET password = v.p FROM a, LATERAL unnest(⟦$1⟧::text[]) AS v (p) WHERE v.id = users.id AND n = $2",
    "INSERT INTO users (name, password) (SELECT $1, ⟦$2⟧)",
    "INSERT INTO users (name, password) (VALUES ($1, ⟦$2⟧), ($3, ⟦$4⟧)) ON CONFLICT (id) DO UPDATE SET note = $5",
    "INSERT INTO users (name, password) ((SELECT $1, ⟦$2⟧) UNION SELECT $3, ⟦$4⟧) RETURNING $5",
    "INSERT INTO users (name, password) SELECT DISTINCT ON ($1) $2, ⟦$3⟧",
    "SELECT dblink_connect('host=h password=' || ⟦$1⟧)",
    "DELETE FROM sessions WHERE token IN (⟦$1⟧, ⟦$2⟧) AND id = $3",
    "DELETE FROM sessions WHERE token NOT IN (⟦$1⟧, ⟦$2⟧) AND id = $3",
    "DELETE FROM sessions WHERE token = ANY(⟦$1⟧) AND id = ANY($2)",
    "DELETE FROM sessions WHERE token = ANY (ARRAY[⟦$1⟧, ⟦$2⟧]::text[]) AND id = $3",
    "DELETE FROM sessions WHERE ⟦$1⟧ = token AND id = $2",
    "DELETE FROM sessions WHERE $2 = id AND ⟦$1⟧::text = sessions.token",
    "DELETE FROM sessions WHERE id = $2 AND CAST(⟦$1⟧ AS text) = token",
    "DELETE FROM sessions WHERE id = $2 AND CAST(⟦$1⟧ AS varchar(10)) = token",
    "DELETE FROM sessions WHERE id = $2 AND md5(⟦$1⟧) = token",
    "DELETE FROM sessions WHERE id = $2 AND ⟦$1⟧ = lower(token)",
    "DELETE FROM sessions WHERE id = $2 AND ⟦$1⟧ = coalesce(token, '')",
    "DELETE FROM sessions WHERE id = $2 AND ⟦$1⟧ = ANY (tokens)",
    "DELETE FROM sessions WHERE id = $2 AND ⟦$1⟧ = ANY (ARRAY[token, note])",
    "DELETE FROM sessions WHERE id = $2 AND ⟦$1⟧ IN (note, token)",
    "DELETE FROM sessions WHERE id = $2 AND ⟦$1⟧ IS NOT DISTINCT FROM token",
    "DELETE FROM sessions WHERE (id, token) = (⟦$1⟧, ⟦$2⟧) AND n = $3",
    "DELETE FROM sessions WHERE (token, id) = (⟦$1⟧, $2) AND n = $3",
    "DELETE FROM sessions WHERE (⟦$1⟧, ⟦$2⟧) = (token, id) AND n = $3",
    "DELETE FROM sessions WHERE ($1, ⟦$2⟧) = (id, token) AND n = $3",
    "DELETE FROM sessions WHERE ROW(⟦$1⟧, $2) = ROW(token, id) AND n = $3",
    "DELETE FROM sessions WHERE (id, token) IN ((⟦$1⟧, ⟦$2⟧), (⟦$3⟧, ⟦$4⟧)) AND n = $5",
    "DELETE FROM sessions WHERE (token, id) IN ((⟦$1⟧, $2), (⟦$3⟧, $4)) AND n = $5",
    "DELETE FROM sessions WHERE (⟦$1⟧, ⟦$2⟧) IN (SELECT token, id FROM t) AND n = $3",
    "DELETE FROM sessions WHERE token BETWEEN ⟦$1⟧ AND ⟦$2⟧ AND id BETWEEN $3 AND $4",
    "DELETE FROM sessions WHERE token LIKE ⟦$1⟧ AND id = $2",
    "DELETE FROM sessions WHERE token SIMILAR TO ⟦$1⟧ AND id = $2",
    "DELETE FROM sessions WHERE starts_with(token, ⟦$1⟧) AND id = $2",
    "DELETE FROM sessions WHERE strpos(token, ⟦$1⟧) > 0 AND id = $2",
    "DELETE FROM sessions WHERE tokens @> ARRAY[⟦$1⟧] AND id = $2",
    "DELETE FROM sessions WHERE ARRAY[⟦$1⟧] <@ tokens AND id = $2",
    "DELETE FROM sessions WHERE tokens && ⟦$1⟧ AND id = $2",
    "DELETE FROM sessions WHERE data ->> 'password' = ⟦$1⟧ AND data ->> 'name' = $2",
    "INSERT INTO users (name, password) VALUES ($1, ⟦$2⟧), ($3, ⟦$4⟧)",
    "INSERT INTO users (name, password) VALUES ($1, ⟦$2⟧::text)",
    "INSERT INTO users (name, password) SELECT $1, ⟦$2⟧ WHERE 1 = $3",
    "INSERT INTO users (name, password) SELECT $1, ⟦$2⟧ UNION ALL SELECT $3, ⟦$4⟧",
    "INSERT INTO users (name, password) SELECT unnest($1::text[]), unnest(⟦$2⟧::text[])",
    "INSERT INTO users (name, password) SELECT * FROM unnest(⟦$1⟧::text[], ⟦$2⟧::text[])",
    "INSERT INTO users (name, password) SELECT n, p FROM unnest(⟦$1⟧::text[], ⟦$2⟧::text[]) AS u (n, p)",
    "INSERT INTO users (name, password) SELECT n, p FROM json_to_recordset(⟦$1⟧) AS u (n text, p text) WHERE 1 = $2",
    "INSERT INTO users (name, password) SELECT e ->> 'n', e ->> 'p' FROM t, jsonb_array_elements(⟦$1⟧) AS e",
    "INSERT INTO users (name, password) VALUES (⟦$1⟧, ⟦$2⟧)"
    " ON CONFLICT (name) DO UPDATE SET password = excluded.password",
    "INSERT INTO users (id, note) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET password = ⟦$3⟧",
    "WITH v (name, password) AS (VALUES (⟦$1⟧, ⟦$2⟧)) INSERT INTO users SELECT * FROM v",
    "MERGE INTO users USING (VALUES (⟦$1⟧, ⟦$2⟧)) AS s (id, pw) ON s.id = users.id AND n = $3"
    " WHEN MATCHED THEN UPDATE SET password = s.pw WHEN NOT MATCHED THEN INSERT (id, password) VALUES (s.id, s.pw)",
    "MERGE INTO users USING (SELECT $1::int AS id, ⟦$2⟧ AS password) AS s ON s.id = users.id"
    " WHEN MATCHED THEN UPDATE SET password = s.password",
    "MERGE INTO users USING (SELECT $1::int AS id, ⟦$2⟧::text AS pw) AS s ON s.id = users.id AND n = $3"
    " WHEN NOT MATCHED THEN INSERT (id, password) VALUES (s.id, s.pw)",
    "WITH s AS (SELECT $1::int AS id, ⟦$2⟧ pw) UPDATE users SET password = s.pw FROM s WHERE n = $3",
    "INSERT INTO users (name, password) SELECT * FROM (SELECT ⟦$1⟧, ⟦$2⟧) AS s WHERE 1 = $3",
    "DELETE FROM sessions WHERE $1 IN (SELECT id FROM s WHERE token = ⟦$2⟧) AND n = $3",
    "SELECT crypt(⟦$1⟧, gen_salt('bf')), $2",
    "SELECT pgp_sym_encrypt(⟦$1⟧, ⟦$2⟧), $3",
    "SELECT set_config('app.api_key', ⟦$1⟧, false), set_config('app.name', $2, false)",
    "SELECT jsonb_build_object('name', $1, 'password', ⟦$2⟧)",
    "UPDATE users SET data = jsonb_set(data, '{password}', to_jsonb(⟦$1⟧::text)) WHERE id = $2",
    "SELECT change_password($1, ⟦$2⟧)".replace("$1", "⟦$1⟧"),
    "SELECT f(name => $1, password => ⟦$2⟧)",
    "SELECT dblink_exec('c', 'ALTER ROLE eva PASSWORD ' || quote_literal(⟦$1⟧))",
    "SELECT dblink_exec('c', format('ALTER ROLE %I PASSWORD %L', ⟦$1⟧, ⟦$2⟧))",
    "DELETE FROM sessions WHERE id = $1 AND password_changed_at < $2",
]


def _told(marked: str) -> tuple[str, set[int], int]:
    """Return a text without its brackets, the parameters in them, and how many it has."""
    numbers = {int(number) for number in re.findall(r"\$([0-9]+)", marked)}
    return re.sub("[⟦⟧]", "", marked), {int(number) for number in re.findall(r"⟦\$([0-9]+)⟧", marked)}, max(numbers)


def _places(text: str, values: Sequence[str | None], runs: str = "") -> BoundPlaces:
    return Bindings(text.encode(), runs.encode()).places(values)


@pytest.mark.parametrize("marked", PLACES)
def test_a_value_is_hidden_where_a_literal_would_be_and_nowhere_else(marked: str) -> None:
    text, hidden, most = _told(marked)
    values = [f"hunter{number}" for number in range(1, most + 1)]
    assert _places(text, values).hidden == hidden
    assert Bindings(text.encode()).parameters() == hidden
    literally = masked(re.sub(r"\$([0-9]+)", r"'hunter\1'", text).encode()).decode()
    assert {number for number in range(1, most + 1) if f"'hunter{number}'" not in literally} == hidden


@pytest.mark.parametrize(
    ("text", "values", "hidden"),
    [
        ("SELECT set_config($1, $2, false)", ["app.api_key", "x"], {2}),
        ("SELECT set_config($1, $2, false)", ["app.name", "x"], set()),
        ("SELECT jsonb_build_object($1, $2, $3, $4)", ["name", "eva", "password", "x"], {4}),
        ("UPDATE t SET data = data || $1 WHERE id = $2", ['{"name": "eva", "password": "x"}', "1"], {1}),
        ("UPDATE t SET note = $1 WHERE id = $2", ["postgresql://eva:hunter2@db/shop", "1"], {1}),
        ("UPDATE t SET note = $1", ["-----BEGIN PRIVATE KEY-----\nMIIE"], {1}),
        ("UPDATE t SET note = $1", ["eyJhbGciOi.eyJzdWIiOi.c2lnbmF0"], {1}),
        ("DELETE FROM t WHERE data ->> $1 = $2", ["password", "x"], {2}),
        ("SELECT dblink_connect($1)", ["host=db PassWord hunter2"], {1}),
        ("SELECT dblink_exec('c', $1 || $2)", ["ALTER ROLE eva PASSWORD ", "x"], {2}),
        ("UPDATE t SET note = $1, n = $2", [None, "5"], set()),
    ],
)  # fmt: skip
def test_what_is_bound_can_make_a_secret_of_itself_or_of_another(
    text: str, values: list[str | None], hidden: set[int]
) -> None:
    assert _places(text, values).hidden == hidden


def test_an_execute_takes_for_a_secret_what_its_prepared_statement_does() -> None:
    runs = "p:\nUPDATE users SET name = $1, password = $2"
    assert _places("EXECUTE p($2, $1)", ["x", "eva"], runs).hidden == {1}
    assert _places("EXECUTE p($2, upper($1::text))", ["x", "eva"], runs).hidden == {1}
    assert masked(b"EXECUTE p('eva', 'x')", runs.encode()) == b"EXECUTE p('eva', '***')"
    telling = "p:\nSELECT set_config($1, $2, false)"
    assert _places("EXECUTE p($1, $2)", ["app.token", "x"], telling).hidden == {2}
    assert masked(b"EXECUTE p('app.token', 'x')", telling.encode()) == b"EXECUTE p('app.token', '***')"
    assert masked(b"EXECUTE p('app.name'::text, 'x')", telling.encode()) == b"EXECUTE p('app.name'::text, 'x')"
    # What nobody can read may take anything for a secret.
    assert masked(b"EXECUTE p('eva', 'x')", b"p:\nSELECT '") == b"EXECUTE p('***', '***')"


def test_a_text_that_runs_is_told_apart_from_a_value() -> None:
    found = _places("SELECT dblink_exec('c', $1)", ["DELETE FROM t"])
    assert (set(found.hidden), set(found.code)) == (set(), {1})


def test_of_what_nobody_can_take_apart_all_is_hidden() -> None:
    assert _places("SELECT $1, '", ["x", "y"]).hidden == {1, 2}
    nest = "SELECT " + "coalesce(" * 5_000 + "$1" + ", password)" * 5_000
    assert _places(nest, ["x"]).hidden == {1}
