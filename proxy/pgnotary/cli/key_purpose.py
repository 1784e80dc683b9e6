"""What a key is put on the roster for: options of the command line enter, the namespaces of its line leave.

Without options a key decides. A line without namespaces, whose key is good for everything, is never made here.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import click

from pgnotary.request.sshsig import DECISION_NAMESPACE, REDACTION_NAMESPACE, REQUEST_NAMESPACE

__all__ = ["Purpose", "purpose_options"]


@dataclass(frozen=True, slots=True)
class Purpose:
    """The options as they were given."""

    engineer: bool = False
    redactor: bool = False

    @property
    def is_said(self) -> bool:
        """Whether there was any."""
        return self.engineer or self.redactor

    @property
    def namespaces(self) -> tuple[str, ...]:
        """What the key may sign."""
        usual = REQUEST_NAMESPACE if self.engineer else DECISION_NAMESPACE
        return (usual, REDACTION_NAMESPACE) if self.redactor else (usual,)


def purpose_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --engineer and --redactor; the command gets its `purpose`."""

    @click.option(
        "--engineer", is_flag=True, help="The key decides nothing: it sees and takes back its person's own requests."
    )
    @click.option("--redactor", is_flag=True, help="The key may redact sealed values too.")
    @functools.wraps(command)
    def with_purpose(*, engineer: bool, redactor: bool, **rest: object) -> None:
        command(purpose=Purpose(engineer, redactor), **rest)

    return with_purpose
