"""A text that begins with a word that must be understood, and cannot be read: the server says first what is wrong."""

import pytest
from tests.play import Play, error, ledger_is_down, message, until
from tests.session.stories import in_a_block

from pgnotary.judge.catalog import Catalog
from pgnotary.session.events import ClientBytes
from pgnotary.wire import messages

MISTYPED = "declare c cursor for selct 1"
SYNTAX = error("42601", 'syntax error at or near "selct"')
UNREAD = "commit" + "/**/" * 40


def batch(text: str, name: bytes = b"") -> bytes:
    return messages.parse(name, text.encode()) + messages.bind(b"", name) + messages.execute(b"") + messages.SYNC


@pytest.fixture
def mistyped(play: Play) -> Play:
    play.server.on(f"PARSE {MISTYPED}", SYNTAX)
    return play


def test_the_servers_own_error_is_the_answer(mistyped: Play) -> None:
    mistyped >> MISTYPED << f"upstream Parse {MISTYPED}" << "upstream Close" << "upstream Sync"
    mistyped << 'client ERROR 42601 syntax error at or near "selct"' << "client ready I"
    assert MISTYPED not in mistyped.server.heard
    assert mistyped.state.refused == 1


def test_in_a_block_it_fails_the_block_as_with_the_server(mistyped: Play) -> None:
    in_a_block(mistyped) >> MISTYPED << until('client ERROR 42601 syntax error at or near "selct"') << "client ready E"


def test_in_the_extended_protocol_it_is_told_at_its_parse(mistyped: Play) -> None:
    mistyped >> ClientBytes(batch(MISTYPED)) << f"upstream Parse {MISTYPED}" << "upstream Close" << "upstream Sync"
    mistyped << 'client ERROR 42601 syntax error at or near "selct"' << "client ready I"
    assert MISTYPED not in mistyped.server.heard


def test_what_stands_before_it_in_a_batch_is_answered(mistyped: Play) -> None:
    both = batch("select 1").removesuffix(messages.SYNC) + batch(MISTYPED)
    mistyped >> ClientBytes(both) << until("client SELECT 1") << until("client ERROR 42601...") << "client ready I"


@pytest.mark.parametrize("extended", [False, True])
def test_what_the_server_would_run_is_refused(play: Play, extended: bool) -> None:
    play >> (ClientBytes(batch(UNREAD)) if extended else UNREAD)
    play << "upstream Parse commit..." << "upstream Close" << "upstream Sync"
    play << "client ERROR 0A000 refused by pgnotary: it begins with COMMIT, whose effect must be known..."
    play << "client ready I"
    assert UNREAD not in play.server.heard


def test_several_statements_are_no_error_of_the_text(play: Play) -> None:
    several = messages.error_response(
        messages.Diagnostic(severity="ERROR", sqlstate="42601", message="several", routine="exec_parse_message")
    )
    play.server.on(f"PARSE {UNREAD}", several)
    play >> UNREAD << until("client ERROR 0A000 refused by pgnotary...") << "client ready I"


def test_the_server_is_not_asked_where_to_ask_may_run_code(play: Play) -> None:
    play.state.catalog = play.state.shared.catalog = Catalog(known=True, types=frozenset({"odd"}))
    play >> UNREAD << "client ERROR 0A000 refused by pgnotary..." << "client ready I"


def test_what_is_refused_and_can_be_read_is_not_asked_about(play: Play) -> None:
    play >> "set transaction_read_only = off" << "client ERROR 0A000 refused by pgnotary..." << "client ready I"


def test_a_reserved_name_over_no_text_at_all_is_refused(play: Play) -> None:
    odd = message("P", b"pgnotary_x\0\xff\0\0\0") + messages.SYNC
    play >> ClientBytes(odd) << "client ERROR 0A000 names that begin with pgnotary_..." << "client ready I"


def test_while_the_ledger_is_down_nobody_is_asked(mistyped: Play) -> None:
    mistyped >> ledger_is_down
    mistyped >> MISTYPED << "client ERROR 58030..." << "client ready I"
    mistyped >> ClientBytes(batch(MISTYPED)) << "client ERROR 58030..." << "client ready I"
    assert mistyped.server.heard == []


def test_a_parse_that_is_cut_off_is_refused_as_before(play: Play) -> None:
    odd = message("P", b"\0" + UNREAD.encode() + b"\0\0\2\0\0\0\27") + messages.SYNC
    play >> ClientBytes(odd) << "client ERROR 0A000 refused by pgnotary..." << "client ready I"
    assert play.server.heard == []
