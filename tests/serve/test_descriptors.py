"""A process that may open too few files asks for more, and says what it did not get."""

import subprocess
import sys

import pytest

# The limits of a process cannot be raised again, so each try has one of its own.
_TRY = """
import resource, sys
from pgnotary.serve.descriptors import make_room
soft, hard, clients, logins, callers = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
missing = make_room(clients, logins, callers)
print(missing, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "clients", "missing", "raised"),
    [
        (256, 1_000, 100, 0, 378),
        (900, 1_000, 100, 0, 900),
        (256, 1_000, 500, 178, 1_000),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may_be(soft: int, hard: int, clients: int, missing: int, raised: int) -> None:
    arguments = map(str, (soft, hard, clients, 10, 30))
    done = subprocess.run([sys.executable, "-c", _TRY, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(missing), str(raised)]
