"""The roster: OpenSSH's allowed_signers, read as ssh-keygen reads it or not at all."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

from pgnotary.errors import BadRoster, BadSignature
from pgnotary.request.openssh import fingerprint, public_line
from pgnotary.request.roster import Roster, Signer, common, parse_roster
from pgnotary.request.sshsig import DECISION_NAMESPACE, sign, verify

ANA, BO, CY = (bytes([n]) * 32 for n in (1, 2, 3))
NOW = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MESSAGE = b'{"decision":"approve"}'


def public(seed: bytes) -> bytes:
    return bytes(SigningKey(seed).verify_key)


def key(seed: bytes, comment: str = "") -> str:
    return public_line(public(seed), comment)


def test_comments_and_blank_lines_are_skipped_and_people_are_counted_once() -> None:
    roster = parse_roster(
        f"# approvers\n\n  \t\nbo@corp {key(BO)}\n"
        f"ana@corp {key(ANA, 'laptop of Ana')}\r\n\tana@corp\t{key(CY)}\n  # end"
    )
    assert [signer.person for signer in roster.signers] == ["bo@corp", "ana@corp", "ana@corp"]
    assert roster.people == ("ana@corp", "bo@corp")
    assert roster.find(public(CY), NOW).person == "ana@corp"


def test_options_are_read_in_any_order() -> None:
    roster = parse_roster(
        'ana valid-before="20270101Z",namespaces="decision@pgnotary,api@pgnotary",valid-after="202601020304" '
        + key(ANA)
    )
    assert roster.signers == (
        Signer(
            "ana",
            public(ANA),
            ("decision@pgnotary", "api@pgnotary"),
            datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            datetime(2027, 1, 1, tzinfo=UTC),
        ),
    )


def test_an_unknown_key_is_named_by_its_fingerprint() -> None:
    with pytest.raises(BadSignature, match="nobody on the roster has the key SHA256:") as caught:
        parse_roster(f"ana {key(ANA)}").find(public(BO), NOW)
    assert fingerprint(public(BO)) in str(caught.value)


def test_a_key_for_another_namespace_cannot_decide() -> None:
    roster = parse_roster(f'ana namespaces="api@pgnotary" {key(ANA)}')
    with pytest.raises(BadSignature, match="of ana may sign api@pgnotary, not decision@pgnotary"):
        roster.find(public(ANA), NOW)
    assert roster.find(public(ANA), NOW, "api@pgnotary").person == "ana"


def test_a_key_counts_from_its_first_instant_to_its_last() -> None:
    roster = parse_roster(f'ana valid-after="20260601120000Z",valid-before="20260701120000Z" {key(ANA)}')
    last = datetime(2026, 7, 1, 12, 0, 0, tzinfo=UTC)
    for at in (NOW, last):
        assert roster.find(public(ANA), at).person == "ana"
    with pytest.raises(BadSignature, match="valid from 2026-06-01 12:00:00"):
        roster.find(public(ANA), NOW - timedelta(microseconds=1))
    with pytest.raises(BadSignature, match="valid until 2026-07-01 12:00:00"):
        roster.find(public(ANA), last + timedelta(microseconds=1))


def test_an_empty_roster_lets_nobody_sign() -> None:
    assert parse_roster("") == Roster(())
    with pytest.raises(BadSignature, match="nobody"):
        parse_roster("").find(public(ANA), NOW)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("ana", "expected a key after ana"),
        (key(ANA), "'AAAA"),
        (f"ana,bo {key(ANA)}", "'ana,bo' is not one person's name"),
        (f"* {key(ANA)}", "is not one person's name"),
        (f"*@corp {key(ANA)}", "is not one person's name"),
        (f"an? {key(ANA)}", "is not one person's name"),
        (f"!ana {key(ANA)}", "is not one person's name"),
        (f'"ana" {key(ANA)}', "is not one person's name"),
        (f"ana\u00a0x {key(ANA)}", "is not one person's name"),
        (f"\u0430na {key(ANA)}", "is not one person's name"),
        (f"{'a' * 129} {key(ANA)}", "is not one person's name"),
        (f"ana\x0b{key(ANA)}", "control character"),
        (f"ana {key(ANA)} co\0mment", "control character"),
        (f"ana {key(ANA)}\rbo {key(BO)}", "control character"),
        (f"ana cert-authority {key(ANA)}", "cannot honour the options 'cert-authority'"),
        (f'ana cert-authority,namespaces="x" {key(ANA)}', "cannot honour"),
        (f'ana namespaces="x",cert-authority {key(ANA)}', "cannot honour the options 'cert-authority'"),
        (f'ana namespaces="x" ,valid-before="20270101Z" {key(ANA)}', "type ',valid-before"),
        (f'ana namespaces="x", {key(ANA)}', "cannot honour the options ''"),
        (f'ana namespaces="x"valid-before="20270101Z" {key(ANA)}', "cannot honour"),
        (f"ana namespaces=x {key(ANA)}", "cannot honour"),
        (f'ana namespaces="x {key(ANA)}', "cannot honour"),
        (f'ana NAMESPACES="x" {key(ANA)}', "cannot honour"),
        (f'ana verify-required="x" {key(ANA)}', "the option verify-required is not supported"),
        (f'ana namespaces="x",namespaces="y" {key(ANA)}', "namespaces is given twice"),
        (f'ana namespaces="" {key(ANA)}', "'' is not a namespace"),
        (f'ana namespaces="*" {key(ANA)}', "is not a namespace"),
        (f'ana namespaces="x,!y" {key(ANA)}', "is not a namespace"),
        (f'ana namespaces="x, y" {key(ANA)}', "is not a namespace"),
        (f'ana namespaces="x\\"" {key(ANA)}', "cannot honour"),
        (f'ana valid-after="2026" {key(ANA)}', "is not a time"),
        (f'ana valid-after="20260101+0200" {key(ANA)}', "is not a time"),
        (f'ana valid-after="2026010112Z" {key(ANA)}', "is not a time"),
        (f'ana valid-after="20261301Z" {key(ANA)}', "there is no time 20261301Z"),
        (f'ana valid-after="19700101Z" {key(ANA)}', "before 1970"),
        (f'ana valid-after="20270101Z",valid-before="20260101Z" {key(ANA)}', "is not after"),
        (f'ana valid-after="20260101Z",valid-before="20260101Z" {key(ANA)}', "is not after"),
        ("ana ssh-rsa AAAAB3NzaC1yc2E", "'ssh-rsa'; only ssh-ed25519"),
        ("ana sk-ssh-ed25519@openssh.com AAAA", "cannot be read"),
        (f"ana ssh-ed25519-cert-v01@openssh.com {key(ANA)[12:]}", "only ssh-ed25519"),
        (f"ana {key(ANA)[:-4]}", "the public key cannot be read"),
        (f"bo {key(BO)}", "the key of bo is already listed for bo on line 2"),
        (f"ana {key(BO)}", "the key of ana is already listed for bo on line 2"),
        (f"Bo {key(ANA)}", "Bo and bo differ only in case"),
    ],
)
def test_what_cannot_be_honoured_to_the_letter_is_refused_with_its_line(line: str, why: str) -> None:
    with pytest.raises(BadRoster, match=r"^line 4: ") as caught:
        parse_roster(f"# one\nbo {key(BO)}\n\n{line}\ncy {key(CY)}\n")
    assert why in str(caught.value)


people = st.from_regex(r"[a-z][a-z0-9.@_-]{0,8}", fullmatch=True)
seconds = st.datetimes(datetime(1971, 1, 1), datetime(2999, 1, 1)).map(lambda at: at.replace(microsecond=0, tzinfo=UTC))


@st.composite
def rosters(draw: st.DrawFn) -> Roster:
    signers = []
    for seed in draw(st.lists(st.binary(min_size=32, max_size=32), unique=True, max_size=4)):
        after, before = draw(st.none() | seconds), draw(st.none() | seconds)
        if after and before and before <= after:
            before = after + SECOND
        namespaces = draw(st.none() | st.lists(people, min_size=1, max_size=2).map(tuple))
        signers.append(Signer(draw(people), public(seed), namespaces, after, before))
    return Roster(tuple(signers))


@given(rosters())
def test_the_canonical_text_reads_back_as_the_same_roster(roster: Roster) -> None:
    assert parse_roster(roster.text) == roster


Check = Callable[..., bool]


@pytest.fixture
def ssh_keygen_accepts(tmp_path: Path) -> Check:
    """Asks ssh-keygen whether a roster lets a person's signature count at a time."""
    program = shutil.which("ssh-keygen")
    if program is None:
        pytest.skip("ssh-keygen is not installed")

    def check(text: str, person: str, seed: bytes, at: datetime) -> bool:
        (tmp_path / "roster").write_text(text)
        (tmp_path / "sig").write_text(sign(MESSAGE, seed, DECISION_NAMESPACE))
        command = [program, "-Y", "verify", "-f", "roster", "-I", person, "-n", DECISION_NAMESPACE, "-s", "sig"]
        command += ["-O", f"verify-time={at.strftime('%Y%m%d%H%M%S')}"]
        # The time of -O is read in the local zone.
        done = subprocess.run(command, input=MESSAGE, cwd=tmp_path, env={"TZ": "UTC"}, capture_output=True, check=False)
        return done.returncode == 0

    return check


OPTIONS = [
    "",
    'namespaces="decision@pgnotary" ',
    'namespaces="file,decision@pgnotary" ',
    'namespaces="api@pgnotary" ',
    'valid-before="20260601120000Z" ',
    'valid-before="20260601115959Z" ',
    'valid-before="202606011200Z" ',
    'valid-before="20260601" ',
    'valid-before="20260602Z" ',
    'valid-after="20260601120000Z" ',
    'valid-after="20260601120001Z" ',
    'valid-after="20260601Z",valid-before="20260701Z",namespaces="decision@pgnotary" ',
]


@pytest.mark.parametrize("options", OPTIONS)
def test_ssh_keygen_and_the_roster_agree_about_every_option(ssh_keygen_accepts: Check, options: str) -> None:
    text = f"# approvers\nbo@corp {key(BO)}\n\nana@corp {options}{key(ANA, 'her laptop')}\n"
    roster = parse_roster(text)
    try:
        signer = roster.find(verify(sign(MESSAGE, ANA, DECISION_NAMESPACE), MESSAGE, DECISION_NAMESPACE), NOW)
        ours = signer.person == "ana@corp"
    except BadSignature:
        ours = False
    assert ssh_keygen_accepts(text, "ana@corp", ANA, NOW) == ours
    assert ssh_keygen_accepts(roster.text, "ana@corp", ANA, NOW) == ours
    assert not ssh_keygen_accepts(text, "bo@corp", ANA, NOW)
    assert not ssh_keygen_accepts(text, "ana@corp", CY, NOW)


# --- what two rosters agree upon --------------------------------------------------------------------------------------


def test_only_keys_that_both_give_to_the_same_person_are_common() -> None:
    one = parse_roster(f"ana {key(ANA)}\nbo {key(BO)}\ncy {key(CY)}")
    other = parse_roster(f"cy {key(CY)}\nana {key(BO)}\nana {key(ANA)}")
    assert common(one, other) == parse_roster(f"ana {key(ANA)}\ncy {key(CY)}")
    assert common(one, Roster(())) == Roster(())
    assert common(one, one) == one


_TIMES = st.none() | st.integers(0, 3).map(lambda hours: NOW + timedelta(hours=hours))
_SPACES = st.none() | st.lists(st.sampled_from(["a@x", DECISION_NAMESPACE]), unique=True).map(tuple)
_ROSTERS = st.lists(st.builds(Signer, st.sampled_from(["ana", "bo"]), st.just(public(ANA)), _SPACES, _TIMES, _TIMES),
                    max_size=1).map(lambda signers: Roster(tuple(signers)))  # fmt: skip


def _signer(roster: Roster, at: datetime) -> str | None:
    try:
        return roster.find(public(ANA), at).person
    except BadSignature:
        return None


@given(_ROSTERS, _ROSTERS, _ROSTERS, st.integers(-1, 4))
def test_a_key_counts_in_common_exactly_when_it_counts_in_each(
    one: Roster, two: Roster, three: Roster, hours: int
) -> None:
    at = NOW + timedelta(hours=hours)
    people = {_signer(roster, at) for roster in (one, two, three)}
    expected = people.pop() if len(people) == 1 else None
    assert _signer(common(common(one, two), three), at) == expected
