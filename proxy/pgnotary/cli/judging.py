"""How commands ask the judge: a text, what is known of a database, a policy and a subject enter, all it found leaves.

The one place where the command line meets the judge. A text that no Query message could carry is refused here as the
proxy would refuse it; it has no statement then.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pgnotary.errors import StatementError
from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.identifiers import identifier, qualified
from pgnotary.judge.meaning import weigh
from pgnotary.judge.policy import Verdict, verdict
from pgnotary.judge.reading import read
from pgnotary.judge.rules import Action, Policy, Subject
from pgnotary.judge.scope import UNSCOPED, Scope
from pgnotary.judge.statement import Name, Part, Statement, StatementClass

__all__ = ["NO_DATABASE", "Judged", "Touched", "View", "judge", "touched"]


@dataclass(frozen=True, slots=True)
class View:
    """What is known of a database, and of a new session in it."""

    catalog: Catalog = BUILT_IN
    scope: Scope = UNSCOPED
    database: str = ""


NO_DATABASE = View()
"""All that is known without one."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A text's verdict, and the weighed statement that it is about."""

    verdict: Verdict
    statement: Statement | None


@dataclass(frozen=True, slots=True)
class Touched:
    """What one part names: relations by their whole names where the catalog knows them."""

    reads: tuple[str, ...]
    changes: tuple[str, ...]
    """With other objects that it names as its target."""
    queries: tuple[str, ...]
    """The names of its WITH queries."""
    calls: tuple[str, ...]
    """Functions that it calls in so many words."""


def judge(sql: str, policy: Policy, view: View = NO_DATABASE, subject: Subject | None = None) -> Judged:
    """Return what becomes of a text that `subject` sends to that database."""
    text = sql.encode(errors="surrogatepass")
    if b"\0" in text:
        return _refused("framing", "a NUL cannot be part of a Query message")
    try:
        statement = weigh(read(text), view.catalog, view.scope)
    except StatementError as error:
        return _refused("encoding", str(error))
    return Judged(verdict(statement, policy, subject or Subject(view.database)), statement)


def _refused(rule: str, reason: str) -> Judged:
    return Judged(Verdict(Action.REFUSE, StatementClass.UNKNOWN, f"refuse/{rule}", reason), None)


def touched(part: Part, view: View) -> Touched:
    """Return what a part reads, changes and calls; a relation that it changes is not listed as read, too."""
    names = {qualified(name): name for name in (*part.targets, *sorted(part.names.relations))}
    changes = () if part.kind is StatementClass.COPY_OUT else part.written
    queries = part.names.queries
    reads = (
        name for word, name in names.items() if word not in changes and not (len(name) == 1 and name[0] in queries)
    )
    return Touched(
        reads=_once(_whole(name, view) for name in reads),
        changes=_once(_whole(names[word], view) if word in names else word for word in changes),
        queries=tuple(map(identifier, sorted(queries))),
        calls=tuple(map(qualified, sorted(part.names.functions))),
    )


def _whole(name: Name, view: View) -> str:
    found = view.catalog.find(name, view.scope.path)
    return qualified(found[0][0] if len(found) == 1 else name)


def _once(words: Iterator[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words))
