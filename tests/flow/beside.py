"""What goes on beside a driver that waits: somebody decides, and the server itself says what is there."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.flow.served import Served

from pgnotary.approval.papers import Paper

__all__ = ["LEFT", "deciding", "left"]

LEFT = "SELECT count(*) FROM orders"


@contextmanager
def deciding(decide: Callable[[], Paper]) -> Iterator[list[Paper]]:
    """Decide the next request beside the block, and hand over its paper."""
    found: list[Paper] = []
    thread = threading.Thread(target=lambda: found.append(decide()))
    thread.start()
    try:
        yield found
    finally:
        thread.join()


def left(served: Served, database: str) -> int:
    """Return how many orders are really there."""
    with served.behind(database) as behind:
        row = behind.execute(LEFT).fetchone()
    assert row is not None
    return int(row[0])
