"""The tamper matrix: every attack on the ledger is told with its place, given what people remember."""

from pathlib import Path

import pytest
from tests.audit.running import run
from tests.tamper.attacks import ATTACKS, Attack
from tests.tamper.flips import remember_what_was_read
from tests.tamper.ground import Ground, built
from tests.tamper.matrix import attacked

from pgnotary.ledger.entries import EntryType
from pgnotary.ledger.remembered import heads_text, remembered
from pgnotary.verify.misbehaviour import examine


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return built(tmp_path_factory.mktemp("ground"), 30)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    remember_what_was_read(monkeypatch)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.row}: {attack.name}")
def test_an_attack_is_told_at_its_place(attack: Attack, ground: Ground, tmp_path: Path) -> None:
    attacked(attack, ground, tmp_path)


def test_every_row_that_a_verifier_can_tell_is_attacked() -> None:
    assert {attack.row for attack in ATTACKS} == {1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 15}


def by_name(name: str) -> Attack:
    return next(each for each in ATTACKS if each.name == name)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    "name",
    [
        "the end is cut off with its checkpoints",
        "the end is cut off and another one is written",
        "everything is written anew with new keys for the approvers",
        "an older copy is put back",
    ],
)
def test_without_a_head_that_somebody_remembers_nobody_could_know(name: str, ground: Ground, tmp_path: Path) -> None:
    adversary = ground.adversary(tmp_path / "ledger.db")
    by_name(name).run(adversary, ground)
    assert run("verify", "--ledger", adversary.path, "--key", ground.vkey).exit_code in (0, 2)


@pytest.mark.usefixtures("elsewhere")
def test_a_pinned_roster_tells_approvals_under_new_keys_without_any_head(ground: Ground, tmp_path: Path) -> None:
    adversary = ground.adversary(tmp_path / "ledger.db")
    adversary.rewrite(["ana", "bo"])
    (tmp_path / "roster").write_text(ground.roster)
    done = run("verify", "--ledger", adversary.path, "--key", ground.vkey, "--allowed-signers", tmp_path / "roster")
    assert done.exit_code == 1
    assert f"FAIL  #{ground.find(EntryType.DECISION)} R-1: nobody on the roster has the key" in done.stdout


@pytest.mark.usefixtures("elsewhere")
def test_what_is_rewritten_behind_the_last_remembered_head_is_what_the_gap_says(ground: Ground, tmp_path: Path) -> None:
    adversary = ground.adversary(tmp_path / "ledger.db")
    adversary.edit(len(ground.entries) - 1, lambda fields: fields["body"].update(why="nothing happened here"))
    adversary.forge()
    words = [word for head in ground.heads(tmp_path) for word in ("--heads", head)]
    done = run("verify", "--ledger", adversary.path, "--key", ground.vkey, *words)
    assert (done.exit_code, "FAIL" in done.stdout) == (2, False)
    assert f"gap  {len(ground.entries) - ground.size} entries since #{ground.size} are under no" in done.stdout


@pytest.mark.usefixtures("elsewhere")
def test_of_two_ledgers_shown_to_two_people_each_proves_the_other(ground: Ground, tmp_path: Path) -> None:
    """Each person finds the own ledger good; what both remember proves that the key's holder has signed two."""
    other = ground.adversary(tmp_path / "other.db")
    by_name("the proxy goes on with an older copy").run(other, ground)
    seen = remembered(other.signed()[ground.size], ground.vkey, ground.ana.seen_at)
    (tmp_path / "cy.heads").write_text(heads_text([seen]))
    _, ana = ground.heads(tmp_path)
    for path, own, foreign in ((ground.path, ana, tmp_path / "cy.heads"), (other.path, tmp_path / "cy.heads", ana)):
        words: list[str | Path] = ["verify", "--ledger", path, "--key", ground.vkey]
        assert run(*words, "--heads", own).exit_code == 2
        both = run(*words, "--heads", own, "--heads", foreign)
        assert (both.exit_code, "there are two ledgers, since another remembered head" in both.stdout) == (1, True)
    for proof in tmp_path.glob("*.misbehaviour-*.json"):
        assert examine(proof.read_bytes(), ground.vkey).proven
        proof.unlink()
        break
    else:
        raise AssertionError("no proof was written")
