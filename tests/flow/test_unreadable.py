"""Texts that begin with a word of control and cannot be read: on a real server, its error is the one that is told."""

import psycopg
import pytest
from psycopg import errors
from tests.flow.beside import left
from tests.flow.raw import raw_client, without_notices
from tests.flow.served import PASSWORD, Served

from pgnotary.wire import messages


@pytest.mark.parametrize(
    "text", [b"DECLARE c CURSOR FOR SELCT 1", b"COMMIT WRK", b"SET x ==", b"EXECUTE", b"MOVE 1 2 3 c"]
)
def test_a_mistyped_word_of_control_gets_the_servers_own_error(served: Served, database: str, text: bytes) -> None:
    with served.behind(database) as connection, pytest.raises(errors.SyntaxError) as theirs:
        connection.execute(text)
    for begin in (b"", b"BEGIN"):
        with served.connect(database) as client:
            client.execute(begin or b"SELECT 1")
            with pytest.raises(errors.SyntaxError) as ours:
                client.execute(text)
            assert (str(ours.value), ours.value.diag.statement_position) == (
                str(theirs.value),
                theirs.value.diag.statement_position,
            )
            assert client.info.transaction_status.name == ("INERROR" if begin else "IDLE")
    with served.connect(database, cursor_factory=psycopg.Cursor) as client:
        with pytest.raises(errors.SyntaxError):
            client.execute(text, binary=True)
        assert client.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("extended", [False, True])
def test_control_that_only_the_server_can_read_is_refused_and_does_nothing(
    served: Served, database: str, extended: bool
) -> None:
    text = b"COMMIT" + b"/**/" * 40
    run_it = messages.parse(b"", text) + messages.bind(b"", b"") + messages.execute(b"") + messages.SYNC
    with raw_client("127.0.0.1", served.port, "eva", PASSWORD, database) as client:
        client.send(messages.query(b"BEGIN") + messages.query(b"INSERT INTO orders VALUES (200, 'new')"))
        client.until_ready(2)
        client.send(run_it if extended else messages.query(text))
        assert without_notices(client.until_ready()) == ["E 0A000", "Z E"]
        client.send(messages.query(b"ROLLBACK"))
        assert client.until_ready() == ["C ROLLBACK", "Z I"]
    assert left(served, database) == 100
