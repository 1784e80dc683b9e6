"""What drivers put into their start-up packet: they come in with it."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.serve.test_greeting import greeted

_CORPUS = Path(__file__).parents[1] / "corpus" / "tools.jsonl"
_ROWS: list[dict[str, Any]] = [json.loads(line) for line in _CORPUS.read_text(encoding="ascii").splitlines()]


@pytest.mark.parametrize(
    "row", [row for row in _ROWS if row["kind"] == "startup"], ids=lambda row: f"{row['tool']} {row['what']}"
)
async def test_a_tool_comes_in_with_what_it_asks_for(row: dict[str, Any]) -> None:
    greeting = await greeted(row["parameters"])
    assert greeting.application_name == row["parameters"].get("application_name", "")
