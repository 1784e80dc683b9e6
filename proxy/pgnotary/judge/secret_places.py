"""Where in a statement secrets stand: its lexemes enter, the indices of those to hide leave, and of those to read.

It follows the layout of the words alone (`pgnotary.judge.layout`): what follows a name is its value up to the next
comma, bracket or clause. Where nobody can say which literal is the secret, all that may be are hidden.
"""

import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field

from pgnotary.judge.layout import CLOSING, ENDS_NAME, OPENING, Layout, Tiresome
from pgnotary.judge.literals import Lexeme, Sort
from pgnotary.judge.secret_functions import (
    CHOOSE,
    GIVE_ROWS,
    NO_SECRETS,
    SECRET_ARGUMENTS,
    SECRET_FUNCTION,
    TAKE_NAMES,
)
from pgnotary.judge.secret_names import is_secret_name
from pgnotary.judge.secret_values import (
    carries_secret,
    command_carries_secret,
    connects_with_secret,
    opens_secret,
)

__all__ = ["Arguments", "Places", "find_places", "no_arguments"]

Arguments = Callable[[Sequence[str | None]], Set[int]]
"""Which arguments of an EXECUTE are secrets, counted from 1; None is one that is no plain value."""


def no_arguments(_: Sequence[str | None]) -> Set[int]:
    """Say that no argument is a secret."""
    return frozenset()


@dataclass(slots=True)
class Places:
    """Indices into the lexemes of a statement."""

    hidden: set[int] = field(default_factory=set)
    ranges: list[range] = field(default_factory=list)
    """Runs of lexemes to hide as one, with what stands between them."""
    code: set[int] = field(default_factory=set)
    """Literals that hold a text to be read like the one around them."""
    commands: set[int] = field(default_factory=set)
    """Literals that a shell runs."""


_COMPARES = frozenset("= <> != < > <= >= ~ !~ ~* !~* ~~ ~~* !~~ || ^@ @> <@ && like ilike similar in".split())
# Behind one of these, a secret in whatever is on the right makes one of what is on the left.
_COMPARES_BACK = (_COMPARES - {"||"}) | {"between"}
_ASSIGNS = _COMPARES | frozenset([":=", "=>", ":", "to", "default", "value"])
_ROWS_FOLLOW = frozenset(["values", "select", "with", "overriding", "default", "("])
_POINTS_INTO = frozenset(["->", "->>", "#>", "#>>", "["])
_MAX_BETWEEN = 24
_FROM = frozenset({"from", "join", "lateral"})
_NAME = re.compile(r"[^\W\d][\w.]*")
_SETTERS = frozenset({"local", "session"})
_CODE_FOLLOWS = frozenset({"do", "as", "execute", "plpgsql", "sql"})
_BEGINS_AS_CODE = re.compile(
    r"(?is)\s*+(?:(?:--[^\n]*+\n|/\*(?:[^*]|\*(?!/))*+\*/)\s*+)*+[(\s]*+(?:select|with|insert|update|delete|merge|create|alter|drop|set|do|copy"
    r"|grant|call|execute|prepare|explain|begin|declare|perform|comment|import|values)\b"
)
_TELLS_CREDENTIALS = frozenset({"role", "user", "group", "server", "subscription", "mapping", "database"})


def find_places(
    statement: Sequence[Lexeme], *, parses: Callable[[], bool], inside: bool, arguments: Arguments = no_arguments
) -> Places:
    """Return what is to hide in a statement, and which of its literals are code.

    `parses` says whether PostgreSQL's grammar can read the text. `inside`: it is itself the content of a literal, in a
    language that may not be SQL. `arguments` says which arguments of an EXECUTE are secrets.
    """
    finder = _Finder(statement, parses=parses, inside=inside, arguments=arguments)
    try:
        finder.search()
    except Tiresome:
        # Nests of calls and values are read over and over: what is made to be tiresome is hidden as a whole.
        return Places(ranges=[range(1, len(statement))])
    return finder.places


class _Finder:
    """One search through one statement."""

    def __init__(
        self, statement: Sequence[Lexeme], *, parses: Callable[[], bool], inside: bool, arguments: Arguments
    ) -> None:
        self._text = Layout(statement)
        self._parses = parses
        self._inside = inside
        self._arguments = arguments
        self._flows = False
        """A secret column is filled from somewhere else in the statement."""
        self._flowing: set[str] = set()
        """Under which names it may stand there; "*" if it may be any."""
        self.places = Places()

    def search(self) -> None:
        """Apply every rule."""
        for i, each in enumerate(self._text.lexemes):
            if each.sort is Sort.STRING:
                self._judge_literal(i)
            elif each.sort is Sort.WORD:
                self._judge_word(i)
            if self._text.is_a(i, Sort.STRING, Sort.NUMBER, Sort.PARAMETER) and self._is_named_behind(i + 1):
                self.places.hidden.add(i)
            elif self._text.word(i) in _COMPARES_BACK or self._text.is_distinct(i):
                self._judge_comparison(i)
        self._judge_roles()
        self._judge_openings()
        if self._flows:
            self._hide_lists()

    def _is_named_secret(self, i: int) -> bool:
        return (
            self._text.is_a(i, Sort.WORD)
            and self._text.word(i + 1) != "."
            and is_secret_name(self._text.lexemes[i].value)
        )

    # --- hiding -----------------------------------------------------------------------------------------------------

    def _hide(self, places: range, *, numbers: bool = True) -> bool:
        """Hide the constants of an expression; say whether it has any."""
        found = False
        # Of each open bracket: whether it holds the arguments of a function, whose numbers are positions and lengths.
        calls: list[bool] = []
        i = places.start
        while i < places.stop:
            if self._text.word(i) in OPENING:
                name = self._text.word(i - 1) or ("quoted" if self._text.is_a(i - 1, Sort.WORD) else "")
                if name in NO_SECRETS:
                    i = self._text.closing(i)
                else:
                    calls.append(
                        self._text.is_a(i - 1, Sort.WORD) and name not in ("in", "any", "array", "row", "values", "all")
                    )
            elif self._text.word(i) in CLOSING and calls:
                calls.pop()
            elif self._text.is_a(i, Sort.STRING, Sort.PARAMETER) or (
                numbers and self._text.is_a(i, Sort.NUMBER) and not any(calls)
            ):
                self.places.hidden.add(i)
                # A key of a document is no value of it.
                found |= self._text.word(i - 1) not in _POINTS_INTO
            i += 1
        return found

    def _has_secret_behind(self, start: int) -> bool:
        """Say whether the value that begins there is made of a secret; of a query in it, by what that lists."""
        at, end = start, self._text.end_of_value(start)
        while at < end:
            if self._text.word(at) == "from" and (opening := self._text.around[at]) is not None and opening >= start:
                at = self._text.closing(opening)
            elif self._is_named_secret(at) and self._text.word(at + 1) != "(":
                return True
            else:
                at += 1
        return False

    def _judge_comparison(self, i: int) -> None:
        """'...' = lower(password), ('...', 5) = (password, id), (password, id) = ('...', 5)."""
        behind = i + 1
        if self._text.is_distinct(i):
            behind += 3 if self._text.word(i + 1) == "not" else 2
        begin = self._text.begin_of_value(i)
        left = list(self._text.items(self._text.opens[i - 1])) if i - 1 in self._text.opens else []
        opening = behind + 1 if self._text.word(behind) == "row" else behind
        rights = [list(self._text.items(opening))] if self._text.word(opening) == "(" else []
        if len(left) > 1 and any(map(self._is_secret_item, left)):
            # Behind IN there are several.
            inner = [
                list(self._text.items(item.start))
                for row in rights
                for item in row
                if self._text.word(item.start) == "("
            ]
            self._hide_like(left, inner or rights)
        elif len(left) > 1 and rights and len(rights[0]) == len(left):
            self._hide_like(rights[0], [left])
        elif self._has_secret_behind(behind):
            self._hide(range(begin, i), numbers=False)

    def _is_secret_item(self, item: range) -> bool:
        return len(item) > 0 and self._is_named_secret(item.stop - 1)

    def _hide_like(self, names: list[range], rows: list[list[range]]) -> None:
        """Hide of each row what is compared with a secret among the names."""
        for row in rows:
            for name, item in zip(names, row, strict=False):
                if len(row) == len(names) and self._is_secret_item(name):
                    self._hide(item)

    def _hide_value(self, start: int, *, numbers: bool = True) -> None:
        """Hide the value that begins there."""
        end = self._text.end_of_value(start)
        has_constants = self._hide(range(start, end), numbers=numbers)
        words = [i for i in range(start, end) if self._text.is_a(i, Sort.WORD)]
        if words and (self._inside or not self._parses()):
            # Where a name was meant as a value: password = hunter2, or in another language password = "hunter2".
            kept = (i for i in words if self._text.lexemes[i].quoted or (not self._parses() and self._is_value_word(i)))
            self.places.hidden.update(kept)
        if not has_constants and any(self._text.word(i + 1) != "(" for i in words):
            self._flows = True
            self._flowing.update(self._text.lexemes[i].value for i in words)

    def _is_value_word(self, i: int) -> bool:
        return (
            self._text.word(i + 1) not in ("(", ".")
            and self._text.word(i - 1) != "."
            and self._text.word(i) not in ("null", "default")
        )

    # --- rules ------------------------------------------------------------------------------------------------------

    def _judge_literal(self, i: int) -> None:
        each = self._text.lexemes[i]
        if self._is_code(i):
            self.places.code.add(i)
        elif carries_secret(each.value):
            self.places.hidden.add(i)
        if self._text.word(i - 1) == "program" and command_carries_secret(each.value):
            self.places.hidden.add(i)
            self.places.commands.add(i)
        if self._text.word(i - 1) == "connection" and connects_with_secret(each.value):
            self.places.hidden.add(i)
        if is_secret_name(each.value.strip("{}").rpartition(",")[2]) and each.value.strip("{}"):
            self._judge_key(i)

    def _is_code(self, i: int) -> bool:
        return self._text.word(i - 1) in _CODE_FOLLOWS or _BEGINS_AS_CODE.match(self._text.lexemes[i].value) is not None

    def _judge_key(self, i: int) -> None:
        """A literal that names a secret: data ->> 'password' = ..., set_config('app.token', ...)."""
        if self._text.word(i - 1) in _POINTS_INTO or self._text.word(i + 1) in (":", "value", "=>"):
            self._seek_value(i)
        elif self._text.word(i + 1) == "," and self._text.word((self._text.around[i] or 0) - 1) in TAKE_NAMES:
            self._hide_value(i + 2)

    def _is_named_behind(self, i: int) -> bool:
        """Say whether an expression that ends before `i` gets a secret's name, or is compared with one."""
        while self._text.word(i) in ("::", *CLOSING):
            # Its type, and the brackets around it.
            is_type = self._text.word(i) == "::"
            i += 2 if is_type else 1
            while is_type and self._text.word(i) in OPENING:
                i = self._text.closing(i) + 1
        begin = i + 1 if self._text.word(i) in _COMPARES or self._text.word(i) == "as" else i
        at = begin + 2 if self._text.word(begin) in ("any", "some", "all") else begin
        if self._text.word(at) == "(" and begin > i:
            return any(self._is_named_secret(each) for item in self._text.items(at) for each in item[-1:])
        while self._text.is_a(at, Sort.WORD) and self._text.word(at + 1) == ".":
            at += 2
        if not self._is_named_secret(at):
            return False
        # Without AS it is a name only if nothing follows; else it begins the next item, as in a list of options.
        return begin > i or (
            self._text.word(at + 1) in ("", ",", ")", "from", "where") and not self._text.is_a(at + 1, Sort.STRING)
        )

    def _judge_word(self, i: int) -> None:
        each, word = self._text.lexemes[i], self._text.word(i)
        if each.quoted and carries_secret(each.value):
            self.places.hidden.add(i)
        if word == "insert":
            self._judge_insert(i)
        elif word == "set":
            self._judge_set(i)
        if self._text.is_call(i):
            self._judge_call(i)
        if self._is_named_secret(i):
            self._seek_value(i)
            self._judge_columns(i)
            if self._text.word(i - 1) == "as" and (opening := self._text.opens.get(i - 2)) is not None:
                self._hide(range(opening, i - 2))
        if word == "execute" and self._text.word(i + 2) == "(":
            items = list(self._text.items(i + 2))
            for n in self._arguments([self._plain_value(item) for item in items]):
                if n <= len(items):
                    self._hide(items[n - 1])

    def _plain_value(self, item: range) -> str | None:
        """Return what the one literal of an item says; None if it has none, or several."""
        said = [self._text.lexemes[at].value for at in item if self._text.is_a(at, Sort.STRING)]
        return said[0] if len(said) == 1 else None

    def _seek_value(self, name: int) -> None:
        """Find the value of a name: right behind it, or behind the next operator of its item."""
        at = name + 1
        # Of several (tokens = 5) a number says how many.
        numbers = not self._text.lexemes[name].value.lower().endswith("tokens")
        if self._text.is_a(at, Sort.STRING):
            self._hide(range(at, at + 1))
            return
        for i in range(at, min(at + _MAX_BETWEEN, len(self._text.lexemes))):
            if i < at:
                continue
            word = self._text.word(i)
            if word in OPENING:
                at = self._text.closing(i) + 1
            elif word in CLOSING:
                behind = i + 1
                while self._text.word(behind) in CLOSING or self._text.word(behind) == "::":
                    behind += 2 if self._text.word(behind) == "::" else 1
                if self._text.word(behind) in _COMPARES or self._text.is_distinct(behind):
                    # A number is compared with what a function says of it, its length for one.
                    self._hide_value(behind + 1 + 3 * self._text.is_distinct(behind), numbers=False)
                return
            elif word in _ASSIGNS:
                self._hide_value(i + 1, numbers=numbers)
                return
            elif word == "between":
                self._hide_value(i + 1, numbers=numbers)
                self._hide_value(self._text.end_of_value(i + 1) + 1, numbers=numbers)
                return
            elif self._text.is_distinct(i):
                self._hide_value(i + (4 if self._text.word(i + 1) == "not" else 3), numbers=numbers)
                return
            elif word == "," or (word in ENDS_NAME and not (word == "set" and self._text.word(i + 1) == "default")):
                return

    def _judge_columns(self, i: int) -> None:
        """WITH v (name, password) AS (VALUES ...), (VALUES ...) AS v (name, password): the rows stand elsewhere."""
        if self._text.word(i - 1) not in ("(", ",") or self._text.word(i + 1) not in (")", ","):
            return
        opening = self._text.around[i]
        if opening is None or self._text.word(opening) != "(" or not self._text.is_a(opening - 1, Sort.WORD):
            return
        behind = self._text.word(self._text.closing(opening) + 1)
        is_alias = self._text.word(opening - 2) in (")", "as") and behind not in _ROWS_FOLLOW
        self._flows |= behind == "as" or is_alias

    def _judge_call(self, i: int) -> None:
        name = self._text.lexemes[i].value.lower()
        if SECRET_FUNCTION.search(name) and self._text.word(0) != "create":
            self._hide(range(i + 1, self._text.closing(i + 1)))
        if name in CHOOSE and any(self._is_named_secret(at) for item in self._text.items(i + 1) for at in item[-1:]):
            self._hide(range(i + 1, self._text.closing(i + 1)))
        if name.startswith("dblink"):
            for at in range(i + 2, self._text.closing(i + 1)):
                if (
                    self._text.is_a(at, Sort.STRING)
                    and not self._is_code(at)
                    and connects_with_secret(self._text.lexemes[at].value)
                ):
                    self.places.hidden.add(at)
        if places := SECRET_ARGUMENTS.get(name):
            for n, argument in enumerate(self._text.items(i + 1)):
                if n in places:
                    self._hide(argument)

    def _judge_insert(self, i: int) -> None:
        """INSERT INTO users (name, password) VALUES ('eva', '...'), or the same with a SELECT."""
        at = i + 1
        while at < len(self._text.lexemes) and self._text.word(at) not in (
            "(",
            "values",
            "select",
            "default",
            "with",
            "table",
        ):
            at += 1
        if self._text.word(at) != "(":
            return
        columns = list(self._text.items(at))
        secret = {n for n, item in enumerate(columns) if item and is_secret_name(self._text.lexemes[item.start].value)}
        if not secret:
            return
        at, depth = self._text.closing(at) + 1, 0
        while self._text.word(at) == "(":
            at += 1  # Around all of the rows.
        while at < len(self._text.lexemes):
            word = self._text.word(at)
            if depth <= 0 and word == "values":
                at = self._hide_rows(at + 1, secret)
                continue
            if word == "select" and depth <= 1:
                self._hide_targets(at + 1, secret)
            if depth <= 0 and word in ("on", "returning", "when") and self._text.word(at - 1) != "distinct":
                return
            depth += (word in OPENING) - (word in CLOSING)
            at += 1

    def _hide_rows(self, at: int, secret: set[int]) -> int:
        while self._text.word(at) == "(":
            for n, item in enumerate(self._text.items(at)):
                if n in secret:
                    self._hide_item(item)
            at = self._text.closing(at) + 1
            if self._text.word(at) == ",":
                at += 1
        return at

    def _hide_targets(self, at: int, secret: set[int]) -> None:
        depth = n = 0
        if self._text.word(at) == "distinct" and self._text.word(at + 1) == "on":
            at = self._text.closing(at + 2) + 1
        start = at
        for i in range(at, len(self._text.lexemes) + 1):
            word = self._text.word(i)
            ends = depth == 0 and (
                i == len(self._text.lexemes)
                or word in CLOSING
                or word in ENDS_NAME - {"as", "by", "end", "else", "then", "when"}
            )
            if ends or (depth == 0 and word == ","):
                if self._text.word(i - 1) == "*":
                    self._flows = True  # Which of its columns is whose is not to be seen here.
                    self._flowing.add("*")
                if n in secret:
                    self._hide_item(range(start, i))
                n, start = n + 1, i + 1
            depth += (word in OPENING) - (word in CLOSING)
            if ends or depth < 0:
                return

    def _hide_item(self, item: range) -> None:
        if self._hide(item):
            return
        words = [i for i in item if self._text.is_a(i, Sort.WORD) and self._text.word(i) not in ("null", "default")]
        self._flows |= bool(words)
        self._flowing.update(self._text.lexemes[i].value for i in words)

    def _hide_lists(self) -> None:
        """Hide the literals of every VALUES, of calls that give rows, and those under the names by which it flows."""
        for i in range(len(self._text.lexemes)):
            gives_rows = self._text.word(i - 1) in _FROM or GIVE_ROWS.fullmatch(self._text.lexemes[i].value)
            if self._text.is_a(i, Sort.WORD) and self._text.word(i + 1) == "(" and gives_rows:
                self._hide(range(i + 1, self._text.closing(i + 1)))
            if (
                self._text.is_a(i, Sort.WORD)
                and self._text.lexemes[i].value in self._flowing
                and self._text.is_alias(i)
            ):
                end = i - 1 if self._text.word(i - 1) == "as" else i
                self._hide(range(self._text.begin_of_value(end), end))
            if "*" in self._flowing and self._text.word(i) == "select" and self._text.word(i - 1) == "(":
                self._hide(range(i + 1, self._text.end_of_list(i + 1)))
            if self._text.word(i) == "values":
                at = i + 1
                while self._text.word(at) == "(":
                    self._hide(range(at, self._text.closing(at)))
                    at = self._text.closing(at) + 2

    def _judge_set(self, i: int) -> None:
        """SET app.api_key = ..., also of a role or a database; of an UPDATE each column is judged by its name."""
        if any(self._text.word(at) in ("update", "merge") for at in range(i)):
            return
        at = i + 1
        if self._text.word(at) in _SETTERS and self._text.is_a(at + 1, Sort.WORD):
            at += 1
        begin = at
        while self._text.is_a(at, Sort.WORD) and self._text.word(at + 1) == ".":
            at += 2
        if self._text.word(at + 1) not in ("=", "to") or not any(
            is_secret_name(self._text.lexemes[part].value) for part in range(begin, at + 1, 2)
        ):
            return
        end = next(
            (j for j in range(at + 2, len(self._text.lexemes)) if self._text.word(j) in ("as", "language")),
            len(self._text.lexemes),
        )
        for j in range(at + 2, end):
            if self._text.is_a(j, Sort.STRING, Sort.NUMBER, Sort.WORD) and self._text.word(j) not in (
                "default",
                "null",
                "from",
            ):
                self.places.hidden.add(j)

    def _judge_roles(self) -> None:
        """CREATE ROLE and its like in a text that cannot be parsed: nobody can say which literal is the password."""
        for i in range(len(self._text.lexemes) - 1):
            if (
                self._text.word(i) in ("create", "alter")
                and self._text.word(i + 1) in _TELLS_CREDENTIALS
                and not self._parses()
            ):
                for at in range(i + 2, len(self._text.lexemes)):
                    if self._text.is_a(at, Sort.STRING):
                        self.places.hidden.add(at)
                    if at > i + 2 and self._is_word_of_password(at) and self._is_misplaced(at + 1):
                        self.places.ranges.append(range(at + 1, len(self._text.lexemes)))
                        return
                return

    def _is_misplaced(self, i: int) -> bool:
        return i < len(self._text.lexemes) and not self._text.is_a(i, Sort.STRING) and self._text.word(i) != "null"

    def _is_word_of_password(self, i: int) -> bool:
        return self._is_named_secret(i) or (self._text.word(i) == "by" and self._text.word(i - 1) == "identified")

    def _judge_openings(self) -> None:
        """A literal that ends where a secret follows makes secrets of all literals behind it."""
        opened = False
        for i, each in enumerate(self._text.lexemes):
            if each.sort not in (Sort.STRING, Sort.PARAMETER):
                continue
            if opened:
                self.places.hidden.add(i)
            elif each.sort is Sort.STRING and self._opens_secret(i):
                opened = True

    def _opens_secret(self, i: int) -> bool:
        value = self._text.lexemes[i].value
        if opens_secret(value):
            return True
        # A text with places to fill: VALUES (%L, %L), or ... = $1 and then USING.
        has_places = "%" in value or any(
            self._text.word(at) == "using" for at in range(i + 1, min(i + 8, len(self._text.lexemes)))
        )
        return has_places and self._is_code(i) and any(is_secret_name(name[0]) for name in _NAME.finditer(value))
