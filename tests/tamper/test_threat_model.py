"""The table "Attacks on the ledger" in docs/threat-model.md and the tamper matrix name the same attacks."""

import re
from pathlib import Path

from tests.tamper.attacks import ATTACKS

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"


def test_each_row_of_the_table_is_attacked_and_each_attack_has_its_row() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("\n## Attacks on the ledger\n")[2]
    rows = [int(number) for number in re.findall(r"^\| (\d+) \| ", section, re.MULTILINE)]
    assert rows == sorted(set(rows))
    assert set(rows) == {attack.row for attack in ATTACKS}


def test_the_page_names_the_attacks_that_no_verifier_can_tell() -> None:
    told = {attack.row for attack in ATTACKS}
    others = re.search(r"^Numbers ([0-9, and]+) are about", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert others is not None
    assert {*map(int, re.findall(r"\d+", others[1]))} | told == set(range(1, 17))
