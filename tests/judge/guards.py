"""The guards that stop evasions, and how to take each of them down.

The name of a guard enters, as a family of evasions gives it; what leaves is a judge without it, for the time of one
test. A family that passes then was stopped by that guard and by nothing else. Where two guards stand behind each other
their names are joined by ` + `, and only without both does a text pass.

A takedown replaces one constant or one function of the judge:

- `lexer ...`, `encoding`, `size`, `unread`, `every statement`: the text is read as a reader would that is mistaken in
  this one way, or gives up and shrugs;
- `message`, `walk` with names: messages or fields of a tree that the first reader passes over;
- `kind`, `function` with names: statements and functions taken for harmless by their names;
- all others: a rule of its own.

Guards that only a catalog is asked for are in `tests/judge/catalog_guards.py`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from pgnotary.judge import functions, gate, grammar, harmless, meaning, reading, refusals, second, settings
from pgnotary.judge.catalog import Catalog
from pgnotary.judge.grammar import Message, RawStatement, Unreadable
from pgnotary.judge.harmless_functions import HARMLESS
from pgnotary.judge.settings import Ruling, SettingChange
from pgnotary.judge.statement import ONLY_A_NAME, Control, Finding, Name, Part, Qualifier, Statement, StatementClass

__all__ = ["names_of", "take_down"]


def names_of(guard: str) -> list[str]:
    """Return the guards that stand behind each other."""
    return guard.split(" + ")


def take_down(patch: pytest.MonkeyPatch, name: str) -> None:
    """Put a judge without that guard in the place of the judge."""
    if name in _RULES:
        _RULES[name](patch)
        return
    kind, _, names = name.partition(" ")
    _LISTS[kind](patch, frozenset(names.split("|")))


# --- a text that is read wrongly


def _misread(misreading: Callable[[str], str]) -> Callable[[pytest.MonkeyPatch], None]:
    """Let the judge read what a reader with other ideas of the letters would."""

    def down(patch: pytest.MonkeyPatch) -> None:
        honest = reading.read
        patch.setattr("tests.judge.evasions.read", lambda text: honest(misreading(text.decode()).encode()))

    return down


def _as_sqlglot_reads(patch: pytest.MonkeyPatch) -> None:
    """Ask the second reader alone, and let it cut the text itself."""
    honest = reading.read
    patch.setattr(second, "relex", lambda text, tokens: text.decode())

    def read(text: bytes) -> Statement:
        try:
            gate.tokens_of(text)
            objected = second.objection(text, (), ())
        except Unreadable:
            return honest(text)
        return honest(text if objected else b"SELECT 1")

    patch.setattr("tests.judge.evasions.read", read)


_PLAIN = r"'(?:''|[^'])*'"
_ESCAPING = r"'(?:\\.|''|[^'\\])*'"


def _without(pattern: str, put: str = "''") -> Callable[[str], str]:
    return lambda text: re.sub(pattern, put, text, flags=re.DOTALL)


def _decoded_first(text: str) -> str:
    """Decode what looks like an escape, then cut strings."""
    decoded = re.sub(r"\\(?:\+([0-9a-f]{6})|([0-9a-f]{4}))", lambda m: chr(int(m[1] or m[2], 16)), text)
    return re.sub("[uU]&" + _PLAIN, "''", decoded)


def _in_latin_1(patch: pytest.MonkeyPatch) -> None:
    """Take each byte for a letter, whatever the client's encoding."""
    honest = reading.read
    patch.setattr("tests.judge.evasions.read", lambda text: honest(text.decode("latin-1").encode()))


def _first_part_only(patch: pytest.MonkeyPatch) -> None:
    """Read no further than a reader would that stops at the limit."""
    limit = gate.MAX_JUDGED_BYTES
    honest = reading.read
    patch.setattr("tests.judge.evasions.read", lambda text: honest(_closed(text[: limit - 2])))


def _closed(text: bytes) -> bytes:
    """Close what the cut left open."""
    for end in (b"", b"'", b"$$", b"*/ SELECT 1"):
        try:
            grammar.parse(text + end)
        except Unreadable:
            continue
        return text + end
    return text


def _shrug(patch: pytest.MonkeyPatch) -> None:
    """Take what cannot be read for a harmless read."""
    honest = reading.read

    def read(text: bytes) -> Statement:
        statement = honest(text)
        return honest(b"SELECT 1") if statement.unreadable else statement

    patch.setattr("tests.judge.evasions.read", read)


def _first_statement_only(patch: pytest.MonkeyPatch) -> None:
    honest = grammar.parse
    patch.setattr(grammar, "parse", lambda text: honest(text)[:1])


# --- what has a name in the grammar, or in a list


_OF_A_KIND = frozenset({Qualifier.CASCADE, Qualifier.NOTIFY, Qualifier.SESSION, Qualifier.UNCONDITIONAL})


def _kinds(patch: pytest.MonkeyPatch, nodes: frozenset[str]) -> None:
    """Find nothing in what statements of these kinds are; what is found in their pieces stays."""
    honest = reading._part

    def part(text: bytes, raw: RawStatement, *rest: Any, alone: bool) -> Part:
        read = honest(text, raw, *rest, alone=alone)
        if raw.node not in nodes:
            return read
        kept = (
            each
            for each in read.findings
            if each != ONLY_A_NAME and each.qualifier not in _OF_A_KIND and not each.reason.startswith("is ")
        )
        return replace(read, findings=tuple(kept), kind=StatementClass.SELECT, outside_block_only=False)

    patch.setattr(reading, "_part", part)


def _messages(patch: pytest.MonkeyPatch, types: frozenset[str]) -> None:
    """Pass over these messages, though not over what is in them; the second reader is on its own."""
    honest = grammar.messages

    def messages(type_: str, tree: Mapping[str, Any]) -> Iterator[Message]:
        return (message for message in honest(type_, tree) if message.type not in types)

    patch.setattr(grammar, "messages", messages)


def _functions(patch: pytest.MonkeyPatch, names: frozenset[str]) -> None:
    patch.setattr(functions, "HARMLESS", HARMLESS | names)


def _walk(patch: pytest.MonkeyPatch, fields: frozenset[str]) -> None:
    """Pass over these fields of a tree: `field`, `Message.field` or `Message.*`."""

    def pruned(kind: str, value: Any) -> Any:
        if isinstance(value, list):
            return [pruned(kind, item) for item in value]
        if kind == "Node":
            return {inner: pruned(inner, content) for inner, content in value.items()}
        schema = grammar._schema(kind)
        kept: dict[str, Any] = {}
        for key, content in value.items():
            child = schema.get(key)
            if child and not fields.isdisjoint((key, f"{kind}.{key}", f"{kind}.*")):
                continue
            kept[key] = pruned(child, content) if child else content
        return kept

    honest = grammar.messages

    def messages(type_: str, tree: Mapping[str, Any]) -> Iterator[Message]:
        return honest(type_, pruned(type_, tree))

    patch.setattr(grammar, "messages", messages)


# --- rules of their own


def _no_odd_characters(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gate, "_refuse_odd_characters", lambda plain: None)


def _no_objection(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "objection", lambda text, tokens, seen: "")


def _explain_never_analyzes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reading, "explain_analyzes", lambda fields: False)


def _explain_of_anything(patch: pytest.MonkeyPatch) -> None:
    """Let EXPLAIN ANALYZE run whatever is no query."""
    honest = reading._explain

    def explain(*known: Any) -> Part:
        read = honest(*known)
        kept = (each for each in read.findings if " of " not in each.reason and each != ONLY_A_NAME)
        return replace(read, findings=tuple(kept))

    patch.setattr(reading, "_explain", explain)


def _copy_anywhere(patch: pytest.MonkeyPatch) -> None:
    honest = reading._copy

    def copy(part: Part, text: bytes, tokens: Any, tree: Any) -> Part:
        root, *others = tree
        inside = {key: root.fields[key] for key in root.fields.keys() - {"is_from", "is_program", "filename"}}
        part = replace(part, wants_copy_data=False)
        return honest(part, text, tokens, [Message(root.type, inside), *others])

    patch.setattr(reading, "_copy", copy)


def _any_call(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(meaning, "_call", lambda name, catalog: None)


def _any_schema(patch: pytest.MonkeyPatch) -> None:
    def last(name: Name) -> str:
        return name[-1]

    patch.setattr(meaning, "built_in", last)


def _no_attributes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Catalog, "may_call", lambda self, attribute: False)


def _set_config_of_anything(patch: pytest.MonkeyPatch) -> None:
    def nothing(fields: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Finding]:
        return iter(())

    patch.setattr(harmless, "_set_config", nothing)


def _rulings(of: Ruling) -> Callable[[pytest.MonkeyPatch], None]:
    """Let a setting pass that has that ruling."""

    def down(patch: pytest.MonkeyPatch) -> None:
        def ruling(change: SettingChange) -> Ruling:
            found = settings.ruling(change)
            return Ruling.FREE if found is of else found

        patch.setattr(reading, "ruling", ruling)
        patch.setattr(refusals, "ruling", ruling)

    return down


def _any_role(patch: pytest.MonkeyPatch) -> None:
    """Take SET ROLE and SET SESSION AUTHORIZATION for settings like any other, and free."""
    honest = reading._setting

    def setting(part: Part, fields: Mapping[str, Any]) -> Part:
        read = honest(part, fields)
        kept = (each for each in read.findings if each.qualifier is not Qualifier.ROLE)
        return replace(read, findings=tuple(kept))

    patch.setattr(reading, "_setting", setting)


def _search_path_in_any_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settings, "_keeps_builtins_first", lambda schemas: True)


def _characteristics(patch: pytest.MonkeyPatch) -> None:
    """Take SET SESSION CHARACTERISTICS for SET TRANSACTION."""
    honest = reading._setting

    def setting(part: Part, fields: Mapping[str, Any]) -> Part:
        if fields.get("name") == "SESSION CHARACTERISTICS":
            return replace(part, kind=StatementClass.TRANSACTION, control=Control.SET)
        return honest(part, fields)

    patch.setattr(reading, "_setting", setting)


def _any_mix(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(refusals, "_is_bracketed", lambda statement: True)


def _two_phases(patch: pytest.MonkeyPatch) -> None:
    honest = reading._control

    def control(part: Part, fields: Mapping[str, Any]) -> Part:
        read = honest(part, fields)
        return replace(read, findings=()) if read.ends else read

    patch.setattr(reading, "_control", control)


_RULES: Mapping[str, Callable[[pytest.MonkeyPatch], None]] = {
    "lexer as sqlglot": _as_sqlglot_reads,
    "lexer with dollars in names": _misread(_without(r"\$(\w*)\$.*?\$\1\$", " ")),
    "lexer with any tag": _misread(_without(r"\$\w*\$.*\$\w*\$", "''")),
    "lexer without nesting": _misread(_without(r"/\*.*?\*/", " ")),
    "lexer with one line end": _misread(_without(r"--[^\n]*", " ")),
    "lexer with backslash escapes": _misread(_without("[nN]?" + _ESCAPING)),
    "lexer without escape strings": _misread(_without(f"[eE]?{_PLAIN}({_PLAIN})*")),
    "lexer without escape strings that go on": _misread(
        _without(rf"[eE]{_ESCAPING}(?:(?:\s|--[^\r\n]*[\r\n])+{_PLAIN})*(?:{_PLAIN})*")
    ),
    "lexer with backslash escapes in names": _misread(_without(r'"(?:\\.|[^"\\])*"', "x")),
    "lexer that decodes first": _misread(_decoded_first),
    "encoding": _in_latin_1,
    "size": _first_part_only,
    "unread": _shrug,
    "every statement": _first_statement_only,
    "odd characters": _no_odd_characters,
    "second reader": _no_objection,
    "explain analyzes": _explain_never_analyzes,
    "explained": _explain_of_anything,
    "copy target": _copy_anywhere,
    "calls": _any_call,
    "schema": _any_schema,
    "attribute": _no_attributes,
    "set_config": _set_config_of_anything,
    "pinned settings": _rulings(Ruling.REFUSE),
    "free settings": _rulings(Ruling.HOLD),
    "roles": _any_role,
    "built-ins first": _search_path_in_any_order,
    "session characteristics": _characteristics,
    "bracket": _any_mix,
    "two-phase": _two_phases,
}

_LISTS: Mapping[str, Callable[[pytest.MonkeyPatch, frozenset[str]], None]] = {
    "kind": _kinds,
    "message": _messages,
    "function": _functions,
    "walk": _walk,
}
