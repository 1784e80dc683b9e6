"""SQLAlchemy as it is, over psycopg: what it sends is held, approved, denied, taken back, and expires."""

import psycopg
import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Numeric, Table, Text, create_engine, delete, func, select
from sqlalchemy import exc as errors
from sqlalchemy.orm import Session, registry
from sqlalchemy.pool import NullPool
from tests.flow.beside import deciding, left
from tests.flow.served import PASSWORD, Served

from pgnotary.approval.papers import Paper

ORDERS = Table(
    "orders", MetaData(), Column("id", Integer, primary_key=True), Column("status", Text), Column("total", Numeric)
)


class Order:
    """A row of it, for the mapper."""

    id: int
    status: str


registry().map_imperatively(Order, ORDERS)
MANY = delete(ORDERS).where(ORDERS.c.id <= 7)


def engine_of(served: Served, database: str) -> Engine:
    """Connect anew each time: a test must see the connection that it has broken off."""
    return create_engine(f"postgresql+psycopg://eva:{PASSWORD}@127.0.0.1:{served.port}/{database}", poolclass=NullPool)


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "READ COMMITTED", "REPEATABLE READ"])
def test_it_is_held_and_runs_once_it_is_signed(served: Served, database: str, level: str) -> None:
    engine = engine_of(served, database).execution_options(isolation_level=level)
    with deciding(served.approve) as papers, engine.begin() as connection:
        assert connection.execute(select(func.count()).select_from(ORDERS)).scalar_one() == 100
        assert connection.execute(MANY).rowcount == 7
    (paper,) = papers
    assert paper.statement == "DELETE FROM orders WHERE orders.id <= $1::INTEGER"
    assert paper.measured.exact == 7
    assert left(served, database) == 93
    assert served.outcome(paper.id)["result"] == "committed"


def test_a_rollback_takes_back_what_was_signed(served: Served, database: str) -> None:
    with deciding(served.approve) as papers, engine_of(served, database).connect() as connection:
        assert connection.execute(MANY).rowcount == 7
        connection.rollback()
        assert connection.execute(select(func.count()).select_from(ORDERS)).scalar_one() == 100
    assert served.outcome(papers[0].id)["result"] == "rolled-back"
    assert left(served, database) == 100


def test_a_denial_is_told_with_its_reason_and_the_connection_goes_on(served: Served, database: str) -> None:
    with deciding(served.deny), engine_of(served, database).connect() as connection:
        with pytest.raises(errors.ProgrammingError, match="add a WHERE") as told:
            connection.execute(MANY)
        assert isinstance(told.value.orig, psycopg.errors.InsufficientPrivilege)
        connection.rollback()
        assert connection.execute(select(func.count()).select_from(ORDERS)).scalar_one() == 100


def test_a_cancel_takes_it_back(served: Served, database: str) -> None:
    with engine_of(served, database).connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)

        def withdraw() -> Paper:
            paper = served.held()
            driver.cancel()
            return paper

        with deciding(withdraw) as papers, pytest.raises(errors.OperationalError) as told:
            connection.execute(MANY)
        assert isinstance(told.value.orig, psycopg.errors.QueryCanceled)
    assert served.life(papers[0].id)[-1]["type"] == "withdrawn"
    assert left(served, database) == 100


def test_what_nobody_decides_expires(undecided: list[Served], database: str) -> None:
    with engine_of(undecided[0], database).connect() as connection:
        with pytest.raises(errors.OperationalError, match="expired") as told:
            connection.execute(MANY)
        assert isinstance(told.value.orig, psycopg.errors.QueryCanceled)


def test_a_unit_of_work_is_one_transaction(served: Served, database: str) -> None:
    """The mapper reads, inserts and deletes; what it deletes is signed, and decides over all of it."""
    with deciding(served.approve) as papers, Session(engine_of(served, database)) as session:
        for order in session.scalars(select(Order).where(ORDERS.c.id <= 2)).all():
            session.delete(order)
        session.execute(ORDERS.insert(), [{"id": number, "status": "new"} for number in (1000, 1001, 1002)])
        session.commit()
    assert papers[0].context.executions == 2
    assert left(served, database) == 101
