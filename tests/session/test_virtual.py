"""The client's own default_transaction_read_only: what it sets and what it sees, while the real one stays on."""

import pytest
from tests.play import Play, approve, error, until
from tests.session.stories import DELETE, asked_anew, held, in_a_block

NAME = "default_transaction_read_only"
OURS = f"pgnotary.{NAME}"
ON, OFF = f"client parameter {NAME}=on", f"client parameter {NAME}=off"
SCOPE = "upstream BEGIN READ ONLY; SELECT pg_catalog.to_json(pg_catalog.current_schemas(true))..."
READ_ONLY = "client ERROR 25006 cannot execute DELETE in a read-only transaction"
UNDO = "upstream ROLLBACK TO SAVEPOINT pgnotary_default; RELEASE SAVEPOINT pgnotary_default"


def look(value: str, mode: str) -> str:
    return f"upstream BEGIN; SET TRANSACTION {mode}; SET LOCAL {NAME} = {value}"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"set {NAME} = on", f"SET SESSION {OURS} = on"),
        (f"set {NAME} to 'TRUE'", f"SET SESSION {OURS} = on"),
        (f"set session {NAME} = 1", f"SET SESSION {OURS} = on"),
        ("set session characteristics as transaction read only", f"SET SESSION {OURS} = on"),
    ],
)
def test_it_is_kept_under_another_name_and_reported_under_its_own(play: Play, text: str, told: str) -> None:
    play >> text << f"upstream {told}" << "client SET" << ON << "client ready I"
    assert play.server.default_read_only
    assert not [heard for heard in play.server.heard if NAME in heard.replace(OURS, "")]


def test_it_is_reported_only_when_it_changes(play: Play) -> None:
    play >> f"set {NAME} = off" << f"upstream SET SESSION {OURS} = off" << "client SET" << "client ready I"
    play >> f"set {NAME} = on" << until(ON) << "client ready I"
    play >> f"set {NAME} = yes" << f"upstream SET SESSION {OURS} = on" << "client SET" << "client ready I"
    play >> "set session characteristics as transaction read write" << f"upstream SET SESSION {OURS} = off"
    play << "client SET" << OFF << "client ready I"


@pytest.mark.parametrize("text", [f"reset {NAME}", f"set {NAME} to default", f"set session {NAME} = default"])
def test_reset_gives_what_the_client_asked_for_when_it_came(text: str) -> None:
    for wanted in (False, True):
        with Play(user_read_only=wanted) as play:
            play >> f"set {NAME} = {'off' if wanted else 'on'}" << until(OFF if wanted else ON) << "client ready I"
            play >> text << f"upstream RESET {OURS}" << "client RESET" << (ON if wanted else OFF) << "client ready I"


@pytest.mark.parametrize("value", ["maybe", "''", "2", "on, off"])
def test_a_value_that_is_no_boolean_is_answered_as_postgresql_would(play: Play, value: str) -> None:
    play >> f"set {NAME} = {value}" << f'client ERROR 22023 parameter "{NAME}" requires a Boolean value'
    play << "client ready I"
    assert play.server.heard == []


def test_a_value_that_is_no_boolean_fails_a_block(play: Play) -> None:
    in_a_block(play) >> f"set {NAME} = maybe" << until("client ERROR 22023...") << "client ready E"


def test_set_local_outside_a_block_changes_nothing(play: Play) -> None:
    play >> f"set local {NAME} = on" << f"upstream SET LOCAL {OURS} = on" << "client SET" << "client ready I"
    held(play)


def test_under_it_nobody_is_asked_about_a_change(play: Play) -> None:
    play >> f"set {NAME} = on" << until("client ready I")
    play >> DELETE << READ_ONLY << "client ready I"
    play >> "begin" << "upstream begin" << "client BEGIN" << "client ready T"
    play >> DELETE << until(READ_ONLY) << "client ready E"
    assert DELETE not in play.server.heard


def test_begin_read_write_under_it_is_read_write(play: Play) -> None:
    play >> f"set {NAME} = on" << until("client ready I")
    play >> "begin read write" << "upstream begin read write" << "client BEGIN" << "client ready T"
    held(play) >> approve() << until("client ready T")
    play >> "commit" << until("client ready I")
    assert play.server.committed == [DELETE]
    play >> DELETE << until(READ_ONLY) << "client ready I"


def test_set_transaction_read_write_under_it_is_read_write(play: Play) -> None:
    play >> f"set {NAME} = on" << until("client ready I")
    in_a_block(play) >> "set transaction read write" << until("client ready T")
    held(play)


def test_what_is_set_in_a_block_is_for_the_next_one(play: Play) -> None:
    in_a_block(play) >> f"set {NAME} = on" << until(ON) << "client ready T"
    held(play) >> approve() << until("client ready T")
    play >> "commit" << until("client ready I")
    play >> DELETE << until(READ_ONLY) << "client ready I"


def test_a_rollback_takes_it_back(play: Play) -> None:
    in_a_block(play) >> f"set {NAME} = on" << until(ON) << "client ready T"
    play >> "rollback" << until("client ready I")
    play >> "select 1" << SCOPE << OFF << "upstream select 1" << until("client ready I")
    held(play)


def test_a_commit_keeps_it_and_takes_back_what_was_local(play: Play) -> None:
    in_a_block(play) >> f"set {NAME} = on" << until("client ready T")
    play >> "commit" << until("client ready I")
    play >> "select 1" << SCOPE << "upstream select 1" << until("client ready I")
    play >> f"reset {NAME}" << until("client ready I")
    in_a_block(play) >> f"set local {NAME} = on" << f"upstream SET LOCAL {OURS} = on" << until(ON) << "client ready T"
    play >> "commit" << until("client ready I")
    play >> "select 1" << SCOPE << OFF << "upstream select 1" << until("client ready I")


def test_a_savepoint_takes_it_back_and_show_knows(play: Play) -> None:
    in_a_block(play) >> "savepoint a" << until("client ready T")
    play >> f"set {NAME} = on" << until(ON) << "client ready T"
    play >> "rollback to a" << until("client ready T")
    play >> f"show {NAME}" << until(OFF) << f"upstream SAVEPOINT pgnotary_default; SET LOCAL {NAME} = off"
    play << f"upstream show {NAME}" << until(UNDO) << "client ready T"


def test_an_error_of_the_server_changes_nothing(play: Play) -> None:
    play.server.on(f"SET SESSION {OURS} = on", error("57014", "cancelled"))
    play >> f"set {NAME} = on" << f"upstream SET SESSION {OURS} = on" << "client ERROR 57014 cancelled"
    play << "client ready I"
    held(play)


@pytest.mark.parametrize(
    "text",
    [
        f"show {NAME}",
        "SHOW transaction_read_only",
        "show all",
        f"select current_setting('{NAME}')",
        "select pg_catalog.current_setting('transaction_read_only')",
        f"select setting from pg_catalog.pg_settings where name = '{NAME}'",
        "select * from pg_show_all_settings()",
    ],
)
def test_what_looks_at_it_sees_the_clients_own(play: Play, text: str) -> None:
    play >> text << look("off", "READ WRITE") << f"upstream {text}" << until("upstream ROLLBACK") << "client ready I"
    play >> f"set {NAME} = on" << until("client ready I")
    play >> text << look("on", "READ ONLY") << f"upstream {text}" << until("upstream ROLLBACK") << "client ready I"
    in_a_block(play) >> text << f"upstream SAVEPOINT pgnotary_default; SET LOCAL {NAME} = on"
    play << f"upstream {text}" << until(UNDO) << "client ready T"
    assert play.server.default_read_only


@pytest.mark.parametrize(
    "text",
    [
        f"select current_setting('{NAME}') from t",
        f"select current_setting('{NAME}') for update",
        f"select '{NAME}', a from public.t",
        f"show work_mem /* {NAME} */",
    ],
)
def test_what_reads_anything_of_somebody_elses_is_never_run_without_the_wall(play: Play, text: str) -> None:
    asked_anew(play) >> text << until(f"upstream {text}") << until("client ready I")
    assert not [heard for heard in play.server.heard if f"SET LOCAL {NAME}" in heard]


def test_an_error_in_what_looks_at_it_leaves_no_transaction_behind(play: Play) -> None:
    text = f"select current_setting('{NAME}'), 1/0"
    play.server.on(text, error("22012", "division by zero"))
    play >> text << look("off", "READ WRITE") << f"upstream {text}" << "client ERROR 22012 division by zero"
    play << "upstream ROLLBACK" << "client ready I"
    in_a_block(play) >> text << until("client ERROR 22012 division by zero") << "client ready E"


@pytest.mark.parametrize("other", ["select 1", "commit", "set work_mem = '1MB'"])
def test_it_is_changed_in_a_message_of_its_own(play: Play, other: str) -> None:
    play >> f"set {NAME} = off; {other}" << f"client ERROR 0A000 refused by pgnotary: {NAME} is changed in a message..."
    play << "client ready I"
    assert play.server.heard == []


def test_in_a_failed_block_it_is_not_changed(play: Play) -> None:
    play.server.on("select 1/0", error("22012", "division by zero"))
    in_a_block(play) >> "select 1/0" << until("client ready E")
    play >> f"set {NAME} = on" << "client ERROR 25P02..." << "client ready E"
    play >> "rollback" << until("client ready I")
    held(play)
