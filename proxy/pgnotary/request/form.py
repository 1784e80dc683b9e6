"""The form of a signed document: its bytes, or an entry that keeps it, enter; its fields leave, or its own error.

What cannot be read whole is not read at all: another format, a field too few or too many, bytes that are not canonical,
or more of them than the form allows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pgnotary.errors import NotCanonical, PgnotaryError
from pgnotary.ledger.canonical import JSON, decode, unb64
from pgnotary.ledger.entries import Entry

__all__ = ["Form"]

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Form:
    """What every document of one kind looks like."""

    kind: str
    """What people call one: "a review"."""
    format: str
    """What its field `v` says."""
    fields: frozenset[str]
    max_bytes: int
    refused: type[PgnotaryError]
    """What is raised for a document that is not of this form."""

    def read(self, raw: bytes, build: Callable[[dict[str, JSON], bytes], _Read]) -> _Read:
        """Return what `build` makes of the fields; raises `refused`, also where `build` raises NotCanonical."""
        if len(raw) > self.max_bytes:
            raise self.refused(f"document of {len(raw)} bytes, at most {self.max_bytes} are read")
        try:
            fields = decode(raw)
            if fields.get("v") != self.format:
                raise self.refused(f"document of format {fields.get('v')!r:.40}, expected {self.format!r}")
            if fields.keys() != self.fields:
                odd = ", ".join(sorted(fields.keys() ^ self.fields))
                raise self.refused(f"document with missing or unknown fields: {odd:.200}")
            return build(fields, raw)
        except NotCanonical as error:
            raise self.refused(f"document that cannot be read: {error}") from error

    def kept_in(self, entry: Entry) -> tuple[bytes, str]:
        """Return the document and the signature that an entry holds; raises `refused` if it has none."""
        raw, signature = entry.body.get("document"), entry.body.get("signature")
        if not isinstance(raw, str) or not isinstance(signature, str):
            raise self.refused(f"{self.kind} without document or signature")
        try:
            return unb64(raw), signature
        except NotCanonical as error:
            raise self.refused(f"the document is {error}") from error
