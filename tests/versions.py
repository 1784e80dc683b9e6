"""What SQL the server under test knows: texts enter, the reason why one cannot be tried there leaves.

The server is the one that `find_bin_dir` finds, so PGNOTARY_PG_BIN chooses it. A test is left out only if what it
gives to a server is spelled in a way that came with a later version; nothing here knows of a test, or of a fault.
Source: the release notes of PostgreSQL 15 to 18.
"""

import re
import subprocess
from functools import cache

import pytest

from pgnotary.demo.programs import find_bin_dir

__all__ = ["have", "lacking", "major", "need"]

_SINCE = {
    "MERGE": (15, re.compile(r"\bMERGE\s+INTO\b", re.IGNORECASE)),
    "any_value": (16, re.compile(r"\bany_value\(", re.IGNORECASE)),
    "IS JSON": (16, re.compile(r"\bIS\s+JSON\b", re.IGNORECASE)),
    "NOT MATCHED BY SOURCE": (17, re.compile(r"\bNOT\s+MATCHED\s+BY\s+SOURCE\b", re.IGNORECASE)),
    "MERGE in WITH": (17, re.compile(r"\(\s*MERGE\s+INTO\b", re.IGNORECASE)),
    "NOT ENFORCED": (18, re.compile(r"\bNOT\s+ENFORCED\b", re.IGNORECASE)),
}


@cache
def major() -> int:
    """Return the major version of the server under test."""
    command = [str(find_bin_dir() / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    assert found is not None, said
    return int(found[1])


def have(feature: str) -> bool:
    """Say whether the server under test has what came with a version."""
    return major() >= _SINCE[feature][0]


def lacking(text: str) -> str | None:
    """Return why a text cannot be given to the server under test; None if it can."""
    for feature, (since, pattern) in _SINCE.items():
        if major() < since and pattern.search(text):
            return f"PostgreSQL {major()} has no {feature}: it came with {since}"
    return None


def need(*texts: str) -> None:
    """Leave the running test out if one of the texts cannot be given to the server under test."""
    for text in texts:
        if (reason := lacking(text)) is not None:
            pytest.skip(reason)
