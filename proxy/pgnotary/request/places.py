"""Values in a question of ours: enters a text with places like __NAMED__, leaves the question with literals in them.

All places are filled at once. A value that is spelled like a place (a table may be called so) stays inside its own
literal; if one place were filled after the other, it would get a second literal into it, with that one's quotes.
"""

import json
import re
from collections.abc import Mapping

__all__ = ["filled"]


def filled(question: str, values: Mapping[str, object]) -> bytes:
    """Return the question with each value, as JSON in a literal, in its place.

    Holds where standard_conforming_strings is on, as it is in each session of ours: a quote is all that ends a literal.
    """
    places = re.compile("|".join(map(re.escape, values)))
    return places.sub(lambda place: _literal(values[place[0]]), question).encode()


def _literal(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("'", "''")
    return f"'{text}'::pg_catalog.json"
