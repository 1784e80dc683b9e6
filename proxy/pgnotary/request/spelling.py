"""Settings that shape how the server spells values: what they are set to enters, those that a reader must know leave.

The values of a sample are spelled as the session of the client has it. They cannot be spelled otherwise: the same
settings decide what the client's own text means and computes. So whoever reads them is told of a setting under which
a date may be read as another, or digits are left out. A time zone matters only where the offset is not told.

Source: PostgreSQL 18, "Client Connection Defaults", "Date/Time Output".
"""

import json

__all__ = ["SPELLING_QUESTION", "read_spelling"]

_PLAIN = {"IntervalStyle": "postgres", "bytea_output": "hex"}
SPELLING_QUESTION = b"""
SELECT pg_catalog.json_build_object(
  'DateStyle', pg_catalog.current_setting('DateStyle'),
  'TimeZone', pg_catalog.current_setting('TimeZone'),
  'IntervalStyle', pg_catalog.current_setting('IntervalStyle'),
  'bytea_output', pg_catalog.current_setting('bytea_output'),
  'extra_float_digits', pg_catalog.current_setting('extra_float_digits'))
""".strip()
"""What they are set to."""


def read_spelling(answer: str) -> tuple[str, ...]:
    """Return each that is not plain, with what it is set to; raises ValueError if the answer has another shape."""
    try:
        said = {str(name): str(value) for name, value in json.loads(answer).items()}
        unlike = {name for name, plain in _PLAIN.items() if said[name] != plain}
        if not said["DateStyle"].startswith("ISO"):
            unlike |= {"DateStyle", "TimeZone"}
        if int(said["extra_float_digits"]) < 1:
            unlike.add("extra_float_digits")
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"how values are spelled has not the shape that was asked for: {error}") from error
    return tuple(f"{name} {said[name]}" for name in sorted(unlike))
