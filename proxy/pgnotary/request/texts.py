"""The previews of a text in which several statements change something: what is asked about each, and what is believed.

A judged `Statement` enters; the questions about each of its changes leave, in the order in which they run. All are
asked before any of them has run, so what a later one meets is believed only where nothing that stands before it can
have changed that: each changes rows of tables without code of their own, and the tables that the earlier ones change,
those that foreign keys take along among them, are none that the later one reads or changes. Whatever is not known to be
so makes a count an estimate.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.functions import is_built_in_type
from pgnotary.judge.reading import read
from pgnotary.judge.scope import UNSCOPED, Scope
from pgnotary.judge.statement import Part, Qualifier, Statement
from pgnotary.request.cascades import MAX_DEPTH, MOST, Cascade
from pgnotary.request.caveats import events_of
from pgnotary.request.facts import Facts
from pgnotary.request.preview import Questions, changed_along, questions_of

__all__ = ["MOST_STATEMENTS", "Asked", "Asking", "Known", "added_up", "after", "asking", "is_last_word"]

MOST_STATEMENTS = 5
"""Of a text; further ones are held with it, without a preview."""

_PLAIN = frozenset({Qualifier.WRITE, Qualifier.UNCONDITIONAL, Qualifier.CASCADE})
_TABLES = frozenset({"r", "p"})
_READABLE = _TABLES | {"v"}


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about one change of a text."""

    place: int
    """Of the statement among all of its text, from 1."""
    part: Part
    """As it was judged."""
    questions: Questions


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked about a text with several changes."""

    statements: tuple[Asked, ...]
    more: int = 0
    """How many further changes nothing is asked about."""

    def behind_renames(self) -> "Asking":
        """Return what is asked where something may have been renamed before."""
        each = tuple(replace(one, questions=one.questions.behind_renames()) for one in self.statements)
        return replace(self, statements=each)


@dataclass(frozen=True, slots=True)
class Known:
    """What the catalog has said about one of them."""

    asked: Asked
    facts: Facts | None


def asking(statement: Statement, catalog: Catalog = BUILT_IN, scope: Scope = UNSCOPED) -> Asking | None:
    """Return what is asked about each change of a text; None unless there are several."""
    doubtful = [(place, part) for place, part in enumerate(statement.parts, 1) if part.doubt]
    if len(doubtful) < 2:
        return None
    asked = [
        Asked(place, part, questions_of(statement, part, catalog, scope)) for place, part in doubtful[:MOST_STATEMENTS]
    ]
    return Asking(tuple(asked), max(len(doubtful) - MOST_STATEMENTS, 0))


def after(earlier: Sequence[Known], asked: Asked, facts: Facts | None) -> Questions:
    """Return the questions of one that runs after others, with the caveat that these may change what it meets."""
    if all(_stands_apart(Known(asked, facts), each) for each in earlier):
        return asked.questions
    return replace(asked.questions, caveats=asked.questions.caveats | {"earlier-parts"})


def is_last_word(known: Sequence[Known], place: int, *, more: int) -> bool:
    """Say whether what one of them makes of rows stands when all have run; `more`: so many run that nobody asked about.

    `place` counts from 0.
    """
    return not more and all(_stands_apart(later, known[place]) for later in known[place + 1 :])


def added_up(figures: Iterable[dict[str, int]]) -> tuple[str, int] | None:
    """Return the sum of numbers of rows by what they are worth, and what it is worth itself; None if one is not known.

    A sum of estimates is one; that of what was counted is as good as the worst of them.
    """
    found = list(figures)
    for known in (("exact",), ("exact", "at_most"), ("exact", "at_most", "estimate")):
        rows = [next((each[name] for name in known if name in each), None) for each in found]
        if None not in rows:
            return known[-1], sum(each for each in rows if each is not None)
    return None


def _stands_apart(later: Known, earlier: Known) -> bool:
    """Say whether nothing that the earlier one does can change what the later one meets, or the other way round."""
    changed, unchanged = _changed(earlier), _changed(later)
    if changed is None or unchanged is None or not _reads_only_tables(later):
        return False
    if _only_adds(earlier) and _only_adds(later):
        return True  # How many rows each adds stands in the text.
    read = {each.oid for each in later.facts.relations} if later.facts else set()
    return changed.isdisjoint(read | unchanged)


def _only_adds(known: Known) -> bool:
    questions = known.asked.questions
    return questions.spelled is not None and known.asked.part.node == "InsertStmt" and not known.asked.part.on_conflict


def _changed(known: Known) -> frozenset[int] | None:
    """Return the oids of all relations whose rows one may change; None if code, or anything else, may change more."""
    facts, part = known.facts, known.asked.questions.part
    if facts is None or part is None or not known.asked.part.qualifiers <= _PLAIN:
        return None
    named = sum(each.how == "named" for each in facts.targets)
    if named < len(part.targets) or not named or not events_of(part):
        return None
    if facts.casts or not _names_none_of_ones_own(known):
        return None
    # The judge has looked for code as well, but in a catalog that may be a minute old.
    if any(
        each.kind not in _TABLES or each.triggers or each.rules or each.secured or each.codes for each in facts.targets
    ):
        return None
    along = changed_along(part, facts)
    if len(along) > MOST or any(each.depth >= MAX_DEPTH for each in along):
        return None
    if not all(_is_plain(each, known.asked.questions.catalog) for each in along):
        return None
    return frozenset({each.oid for each in facts.targets}) | facts.ancestors | _reached(along)


def _reached(along: Iterable[Cascade]) -> frozenset[int]:
    return frozenset(oid for each in along for oid in each.key.family)


def _is_plain(cascade: Cascade, catalog: Catalog) -> bool:
    """Say whether a foreign key changes rows of one table alone, where that runs nobody's code: no rule either."""
    key = cascade.key
    found = catalog.find(key.whole_name, None)
    return (
        key.family == {key.target}
        and not (key.triggers or key.ruled or key.codes)
        and len(found) == 1
        and not any(relation.kind != "r" or relation.writing_calls or relation.ruled for _, relation in found)
    )


def _reads_only_tables(known: Known) -> bool:
    """Say whether all that one reads is rows of tables that are known: no function of anybody's own, no policy."""
    facts = known.facts
    if facts is None or not _names_none_of_ones_own(known):
        return False
    return all(each.kind in _READABLE and not each.secured for each in facts.relations)


def _names_none_of_ones_own(known: Known) -> bool:
    """Say whether one names no function or type that somebody made in this database, however harmless it was found."""
    questions = known.asked.questions
    named = [known.asked.part.names]
    if questions.count:
        named += [each.names for each in read(questions.count).parts]
    called = {name[-1] for names in named for name in names.functions} | {
        each for names in named for each in names.attributes
    }
    types = {name[-1] for names in named for name in names.types if name}
    return called.isdisjoint(questions.catalog.proven) and all(map(is_built_in_type, types))
