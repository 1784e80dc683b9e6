"""The configuration: defaults, and errors that name file, key, value and expectation."""

from pathlib import Path

import pytest

from pgnotary.config import Config, load
from pgnotary.errors import ConfigError
from pgnotary.setup import add_user, make_folder

REFERENCE = Path("config/reference.toml")


def _written(folder: Path, text: str) -> Path:
    path = folder / "pgnotary.toml"
    path.write_text(text)
    return path


def test_the_reference_names_every_key_with_its_default(tmp_path: Path) -> None:
    reference, empty = load(REFERENCE).file, load(_written(tmp_path, "")).file
    for section in ("listen", "upstream", "ledger", "approval", "policy"):
        assert getattr(reference, section) == getattr(empty, section)
    text = REFERENCE.read_text()
    for section in ("listen", "upstream", "role", "user", "ledger", "approval", "policy"):
        value = getattr(reference, section)
        fields = (value[0] if isinstance(value, tuple) else value).__struct_fields__
        missing = [field for field in fields if f"\n{field} = " not in text]
        assert missing == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[policy]\nhold_s = 'long'", ["policy.hold_s", "'long'", "float"]),
        ("[policy]\nhold_s = 0", ["policy.hold_s", "0", ">= 1"]),
        ("[policy]\nholds = 1", ["policy", "holds"]),
        ("[policy]\nmax_held_per_person = 0", ["policy.max_held_per_person", "0", ">= 1"]),
        ("[policy]\nmax_held = 1001", ["policy.max_held", "1001", "<= 1000"]),
        ("[polices]\nhold_s = 1", ["polices"]),
        ("[policy]\nprofile = 'lax'", ["policy.profile", "'lax'", "default, strict"]),
        ("[listen]\naddress = '0.0.0.0:6432'", ["listen.address", "'0.0.0.0'", "loopback"]),
        ("[upstream]\naddress = 'db.example.com:5432'", ["upstream.address", "'db.example.com'", "loopback"]),
        ("[listen]\naddress = '6432'", ["listen.address", "'6432'", "host:port"]),
        ("[[user]]\nname = 'eva'\nverifier = 'x'\nrole = 'app'", ["user", "'eva'", "'app'", "roles"]),
        ("[[role]]\nname = 'app'\n[[user]]\nname = 'eva'\nverifier = 'x'\nrole = 'app'", ["'eva'", "SCRAM verifier"]),
        ("[listen]\naddress = '127.0.0.1:\u00b2'", ["listen.address", "host:port"]),
        ("[[role]]\nname = 'a'\n[[role]]\nname = 'a'", ["role", "'a'", "twice"]),
        ("not toml", ["TOML"]),
    ],
)
def test_an_error_names_file_key_value_and_expectation(tmp_path: Path, text: str, words: list[str]) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(path)
    for word in [str(path), *words]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pgnotary init"):
        load(tmp_path / "pgnotary.toml")


@pytest.fixture
def made(tmp_path: Path) -> Config:
    """A folder as `pgnotary init` makes it."""
    config = make_folder(
        tmp_path / "f",
        listen="127.0.0.1:0",
        upstream="127.0.0.1:5432",
        role="app",
        password="pw",
        name="localhost/shop",
        users={"eva": "open sesame"},
        approvers=["bo"],
    )
    return load(config)


def test_a_made_folder_loads_and_holds_no_password_of_a_user(made: Config) -> None:
    assert made.roster().people == ("bo",)
    assert made.password("app") == "pw"
    assert made.vkey() == (made.path.parent / "proxy.vkey").read_text().strip()
    assert "open sesame" not in made.path.read_text()


def test_secrets_are_readable_by_their_owner_alone(made: Config) -> None:
    for name in ("pgnotary.toml", "proxy.key", "secrets/app", "approvers/bo"):
        assert made.near(name).stat().st_mode & 0o077 == 0, name


def test_nothing_that_exists_is_overwritten(made: Config) -> None:
    with pytest.raises(ConfigError, match="exists already"):
        make_folder(made.path.parent, listen="localhost:1", upstream="localhost:2", role="app", password="", name="x")


def test_a_ledger_name_that_is_not_the_keys_is_an_error(made: Config) -> None:
    made.path.write_text(made.path.read_text().replace("localhost/shop", "localhost/other"))
    with pytest.raises(ConfigError, match="localhost/other"):
        load(made.path).key()


def test_a_user_name_cannot_break_out_of_its_place_in_the_file(made: Config) -> None:
    with pytest.raises(ConfigError, match="no quotes, backslashes or control characters"):
        add_user(made.path, 'x"\n[policy]\nprofile = "none', "app", "pw")
