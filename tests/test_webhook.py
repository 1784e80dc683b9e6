"""Which addresses may be told anything, and that each webhook has a key of its own."""

from pathlib import Path

import pytest
from nacl.signing import SigningKey
from tests.store.ledgers import SEED

from pgnotary.config import load
from pgnotary.errors import ConfigError
from pgnotary.webhook import check_url, webhook_seed


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com:8443/a/b?c=d&e=%20",
        "https://192.0.2.7/x",
        "https://[2001:db8::1]:443/x",
        "http://127.0.0.1:8080/x",
        "http://[::1]/x",
        "http://localhost:9/x",
    ],
)
def test_an_address_that_only_its_receiver_reads_may_be_told(url: str) -> None:
    check_url("here", url)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "http://192.0.2.7/x",
        "http://127.0.0.1.example.com/x",
        "http://localhost.example.com/x",
        "http://0.0.0.0/x",
        "http://2130706433/x",
        "https://user:password@hooks.example.com/x",
        "https://user@hooks.example.com/x",
        "http://127.0.0.1@hooks.example.com/x",
        "http://127.0.0.1\\@hooks.example.com/x",
        "https://hooks.example.com#/x",
        "https://hooks.example.com/x#y",
        "https://hooks.example.com/x y",
        "https://hooks.example.com/x\nHost: evil",
        "https://hooks.example.com\t/x",
        "https://hooks.ex\u0430mple.com/x",
        "https://hooks.example.com:0/x",
        "https://hooks.example.com:65536/x",
        "https:///x",
        "https://",
        "HTTPS://hooks.example.com/x",
        "ftp://hooks.example.com/x",
        "file:///etc/passwd",
        "unix:///run/x.sock",
        "hooks.example.com/x",
        "https://hooks.example.com/" + "x" * 3_000,
    ],
)
def test_any_other_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="here: expected https"):
        check_url("here", url)


def written(folder: Path, *lines: str) -> Path:
    path = folder / "pgnotary.toml"
    path.write_text("\n".join(["[[webhook]]", *lines]))
    return path


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (['name = "a"'], "webhook 'a': expected either url or url_file"),
        (['name = "a"', 'url = "https://x"', 'url_file = "y"'], "expected either url or url_file"),
        (['name = "a"', 'url = "http://example.com"'], "webhook 'a': url: expected https"),
        (['name = "a"', 'url = "https://x"', "events = []"], "events is empty"),
        (['name = "a"', 'url = "https://x"', 'events = ["approved"]'], "webhook"),
        (['name = "a"', 'url = "https://x"', 'format = "teams"'], "format"),
        (['name = "A b"', 'url = "https://x"'], "name"),
        (['url = "https://x"'], "name"),
        (['name = "a"', 'url = "https://x"', "verify = false"], "verify"),
        (['name = "a"', 'url = "https://x"', "[[webhook]]", 'name = "a"', 'url = "https://y"'], "stands there twice"),
    ],
)
def test_a_table_that_says_too_little_or_too_much_is_refused(tmp_path: Path, lines: list[str], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        load(written(tmp_path, *lines))


def test_a_secret_address_comes_from_its_file_and_stands_in_no_error(tmp_path: Path) -> None:
    config = load(written(tmp_path, 'name = "slack"', 'url_file = "slack.url"', 'format = "slack"'))
    (hook,) = config.file.webhook
    secret = tmp_path / "slack.url"
    with pytest.raises(ConfigError, match=r"url_file is 'slack.url', which cannot be read"):
        config.webhook_url(hook)
    secret.write_text("https://hooks.slack.example/services/T0/B0/s3cr3t\n")
    assert config.webhook_url(hook) == "https://hooks.slack.example/services/T0/B0/s3cr3t"
    secret.write_text("http://hooks.slack.example/services/T0/B0/s3cr3t\n")
    with pytest.raises(ConfigError, match="expected https") as caught:
        config.webhook_url(hook)
    assert "s3cr3t" not in str(caught.value)


def test_a_password_in_an_address_stands_in_no_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="url: expected https") as caught:
        load(written(tmp_path, 'name = "a"', 'url = "https://eva:s3cr3t@hooks.example.com/x"'))
    assert "s3cr3t" not in str(caught.value)


def test_no_two_webhooks_and_no_checkpoint_are_signed_with_one_key() -> None:
    seeds = {webhook_seed(SEED, "a"), webhook_seed(SEED, "b"), webhook_seed(bytes(32), "a"), SEED}
    assert len(seeds) == 4
    assert len({bytes(SigningKey(each).verify_key) for each in seeds}) == 4
