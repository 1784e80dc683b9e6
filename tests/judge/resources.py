"""Texts that are made to cost their readers time, memory or life."""

from tests.judge.texts import ATTACKS

__all__ = ["RESOURCES"]

RESOURCES = {
    "ARRAY[ x 20": "SELECT " + "ARRAY[" * 20 + "1" + "]" * 20,
    "date( x 20": "SELECT " + "date(" * 20 + "1" + ")" * 20,
    "numeric( x 20": "SELECT " + "numeric(" * 20 + "1" + ")" * 20,
    "( x 2,000": "SELECT " + "(" * 2_000 + "1" + ")" * 2_000,
    "( x 20,000": "SELECT " + "(" * 20_000 + "1" + ")" * 20_000,
    "sub-selects x 8,000": "SELECT * FROM (" * 8_000 + "SELECT 1" + ") a" * 8_000,
    "joins in brackets x 20,000": "SELECT 1 FROM " + "(" * 20_000 + "t" + " JOIN t USING (a))" * 20_000,
    "/* x 20,000": "/*" * 20_000 + "*/" * 20_000 + "SELECT 1",
    "a=1 AND x 20,000": "SELECT 1 WHERE " + "a=1 AND " * 20_000 + "a=1",
    "a list of 100 KB": "SELECT 1 WHERE a IN (" + ",".join(["1"] * 50_000) + ")",
    "1+1+... of 1 MB": "SELECT 1" + "+1" * 500_000,
    "statements without end": "SELECT 1;" * 100_000,
    **{name: sql for name, sql in ATTACKS.items() if name in ("many nests side by side", "subscripts in a row")},
}
"""What stalls or breaks a parser: the table "Denial of service", and what was found later."""
