"""What a text has done: a server's state before and after it, compared.

An `Evasion` enters, the names of its effects leave: rows, relations, catalogs, large objects, locks held beyond the
statement, other sessions, settings, files, replication, messages in the write-ahead log, notifications. The detector is
generic: it knows nothing of the text. Everything runs in a server and a database of its own, since some texts end
sessions, and some write files.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import pq
from tests.judge.evasions import Evasion

from pgnotary.demo.postgres import EmbeddedPostgres

__all__ = ["SERVER_SETTINGS", "Bench", "bench"]

SERVER_SETTINGS = {
    # Nothing but the texts may change anything: no vacuum, no checkpoint, no statistics behind our back.
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "max_prepared_transactions": "5",
    "wal_level": "logical",
}

_OLDEST = 180000

# The tables that texts speak of, made anew for each.
_TABLES = """
DO $$
DECLARE
    it record;
BEGIN
    FOR it IN SELECT nspname AS name FROM pg_catalog.pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'witness')
    LOOP
        EXECUTE pg_catalog.format('DROP SCHEMA %I CASCADE', it.name);
    END LOOP;
    FOR it IN SELECT rolname AS name FROM pg_catalog.pg_roles WHERE oid >= 16384
    LOOP
        EXECUTE pg_catalog.format('DROP OWNED BY %1$I; DROP ROLE %1$I', it.name);
    END LOOP;
END $$;
SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata;
CREATE SCHEMA public;
GRANT USAGE ON SCHEMA public TO PUBLIC;
CREATE TABLE public.t (a int, b text);
INSERT INTO public.t SELECT n, 'row ' || n FROM pg_catalog.generate_series(1, 5) AS n;
CREATE TABLE public.k (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
INSERT INTO public.k VALUES (1, 0), (2, 0);
CREATE SEQUENCE public.s;
SELECT pg_catalog.lo_from_bytea(4711, 'large');
"""

# What can be seen from outside. Nothing of the texts' own may be called here: only pg_catalog is searched.
_WITNESS = r"""
COPY (SELECT WHERE false) TO PROGRAM 'mkdir -p evasions';
CREATE SCHEMA witness;
CREATE EXTENSION pg_walinspect SCHEMA witness;
DO $$
DECLARE
    it record;
BEGIN
    FOR it IN VALUES ('catalogs', 'count(*)'), ('newest', 'max(xmin::text::bigint)')
    LOOP
        EXECUTE (
            SELECT format('CREATE VIEW witness.%I (what, how) AS ', it.column1) || string_agg(
                format('SELECT %L, %s FROM %s', relname, it.column2, oid::regclass), ' UNION ALL ')
            FROM pg_class WHERE relkind = 'r' AND oid < 16384 AND relnamespace = 'pg_catalog'::regnamespace);
    END LOOP;
END $$;
CREATE FUNCTION witness.state(actor int) RETURNS TABLE (what text, how text)
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    it record;
BEGIN
    FOR it IN
        SELECT c.oid::regclass AS name, c.relkind AS kind
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm', 'S') AND c.relpersistence <> 't' AND c.oid >= 16384 AND n.nspname <> 'witness'
          AND NOT EXISTS (
            SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.pid = actor AND l.mode = 'AccessExclusiveLock')
    LOOP
        what := format('%s %s', CASE it.kind WHEN 'S' THEN 'sequence' ELSE 'rows of' END, it.name);
        EXECUTE format(CASE it.kind
            WHEN 'S' THEN 'SELECT concat_ws('' '', last_value, is_called) FROM %s'
            ELSE 'SELECT string_agg(r.ctid || r.xmin::text || r::text, E''\\n'') FROM ONLY %s AS r'
        END, it.name) INTO how;
        RETURN NEXT;
        CONTINUE WHEN it.kind = 'S';
        -- A row lock stays in xmax.
        what := format('row locks in %s', it.name);
        EXECUTE format('SELECT string_agg(xmax::text, '' '') FROM ONLY %s', it.name) INTO how;
        RETURN NEXT;
    END LOOP;
    RETURN QUERY
    SELECT 'storage of ' || c.oid::regclass, concat_ws(' ', c.relfilenode, c.relpages, c.reltuples, c.relallvisible,
        pg_relation_size(c.oid, 'vm')) FROM pg_class c WHERE c.oid >= 16384 AND c.relkind IN ('r', 'i', 'm')
      AND NOT EXISTS (
        SELECT FROM pg_locks l WHERE l.relation = c.oid AND l.pid = actor AND l.mode = 'AccessExclusiveLock')
    UNION ALL
    SELECT 'locks', string_agg(concat_ws(' ', l.locktype, l.mode, l.relation, l.objid), ', ' ORDER BY l::text)
    FROM pg_locks l WHERE l.pid = actor AND (l.locktype = 'advisory' OR l.relation >= 16384)
    UNION ALL
    SELECT 'session of ' || a.application_name, a.state FROM pg_stat_activity a WHERE a.application_name = 'victim'
    UNION ALL
    SELECT 'prepared transaction', p.gid FROM pg_prepared_xacts p
    UNION ALL
    SELECT 'replication slot ' || r.slot_name, concat_ws(' ', r.restart_lsn IS NULL, r.confirmed_flush_lsn)
    FROM pg_replication_slots r
    UNION ALL
    SELECT 'statistics of the database', d.stats_reset::text FROM pg_stat_database d
    WHERE d.datname = current_database()
    UNION ALL
    SELECT 'statistics of the server', concat_ws(' ', w.stats_reset, b.stats_reset, c.stats_reset)
    FROM pg_stat_wal w, pg_stat_bgwriter b, pg_stat_checkpointer c
    UNION ALL
    SELECT 'configuration loaded', pg_conf_load_time()::text
    UNION ALL
    SELECT 'checkpoint', (pg_control_checkpoint()).redo_lsn::text
    UNION ALL
    SELECT 'file ' || f.name, concat_ws(' ', f.size, f.modification) FROM pg_ls_dir('evasions') AS d,
        LATERAL (SELECT d AS name, (pg_stat_file('evasions/' || d)).*) AS f
    UNION ALL
    SELECT 'postgresql.auto.conf', pg_read_file('postgresql.auto.conf')
    UNION ALL
    SELECT 'snapshots exported', count(*)::text FROM pg_ls_dir('pg_snapshots')
    UNION ALL
    SELECT 'transaction ids', pg_snapshot_xmax(pg_current_snapshot())::text;
END $$;
"""

# Of the session that runs the text: what only it can see. Of modules those with hooks: any call may load the others.
_SESSION = """
SELECT 'setting ' || name, setting FROM pg_catalog.pg_settings WHERE source IN ('session', 'client')
UNION ALL SELECT 'user', current_user || ' ' || session_user
UNION ALL SELECT 'channel ' || channel, 'heard' FROM pg_catalog.pg_listening_channels() AS channel
UNION ALL SELECT 'cursor ' || name, is_holdable::text FROM pg_catalog.pg_cursors WHERE name <> ''
UNION ALL SELECT 'prepared statement ' || name, statement FROM pg_catalog.pg_prepared_statements
UNION ALL SELECT 'module ' || file_name, 'loaded' FROM pg_catalog.pg_get_loaded_modules()
WHERE file_name ~ '^auto_explain'
"""

# What reaches the write-ahead log and nothing else. It is told apart by its records, since reading, too, writes there.
_WAL = """
SELECT record_type FROM witness.pg_get_wal_records_info(%s, 'FFFFFFFF/FFFFFFFF')
WHERE resource_manager = 'LogicalMessage' OR record_type IN ('SWITCH', 'RESTORE_POINT')
"""

_ROWS = "SELECT what, how FROM witness.catalogs ORDER BY what"
_NEWER = "SELECT what FROM witness.newest WHERE how >= %s"
# What keeps a database from being dropped, or outlives it.
_LITTER = """
SELECT EXISTS (TABLE pg_prepared_xacts) OR EXISTS (TABLE pg_subscription) OR EXISTS (TABLE pg_replication_slots)
    OR EXISTS (TABLE pg_replication_origin) OR EXISTS (SELECT FROM pg_ls_dir('evasions'))
    OR EXISTS (SELECT FROM pg_file_settings WHERE sourcefile LIKE '%auto.conf')
"""
_FLUSHED = "SELECT %s::pg_catalog.pg_lsn < pg_catalog.pg_current_wal_flush_lsn()"

_TEMPLATE, _DATABASE = "evasions_template", "evasions"

State = Mapping[str, str | None]


class Bench:
    """A server on which texts are tried, one after the other, each in a database that is as good as fresh."""

    def __init__(self, server: EmbeddedPostgres, admin: psycopg.Connection[Any]) -> None:
        self._server = server
        self._admin = admin
        self._witness: psycopg.Connection[Any] | None = None
        self._victim: psycopg.Connection[Any] | None = None
        self._rows: dict[str, int] = {}
        self._folder = ""

    def prepare(self) -> None:
        """Make the database that the others are copies of."""
        # A session for each text: none needs 4096 rounds to prove its password.
        self._admin.execute("SET scram_iterations = 1")
        self._admin.execute(f"ALTER ROLE {self._server.superuser} PASSWORD '{self._server.password}'")
        self._admin.execute(f"CREATE DATABASE {_TEMPLATE}")
        with self._connect(_TEMPLATE) as template:
            template.execute(_WITNESS)
            template.execute(_TABLES)
            (data,) = template.execute("SHOW data_directory").fetchone() or ("",)
        self._folder = f"{data}/evasions"

    def close(self) -> None:
        """End the sessions that are still there."""
        for connection in (self._witness, self._victim):
            if connection:
                connection.close()

    def effects(self, evasion: Evasion, *, patience_s: float = 5.0) -> set[str]:
        """Run a text in its circumstances and return what it changed; what shows later than that is not seen."""
        with self._database() as witness:
            found = self._effects(evasion, witness, patience_s)
        if "session of victim" in found and self._victim:
            self._victim.close()
            self._victim = None
        return found

    @contextmanager
    def circumstances(self, evasion: Evasion) -> Iterator[psycopg.Connection[Any]]:
        """Give the client's session in a text's circumstances, before the text."""
        with self._database() as witness, self._session(evasion, witness) as actor:
            yield actor

    @contextmanager
    def _database(self) -> Iterator[psycopg.Connection[Any]]:
        """Give a session in a database that is as good as fresh."""
        witness, self._witness = self._witness or self._fresh(), None
        with ExitStack() as unless_restored:
            unless_restored.callback(witness.close)
            yield witness
            if self._is_restored(witness):
                self._witness = witness
                unless_restored.pop_all()

    @contextmanager
    def _session(self, evasion: Evasion, witness: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
        """Give the client's session, just before the text."""
        if evasion.setup:
            witness.execute(self._placed(evasion.setup.encode()))
        options = " ".join(f"-c {name}={value}" for name, value in evasion.settings.items())
        with self._connect(_DATABASE, application_name="actor", options=options) as actor:
            for text in evasion.session:
                said = _send(actor, self._placed(text.encode()), _PLAIN)
                assert not said, f"the session's {text!r} failed: {said}"
            yield actor

    def _effects(self, evasion: Evasion, witness: psycopg.Connection[Any], patience_s: float) -> set[str]:
        if not self._victim:
            self._victim = self._busy(witness)
        with self._session(evasion, witness) as actor:
            rows = dict(witness.execute(_ROWS)) if evasion.setup or evasion.session else self._rows
            (since,) = witness.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or ("",)
            before, own_before = _state(witness, actor.info.backend_pid), _own_state(actor)
            said = _send(actor, self._placed(evasion.text), evasion)
            deadline = time.monotonic() + patience_s
            while True:
                after, own_after = _state(witness, actor.info.backend_pid), _own_state(actor)
                found = _changes(before, after) | (_changes(own_before, own_after) if own_after else set())
                if list(witness.notifies(timeout=0)):
                    found.add("notification")
                if found == {"transaction ids"}:
                    found.update(what for what, how in witness.execute(_ROWS) if rows[what] != how)
                    found.update(what for (what,) in witness.execute(_NEWER, (before["transaction ids"],)))
                if not found and witness.execute(_FLUSHED, (since,)).fetchone() == (True,):
                    found.update(f"write-ahead log: {kind}" for (kind,) in witness.execute(_WAL, (since,)))
                if said:
                    # What failed and was rolled back leaves these.
                    found = {what for what in found if not what.startswith(("transaction ids", "row locks in"))}
                # Signals and checkpoints take their time.
                if found or time.monotonic() > deadline:
                    return found
                time.sleep(0.02)

    def _connect(self, database: str, **options: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self._server.dsn(database), autocommit=True, **options)  # type: ignore[arg-type]

    def _placed(self, text: bytes) -> bytes:
        return text.replace(b"/tmp/evasions", self._folder.encode())

    def _busy(self, witness: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
        """Return a session with a statement that a text may end or cancel."""
        victim = self._connect("postgres", application_name="victim")
        victim.pgconn.send_query(b"SELECT pg_sleep(3600)")
        busy = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'victim' AND state = 'active')"
        while witness.execute(busy).fetchone() != (True,):
            time.sleep(0.01)
        return victim

    def _fresh(self) -> psycopg.Connection[Any]:
        """Return a session in a new copy of the database, instead of an old one if there is any."""
        self._admin.execute(f"DROP DATABASE IF EXISTS {_DATABASE} WITH (FORCE)")
        for (name,) in self._admin.execute("SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384").fetchall():
            self._admin.execute(f"DROP ROLE {name}")
        for name in (self._server.superuser, "ALL"):
            self._admin.execute(f"ALTER ROLE {name} RESET ALL")
        self._admin.execute(f"CREATE DATABASE {_DATABASE} TEMPLATE {_TEMPLATE} STRATEGY file_copy")
        witness = self._connect(_DATABASE, application_name="witness")
        witness.execute("LISTEN c; SET lock_timeout = '5s'")
        self._rows = dict(witness.execute(_ROWS).fetchall())
        return witness

    def _is_restored(self, witness: psycopg.Connection[Any]) -> bool:
        """Undo what a text and its setup did, and say whether no trace of it is left."""
        witness.execute("ROLLBACK")
        if witness.execute(_LITTER).fetchone() == (True,):
            self._clean(witness)
        witness.execute(_TABLES)
        return dict(witness.execute(_ROWS).fetchall()) == self._rows

    def _clean(self, witness: psycopg.Connection[Any]) -> None:
        for (gid,) in witness.execute("SELECT gid FROM pg_prepared_xacts").fetchall():
            witness.execute(f"ROLLBACK PREPARED '{gid}'")
        for (name,) in witness.execute("SELECT quote_ident(subname) FROM pg_subscription").fetchall():
            witness.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
            witness.execute(f"DROP SUBSCRIPTION {name}")
        witness.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
        witness.execute("SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin")
        witness.execute("COPY (SELECT WHERE false) TO PROGRAM 'rm -f evasions/*'")
        witness.execute("ALTER SYSTEM RESET ALL")


@contextmanager
def bench() -> Iterator[Bench]:
    """Start a server and make it ready; it is gone afterwards."""
    with (
        EmbeddedPostgres(settings=SERVER_SETTINGS) as server,
        psycopg.connect(server.dsn("postgres"), autocommit=True) as admin,
    ):
        if admin.info.server_version < _OLDEST:
            pytest.skip("some texts, and some of what shows their effects, are newer than this server")
        made = Bench(server, admin)
        try:
            made.prepare()
            yield made
        finally:
            made.close()


def _state(witness: psycopg.Connection[Any], actor: int) -> State:
    return dict(witness.execute("SELECT what, how FROM witness.state(%s)", (actor,)).fetchall())


def _own_state(actor: psycopg.Connection[Any]) -> State:
    """Return what the session sees of itself; nothing if it is gone or in a failed block."""
    if actor.pgconn.status != pq.ConnStatus.OK or actor.pgconn.transaction_status == pq.TransactionStatus.INERROR:
        return {}
    return dict(actor.execute(_SESSION.encode(), prepare=False).fetchall())


def _changes(before: State, after: State) -> set[str]:
    return {what for what in before.keys() | after.keys() if before.get(what, "") != after.get(what, "")}


_PLAIN = Evasion("", "", "", b"", 0)


def _send(connection: psycopg.Connection[Any], text: bytes, evasion: Evasion) -> str:
    """Send a text as it is and return the first error, or ""."""
    server = connection.pgconn
    if evasion.protocol == "extended":
        parameters = [value.encode() for value in evasion.params]
        server.send_query_params(text, parameters, param_types=evasion.types or None)
    else:
        server.send_query(text)
    said = ""
    while (result := server.get_result()) is not None:
        match result.status:
            case pq.ExecStatus.COPY_OUT:
                while server.get_copy_data(0)[0] > 0:
                    pass
            case pq.ExecStatus.COPY_IN:
                server.put_copy_data(evasion.data.encode())
                server.put_copy_end()
            case pq.ExecStatus.FATAL_ERROR:
                said = said or result.error_message.decode(errors="replace")
                if server.status != pq.ConnStatus.OK:
                    break
            case _:
                pass
    return said
