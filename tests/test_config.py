"""The configuration: defaults, and errors that name file, key, value and expectation."""

import re
from pathlib import Path

import msgspec
import pytest

from pgnotary.config import Address, Config, load, parse
from pgnotary.errors import ConfigError
from pgnotary.judge.rules import PROFILES, Action, Rule, Wishes, policy_of
from pgnotary.judge.statement import Qualifier, StatementClass
from pgnotary.serve.scram import make_verifier
from pgnotary.setup import add_user, make_folder
from pgnotary.webhook import Webhook

REFERENCE = Path("config/reference.toml")


def _written(folder: Path, text: str) -> Path:
    path = folder / "pgnotary.toml"
    path.write_text(text)
    return path


def test_the_reference_names_every_key_with_its_default(tmp_path: Path) -> None:
    reference, empty = load(REFERENCE).file, load(_written(tmp_path, "")).file
    for section in ("listen", "upstream", "ledger", "approval", "metrics"):
        assert getattr(reference, section) == getattr(empty, section)
    assert msgspec.structs.replace(reference.policy, rule=()) == empty.policy
    text = REFERENCE.read_text()
    sections = ("listen", "upstream", "role", "user", "group", "ledger", "approval", "metrics", "webhook", "policy")
    for section in sections:
        value = getattr(reference, section)
        assert _missing(text, value[0] if isinstance(value, tuple) else value) == []
    assert reference.webhook == (Webhook(name="oncall", url="https://hooks.example.com/pgnotary"),)
    assert _missing(text, reference.policy.rule[0]) == []


def _missing(text: str, section: msgspec.Struct) -> list[str]:
    """Return the keys of a section that the text does not give a value, or tables."""
    keys = section.__struct_encode_fields__
    return [key for key in keys if f"\n{key} = " not in text and f".{key}]" not in text]


_VERIFIER = make_verifier("secret", salt=bytes(16), iterations=4_096)
_USER = f"[[role]]\nname = 'app'\n[[user]]\nname = 'eva'\nrole = 'app'\nverifier = '{_VERIFIER}'"
_TLS = "tls = { certificate_file = 'x.pem', key_file = 'x.key' }"


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("", False),
        (f"[listen]\n{_TLS}", False),
        (f"[listen]\naddress = 'localhost:6432'\n{_TLS}", False),
        (f"[listen]\naddress = '[::1]:6432'\n{_TLS}", False),
        (f"[listen]\naddress = '0.0.0.0:6432'\n{_TLS}", True),
        (f"[listen]\naddress = '[::]:6432'\n{_TLS}", True),
        (f"[listen]\naddress = 'proxy.example.com:6432'\n{_TLS}", True),
        ("[listen.tls]\ncertificate_file = 'x.pem'\nkey_file = 'x.key'\nrequired = true", True),
    ],
)
def test_plain_text_is_allowed_on_loopback_alone(tmp_path: Path, text: str, required: bool) -> None:
    assert load(_written(tmp_path, text)).tls_required is required


def test_the_page_on_tls_is_true(tmp_path: Path) -> None:
    blocks = "".join(Path("docs/tls.md").read_text().split("```toml\n")[1:]).split("\n")
    lines = [line for line in blocks if re.match(r"[a-z_]+ = ", line)]
    listen, tls, user, upstream, approval, shown = (
        lines[:1], lines[1:4], lines[4:6], lines[6:9], lines[9:10], lines[10:],
    )  # fmt: skip
    assert user == ['name = "eva"', user[1]]
    written = [_USER.replace("name = 'eva'", user[0]), user[1], "[listen]", *listen, "[listen.tls]", *tls]
    written += ["[upstream]", *upstream, "[approval]", *approval, "[approval.tls]", *shown]
    config = load(_written(tmp_path, "\n".join(written)))
    assert config.tls_required
    assert config.file.user[0].certificate == "email:eva@example.com"
    assert config.file.upstream.tls == "verify-full"
    assert config.file.approval.tls.key_file == "tls/approval.key"


def test_a_server_elsewhere_is_dialled_if_it_is_verified(tmp_path: Path) -> None:
    text = "[upstream]\naddress = 'db.example.com:5432'\ntls = 'verify-full'"
    assert load(_written(tmp_path, text)).upstream.host == "db.example.com"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[policy]\nhold_s = 'long'", ["policy.hold_s", "'long'", "float"]),
        ("[policy]\nhold_s = 0", ["policy.hold_s", "0", ">= 1"]),
        ("[policy]\nholds = 1", ["policy", "holds"]),
        ("[policy]\nmax_held_per_person = 0", ["policy.max_held_per_person", "0", ">= 1"]),
        ("[policy]\nmax_held = 1001", ["policy.max_held", "1001", "<= 1000"]),
        ("[polices]\nhold_s = 1", ["polices"]),
        ("[policy]\nprofile = 'lax'", ["policy.profile", "'lax'", "default, strict, observe, forward-all"]),
        ("[listen]\naddress = '0.0.0.0:6432'", ["listen.address", "'0.0.0.0'", "loopback"]),
        ("[upstream]\naddress = 'db.example.com:5432'", ["upstream.address", "'db.example.com'", "loopback"]),
        ("[upstream]\ntls = 'require'", ["upstream.tls", "'require'"]),
        ("[upstream]\nca_file = 'ca.pem'", ["upstream.ca_file", "'ca.pem'", "verify-full"]),
        ("[upstream]\naddress = '/run/pg:5432'\ntls = 'verify-full'", ["upstream.tls", "Unix socket"]),
        ("[listen.tls]\ncertificate_file = 'x.pem'", ["listen.tls", "both certificate_file and key_file"]),
        ("[listen.tls]\nkey_file = 'x.key'", ["listen.tls", "both certificate_file and key_file"]),
        ("[listen.tls]\nrequired = true", ["listen.tls.required", "True", "certificate_file"]),
        ("[listen.tls]\nclient_ca_file = 'ca.pem'", ["listen.tls.client_ca_file", "'ca.pem'", "certificate_file"]),
        (f"{_USER}\ncertificate = 'CN:eva'", ["'eva'", "'CN:eva'", "listen.tls.client_ca_file"]),
        (f"{_USER}\ncertificate = 'eva'", ["user", "certificate", "'eva'"]),
        (f"{_USER}\nperson = 'b\u043e'", ["user", "person", "'b\u043e'"]),
        (f"{_USER}\nperson = 'bo '", ["user", "person", "'bo '"]),
        (f'{_USER}\nperson = "bo\\n"', ["user", "person"]),
        ("[upstream]\naddress = '[]:5432'", ["upstream.address", "'[]:5432'", "host:port"]),
        ("[listen]\nmax_clients = 0", ["listen.max_clients", "0", ">= 1"]),
        ("[listen]\nmax_logins = 1001", ["listen.max_logins", "1001", "<= 1000"]),
        ("[listen]\naddress = '6432'", ["listen.address", "'6432'", "host:port"]),
        ("[[user]]\nname = 'eva'\nverifier = 'x'\nrole = 'app'", ["user", "'eva'", "'app'", "roles"]),
        ("[[role]]\nname = 'app'\n[[user]]\nname = 'eva'\nverifier = 'x'\nrole = 'app'", ["'eva'", "SCRAM verifier"]),
        ("[listen]\naddress = '127.0.0.1:\u00b2'", ["listen.address", "host:port"]),
        ("[[role]]\nname = 'a'\n[[role]]\nname = 'a'", ["role", "'a'", "twice"]),
        ("[policy]\nmask = ['pay', 'Pay']", ["policy.mask is 'Pay'", "expected column, or schema.relation.column"]),
        ("[policy]\nsample_rows = -1", ["policy.sample_rows", "-1", ">= 0"]),
        ("not toml", ["TOML"]),
        (f"x = {'[' * 100_000}", ["is not TOML", "nested too deep"]),
        (f"[policy]\nhold_s = {'9' * 5_000}", ["is not TOML", "4300 digits"]),
    ],
    ids=lambda given: given[:40] if isinstance(given, str) else None,
)
def test_an_error_names_file_key_value_and_expectation(tmp_path: Path, text: str, words: list[str]) -> None:
    path = _written(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load(path)
    for word in [str(path), *words]:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


_HOLDS = "result = 'hold'"
_FORWARDS = "result = 'forward'"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("result = 'pass'", ["policy.rule[1].result is 'pass'", "one of forward, hold, refuse"]),
        (f"{_HOLDS}\nclass = 'slect'", ["policy.rule[1].class is 'slect'", "one of select, show, "]),
        (f"{_HOLDS}\nclass = ['select', 'Delete']", ["policy.rule[1].class is 'Delete'", "one of select, show, "]),
        (f"{_HOLDS}\nclass = 3", ["policy.rule[1].class is 3", "array"]),
        (f"{_HOLDS}\nqualifier = 'lock'", ["policy.rule[1].qualifier is 'lock'", "one of write, unconditional, "]),
        (f"{_HOLDS}\nclas = 'select'", ["policy.rule[1]", "clas"]),
        ("", ["policy.rule[1]", "result"]),
        (f"{_FORWARDS}\nmin_rows = 5", ["policy.rule[1].min_rows is 5", "expected 0", "known of what is held"]),
        (f"{_HOLDS}\nmin_rows = -1", ["policy.rule[1].min_rows is -1", ">= 0"]),
        (f"{_HOLDS}\nmin_rows = 5\nmask = 'pay'", ["policy.rule[1].mask is 'pay'", "only in a rule without min_rows"]),
        (f"{_HOLDS}\nmin_rows = 5\nhold_s = 60.0", ["policy.rule[1].hold_s is 60.0", "rule without min_rows"]),
        (f"{_FORWARDS}\nhold_s = 60.0", ["policy.rule[1].hold_s is 60.0", "only in a rule that holds"]),
        ("result = 'refuse'\npreview = false", ["policy.rule[1].preview is False", "only in a rule that holds"]),
        ("result = 'refuse'\nsample_rows = 1", ["policy.rule[1].sample_rows is 1", "only in a rule that holds"]),
        (f"{_FORWARDS}\nmask = 'pay'", ["policy.rule[1].mask is 'pay'", "only in a rule that holds"]),
        (f"{_HOLDS}\nsample_rows = 51", ["policy.rule[1].sample_rows is 51", "<= 50"]),
        (f"{_HOLDS}\nmask = ['a', 'b.c']", ["policy.rule[1].mask is 'b.c'", "expected column, or schema.relation."]),
        (f"{_HOLDS}\nhold_s = 0", ["policy.rule[1].hold_s is 0", ">= 1"]),
        (f"{_HOLDS}\ndatabase = ''", ["policy.rule[1].database is ''", "a whole name"]),
        (f"{_HOLDS}\nuser = 'app_*'", ["policy.rule[1].user is 'app_*'", "a whole name"]),
    ],
)
def test_a_wrong_rule_is_named_with_file_key_value_and_expectation(tmp_path: Path, text: str, words: list[str]) -> None:
    path = _written(tmp_path, f"[[policy.rule]]\nname = 'a'\n{_HOLDS}\n[[policy.rule]]\nname = 'b'\n{text}")
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {words[0]}")
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "pattern", ["orders", "", ".orders", "public.", "a.b.c", "public.Orders", "p.[ab]", 'p."a*"', "p.é", "p.a b"]
)
def test_a_pattern_that_no_whole_name_would_match_is_an_error(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"policy\.rule\[0\]\.relation is .*expected schema\.name"):
        load(_written(tmp_path, f"[[policy.rule]]\nname = 'a'\n{_HOLDS}\nrelation = ['app.*', '{pattern}']"))


@pytest.mark.parametrize("name", ["", "Frozen", "a/b", "a b", "a\\n", "x" * 64])
def test_a_rules_name_is_a_plain_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"policy\.rule\[0\]\.name is .*expected lower-case letters"):
        load(_written(tmp_path, f'[[policy.rule]]\nname = "{name}"\n{_HOLDS}'))


def test_two_rules_of_one_name_are_an_error(tmp_path: Path) -> None:
    rule = f"[[policy.rule]]\nname = 'a'\n{_HOLDS}\n"
    with pytest.raises(ConfigError, match=r"policy\.rule\[1\]\.name is 'a'.*twice"):
        load(_written(tmp_path, rule * 2))


_RULES = """
[[{0}rule]]
name = "frozen"
result = "refuse"
class = ["drop", "truncate"]
relation = ['audit.*', '"Old".orders', 'public."orders"']
[[{0}rule]]
name = "bulk"
result = "hold"
qualifier = "unconditional"
database = "shop"
user = ["eva", "bo"]
hold_s = 60
preview = false
"""
_OWN = (
    Rule(
        "policy/frozen", Action.REFUSE, (StatementClass.DROP, StatementClass.TRUNCATE),
        relations=("audit.*", '"Old".orders', "public.orders"),
    ),
    Rule(
        "policy/bulk", Action.HOLD, qualifiers=(Qualifier.UNCONDITIONAL,), databases=("shop",), users=("eva", "bo"),
        wishes=Wishes(hold_s=60.0, preview=False),
    ),
)  # fmt: skip


@pytest.mark.parametrize("profile", PROFILES)
def test_ones_own_rules_stand_before_the_profiles(tmp_path: Path, profile: str) -> None:
    config = load(_written(tmp_path, f"[policy]\nprofile = '{profile}'\n" + _RULES.format("policy.")))
    assert config.profile == profile
    assert config.policy == policy_of(PROFILES[profile], _OWN)
    assert config.policy.rules[:2] == _OWN


def test_rules_may_stand_in_a_file_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "policy.toml").write_text(_RULES.format(""))
    config = load(_written(tmp_path, "[policy]\nrules = 'rules/policy.toml'"))
    assert config.policy == policy_of(PROFILES["default"], _OWN)
    digest = config.policy.digest
    (tmp_path / "rules" / "policy.toml").write_text("")
    assert config.policy.digest == digest, "what decides does not change behind one's back"
    assert load(config.path).policy == policy_of(PROFILES["default"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["policy.rules is ", "cannot be read"]),
        ("rule", ["policy.toml: is not TOML"]),
        ("[[policy.rule]]\nname = 'a'\nresult = 'hold'", ["policy.toml: ", "policy"]),
        ("[[rule]]\nname = 'a'\nresult = 'hold'\nclass = 'x'", ["policy.toml: rule[0].class is 'x'", "one of select"]),
        ("[[rule]]\nname = 'a'\nresult = 1", ["policy.toml: rule[0].result is 1", "expected `str`"]),
    ],
)
def test_what_is_wrong_in_a_file_of_rules_is_said_with_that_file(
    tmp_path: Path, text: str | None, words: list[str]
) -> None:
    if text is not None:
        (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load(_written(tmp_path, "[policy]\nrules = 'policy.toml'"))
    for word in words:
        assert word in str(error.value)


def test_rules_stand_in_one_place(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("")
    with pytest.raises(ConfigError, match=r"policy\.rules is .policy\.toml.: expected either"):
        load(_written(tmp_path, "[policy]\nrules = 'policy.toml'\n" + _RULES.format("policy.")))


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


@pytest.mark.parametrize("where", ["nowhere/mark", "pgnotary.toml/mark"])
def test_a_high_water_mark_needs_a_folder(made: Config, where: str) -> None:
    assert made.high_water is None
    text = made.path.read_text()
    made.path.write_text(text.replace("[ledger]\n", '[ledger]\nhigh_water = "mark"\n'))
    config = load(made.path)
    config.inspect()
    assert config.high_water == made.near("mark")
    made.path.write_text(text.replace("[ledger]\n", f'[ledger]\nhigh_water = "{where}"\n'))
    with pytest.raises(ConfigError, match=r"ledger\.high_water is .*: expected a name in a folder that is there"):
        load(made.path).inspect()


@pytest.mark.parametrize("name", ["ledger.db", "./ledger.db", "ledger.db-wal", "link"])
def test_a_high_water_mark_never_takes_the_ledgers_place(made: Config, name: str) -> None:
    made.near("link").symlink_to("ledger.db")
    made.path.write_text(made.path.read_text().replace("[ledger]\n", f'[ledger]\nhigh_water = "{name}"\n'))
    with pytest.raises(ConfigError, match="expected another file than the ledger"):
        load(made.path).inspect()


@pytest.mark.parametrize("value", ["0", "86401", "0.5", "'60'"])
def test_a_heart_beats_in_whole_seconds(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"ledger\.heartbeat_s is"):
        load(_written(tmp_path, f"[ledger]\nheartbeat_s = {value}"))


# --- the approval API over a network, and metrics --------------------------------------------------------------------


@pytest.mark.parametrize("address", ["0.0.0.0:7443", "db.example:7443", "[::]:7443", "192.0.2.1:7443"])
def test_a_call_over_a_network_is_never_in_plain_text(tmp_path: Path, address: str) -> None:
    text = f'[approval]\naddress = "{address}"\n'
    with pytest.raises(ConfigError, match=r"approval\.address .* certificate_file and key_file in \[approval\.tls\]"):
        parse(tmp_path / "pgnotary.toml", text.encode())
    with_tls = text + '[approval.tls]\ncertificate_file = "a.pem"\nkey_file = "a.key"\n'
    assert parse(tmp_path / "pgnotary.toml", with_tls.encode()).approval_address is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[approval]\naddress = "7443"', "approval.address"),
        ('[approval]\naddress = "127.0.0.1:1"\n[approval.tls]\nkey_file = "a"', "both certificate_file and key_file"),
        ('[approval.tls]\ncertificate_file = "a"\nkey_file = "b"', "expected approval.address too"),
        ('[metrics]\naddress = "here"', "metrics.address"),
        ("[approval]\nmax_connections = 0", "approval.max_connections is 0"),
        ("[approval]\ncalls_per_s = 0", "approval.calls_per_s is 0"),
    ],
)
def test_what_is_wrong_with_the_api_or_metrics_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(why)):
        parse(tmp_path / "pgnotary.toml", text.encode())


def test_on_loopback_the_api_may_go_without_tls_and_by_itself_listens_nowhere(tmp_path: Path) -> None:
    config = parse(tmp_path / "pgnotary.toml", b'[approval]\naddress = "127.0.0.1:7443"')
    assert config.approval_address == Address("127.0.0.1", 7443)
    assert parse(tmp_path / "pgnotary.toml", b"").approval_address is None
    assert parse(tmp_path / "pgnotary.toml", b"").metrics_address is None
