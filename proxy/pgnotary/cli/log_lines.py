"""The proxy's log on stderr: one line for each event, with its fields behind it as `name=value`.

A logging record enters, a line leaves. Values that are not plain words are JSON strings in ASCII: whatever a client or
a server calls itself can neither end a line, nor look like another field, nor move a cursor. The log is for operators;
the record of what happened is the ledger.
"""

import json
import logging
from datetime import UTC, datetime

from pgnotary.cli.safe_text import visible

__all__ = ["LogLine", "log_to_stderr"]

# What every record has; the rest was given as `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LogLine(logging.Formatter):
    """Time in UTC, level, logger, event, fields; a traceback, which only a fault of ours has, on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - as below
        """Return the time as the ledger writes it, to the millisecond."""
        del datefmt
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Return the line, without a traceback."""
        fields = [f" {name}={_shown(value)}" for name, value in vars(record).items() if name not in _OWN]
        return visible(super().formatMessage(record)) + "".join(fields)


def log_to_stderr(*, verbose: bool) -> None:
    """Write the log to stderr from now on: INFO and above, and pgnotary's own DEBUG if `verbose`."""
    handler = logging.StreamHandler()
    handler.setFormatter(LogLine())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if verbose:
        logging.getLogger("pgnotary").setLevel(logging.DEBUG)


def _shown(value: object) -> str:
    text = str(value)
    plain = text.isascii() and text.isprintable() and text and not any(character in ' "=\\' for character in text)
    return text if plain else json.dumps(text)
