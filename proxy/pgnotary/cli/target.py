"""Which request is meant: `R-1`, or `R-1@` and the first hex digits of its digest. Words enter, a target leaves.

The digest is that of the context, which is all that a decision is over: the request and its preview. It may be the leaf
hash of the request's entry alone, where nothing is signed over the preview, or where a person is asked, who has read
the page: a few digits of either are enough then. For a script they are not: whoever runs the proxy finds two requests
that share their first eight in a second, could show it the one and have it sign over the other.
"""

import re
from dataclasses import dataclass

import click

__all__ = ["Target", "at_digest", "check_said", "check_whole", "is_id", "read_id", "read_target"]

_WHOLE = 64
# Of a digest, in a question: the page above it has all of it.
_ASKED = 16

_TARGET = re.compile(r"(R-[1-9][0-9]{0,17})(?:@([0-9A-Fa-f]{8,64}))?")


@dataclass(frozen=True, slots=True)
class Target:
    """A request, and the first hex digits of its digest if they were said."""

    id: str
    prefix: str = ""


def at_digest(name: str, digest: str) -> str:
    """Return what a question is about: a name, and the first hex digits of what is signed by that name."""
    return f"{name}@{digest[:_ASKED]}"


def check_whole(digest: str, behind: str, source: str) -> None:
    """Raise UsageError unless all of a digest was said behind some words: fewer digits are no name of one thing only.

    `source`: where all of it can be read.
    """
    if len(digest) != _WHOLE:
        found = f"found {len(digest)}" if digest else "found none"
        raise click.UsageError(f"--yes needs all {_WHOLE} hex digits of the digest behind {behind}, {found}: {source}")


def check_said(target: Target, field: str) -> None:
    """Raise UsageError unless a whole digest was said; `field`: which of those that `show --json` prints."""
    check_whole(target.prefix, f"{target.id}@", f"`pgnotary show {target.id} --json` prints them as {field}")


def is_id(text: str) -> bool:
    """Say whether a text is a request's id and nothing else."""
    found = _TARGET.fullmatch(text)
    return found is not None and found[2] is None


def read_target(_ctx: click.Context, _param: click.Parameter, value: str) -> Target:
    """Read `R-1` or `R-1@9b1f22aa`, as an argument's callback."""
    found = _TARGET.fullmatch(value)
    if not found:
        raise click.BadParameter(f"{value!r} is not R-1, or R-1@ and at least 8 hex digits of its digest")
    return Target(found[1], (found[2] or "").lower())


def read_id(ctx: click.Context, param: click.Parameter, value: str) -> Target:
    """Read `R-1`, as an argument's callback, where nothing is signed over what it asks."""
    target = read_target(ctx, param, value)
    if target.prefix:
        raise click.BadParameter(f"{value!r}: only the id is expected here, {target.id}")
    return target
