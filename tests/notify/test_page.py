"""docs/webhooks.md is true: its configuration, the keys that are printed, and the command in a message."""

import re
from pathlib import Path

import pytest
from tests.cli.office import office
from tests.notify.test_shapes import held
from tests.pages import PAGES, Page, run

from pgnotary.config import load
from pgnotary.notify.shapes import slack_text
from pgnotary.setup import make_folder

PAGE = "webhooks.md"
TEXT = PAGES[PAGE].read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `init` has made, with the webhooks of the page."""
    config = make_folder(
        tmp_path / "pgnotary",
        listen="127.0.0.1:6432",
        upstream="127.0.0.1:5432",
        role="app_rw",
        password="secret",
        name="shop.example/ledger",
    )
    (block,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    with config.open("a") as file:
        file.write(f"\n{block}")
    return config.parent


def test_its_configuration_is_good(folder: Path) -> None:
    oncall, slack = load(folder / "pgnotary.toml").file.webhook
    assert oncall.events == ("held", "decided", "ended")
    assert (slack.url_file, slack.format, slack.events) == ("secrets/slack.url", "slack", ("held", "rejected"))


def test_the_keys_are_printed_as_it_shows_them(folder: Path, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    command = page.take("pgnotary webhooks")
    monkeypatch.chdir(folder)
    done = run(*command.words())
    assert (done.exit_code, done.stderr) == (0, "")
    assert re.sub(r"whpk_[A-Za-z0-9+/=]{44}$", "KEY", done.stdout, flags=re.M) == re.sub(
        r"whpk_[A-Za-z0-9+/]+\.\.\.$", "KEY", command.output, flags=re.M
    )
    keys = re.findall(r"whpk_\S+", done.stdout)
    assert len(keys) == len(set(keys)) == 2


async def test_the_command_that_a_message_names_shows_what_waits(page: Page) -> None:
    command = page.take("pgnotary show R-7")
    assert f"Look at it: `{command.text}`" in slack_text(held())
    async with office() as desk:
        desk.hold("R-7")
        shown = await desk.run(*command.words())
    assert (shown.exit_code, "   1 | DELETE FROM orders" in shown.stdout) == (0, True), shown.output
