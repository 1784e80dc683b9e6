"""A statement that is approved, and what its sample says against what stood before it ran and what stands after it."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
from tests.flow.served import Served
from tests.versions import need

from pgnotary.approval.papers import Paper
from pgnotary.request.decision import Answer
from pgnotary.request.sample import Becomes, Sample


class Run:
    """A statement that is held, approved, run in a block, looked at from inside of it, and rolled back."""

    def __init__(self, proxy: Served, her: psycopg.Connection[Any], sql: str, role: str = "") -> None:
        need(sql)
        if role:
            her.execute(f"SET ROLE {role}".encode())
        worker = threading.Thread(target=lambda: her.execute(sql.encode()))
        worker.start()
        self.paper: Paper = proxy.held()
        proxy.decide(self.paper, Answer.APPROVE)
        worker.join(60)
        self.after = self._stands(her)
        her.rollback()
        self.before = self._stands(her)
        her.rollback()

    @property
    def sample(self) -> Sample:
        found = self.paper.measured.sample
        assert found is not None, self.paper.measured
        return found

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.sample.columns]

    @property
    def rows(self) -> list[list[str | None]]:
        return [[value.text for value in row] for row in self.paper.rows]

    def _stands(self, connection: psycopg.Connection[Any]) -> Counter[tuple[str | None, ...]]:
        """Return all rows of the sample's relation, with the columns that the sample has, as the server spells them."""
        if not self.paper.rows:
            return Counter()
        names = ", ".join(f"""format('%s', "{name.replace('"', '""')}")""" for name in self.names)
        nulls = ", ".join(f""""{name.replace('"', '""')}" IS NOT DISTINCT FROM NULL""" for name in self.names)
        rows = connection.execute(f"SELECT {names}, {nulls} FROM {self.sample.relation}".encode()).fetchall()
        width = len(self.names)
        return Counter(
            tuple(None if row[width + place] else row[place] for place in range(width)) for row in map(tuple, rows)
        )

    def old_and_new(self) -> Iterator[tuple[tuple[str | None, ...], tuple[str | None, ...]]]:
        """Yield each row as it stood, and as the sample says that it would become."""
        for row in self.rows:
            old = row[: len(self.names)]
            new, told = list(old), iter(row[len(self.names) :])
            for place, column in enumerate(self.sample.columns):
                if column.becomes is Becomes.SHOWN:
                    new[place] = next(told)
            yield tuple(old), tuple(new)
