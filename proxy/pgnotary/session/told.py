"""How a flow left the client: what it has been told of its message, before any ReadyForQuery."""

from enum import Enum

__all__ = ["Told"]


class Told(Enum):
    """The last thing that the client has heard."""

    RESULT = "result"
    ERROR = "error"
    """In the extended protocol everything up to the Sync is passed over then."""
    NOTHING = "nothing"
    """The session ends: what there is to say is said with that."""

    @classmethod
    def of(cls, failed: object) -> "Told":
        """Return ERROR if there is something that failed, RESULT otherwise."""
        return cls.ERROR if failed is not None else cls.RESULT
