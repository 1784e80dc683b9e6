"""What a held statement would touch: the questions to ask PostgreSQL, and how to read its answers.

A judged `Statement` enters; what may be asked about it leaves, or the reason why it may not. Planning runs functions,
so nothing that is made of the text is asked about a statement that calls one which is not known to be harmless; the
count is built in PostgreSQL's own grammar from the statement's tree, and must itself be judged a plain read. What the
catalog says of its relations can always be asked.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pgnotary.judge import grammar
from pgnotary.judge.catalog import BUILT_IN, Catalog
from pgnotary.judge.meaning import weigh
from pgnotary.judge.reading import read
from pgnotary.judge.renaming import may_rename
from pgnotary.judge.scope import UNSCOPED, Scope
from pgnotary.judge.statement import Part, Qualifier, Statement, StatementClass
from pgnotary.request.cascades import Bound, Cascade, cascades_of
from pgnotary.request.caveats import (
    ADDRESS,
    AT_MOST,
    NEVER,
    VIEW_ROWS,
    called_by,
    columns_in,
    earlier_parts,
    of_facts,
    of_text,
    of_values,
)
from pgnotary.request.clock import read_as_times
from pgnotary.request.counting import CHANGING, Source, is_steady_when_repeated, met_by, source_in, values_of
from pgnotary.request.facts import Facts
from pgnotary.request.facts_question import facts_question
from pgnotary.request.selects import Uncounted, explained_in
from pgnotary.request.several import is_several, several_of
from pgnotary.request.subject import Subject, subject_of

__all__ = [
    "NO_QUESTIONS",
    "Questions",
    "cascades",
    "changed_along",
    "is_askable",
    "questions",
    "questions_of",
    "read_estimate",
    "worth",
]

_NAMES_ONLY = frozenset({"UpdateStmt", "DeleteStmt", "MergeStmt"})
_STEADY = frozenset({Qualifier.SEQUENCE, Qualifier.ADVISORY_LOCK, Qualifier.NOTIFY})
"""What a call may do without changing which rows a statement meets."""
_EXPLAINED = frozenset({StatementClass.INSERT, StatementClass.UPDATE, StatementClass.DELETE, StatementClass.MERGE})


@dataclass(frozen=True, slots=True)
class Questions:
    """What may be asked about a statement before it runs."""

    facts: bytes = b""
    """About its relations, of the catalog alone; empty if it changes the rows of none."""
    explain: bytes = b""
    count: bytes = b""
    spelled: int | None = None
    """The rows of one execution, if the text spells them out: then nothing needs to be counted."""
    caveats: frozenset[str] = frozenset()
    """Why the count may not be what then changes, as far as the text tells."""
    unavailable: str = ""
    """Why nothing, or nothing exact, can be said."""
    part: Part | None = None
    source: Source | None = None
    """What it changes, if that is one change; cascades lead from there."""
    sampled: Source | None = None
    """What rows can be shown of."""
    changes: int = 1
    """How many changes it makes, in its WITH too."""
    addressed: bool = False
    """The count tells rows from each other by where they are stored."""
    listed: bool = False
    """One of them is an INSERT of a single list, in which a call may give any number of rows."""
    subject: Subject | None = None
    """What it is about beside rows."""
    renamed: bool = False
    """What runs before it may have renamed what it names, so nobody knows which values a mask hides."""
    catalog: Catalog = field(default=BUILT_IN, repr=False)
    scope: Scope = field(default=UNSCOPED, repr=False)

    def behind_renames(self) -> "Questions":
        """Return what is asked where something may have been renamed before."""
        return replace(self, renamed=True)


NO_QUESTIONS = Questions(unavailable="policy asks for no preview")


def questions(statement: Statement, catalog: Catalog = BUILT_IN, scope: Scope = UNSCOPED) -> Questions:
    """Return what may be asked about a held statement in that database and session."""
    doubtful = [part for part in statement.parts if part.doubt]
    if len(doubtful) != 1:
        return Questions(unavailable=f"{len(doubtful)} of its statements change something: a count needs exactly one")
    return questions_of(statement, doubtful[0], catalog, scope)


def questions_of(statement: Statement, part: Part, catalog: Catalog = BUILT_IN, scope: Scope = UNSCOPED) -> Questions:
    """Return what may be asked about one part that changes something, as if none before it did: `texts` knows that."""
    earlier = statement.parts[: statement.parts.index(part)]
    asked = _questions_of(statement, part, earlier, catalog, scope)
    return replace(asked, renamed=any(map(may_rename, earlier)))


def _questions_of(
    statement: Statement, part: Part, earlier: Sequence[Part], catalog: Catalog, scope: Scope
) -> Questions:
    if any(each.rescopes for each in earlier):
        return Questions(unavailable="what stands before it changes where its names are looked up")
    explained = part.node == "ExplainStmt"
    try:
        part, text = _taken_out(part, statement.slice(part))
    except Uncounted as why:
        return Questions(unavailable=str(why))
    subject = subject_of(text)
    if not part.tree:
        counts = subject is not None and subject.emptied
        return Questions(subject=subject, unavailable="" if counts else _not_previewed(part))
    asked = Questions(_facts(part, b"", catalog), part=part, catalog=catalog, scope=scope, subject=subject)
    asked = replace(asked, caveats=frozenset(earlier_parts(each for each in earlier if each.harmless)))
    doubts = {each.qualifier for each in part.planning}
    if doubts:
        # What it sets may be computed by what no question may call; the rows that it meets can be counted all the same.
        asked = replace(asked, unavailable=f"planning it could have effects: it {part.planning[0].reason}")
        if not doubts <= {*_STEADY, Qualifier.FUNCTION}:
            return asked
    elif part.node in CHANGING and len(part.targets) == 1 and not explained:
        # The planner's number is that of the outermost change alone.
        asked = replace(asked, explain=b"EXPLAIN (FORMAT JSON) " + text)
    try:
        counting = _counting(asked, text, part)
    except Uncounted as why:
        return replace(asked, unavailable=asked.unavailable or str(why))
    except grammar.Unreadable as doubt:
        return replace(asked, unavailable=asked.unavailable or f"no count could be built: the text {doubt}")
    calls = Qualifier.FUNCTION in doubts | part.qualifiers
    return replace(counting, caveats=counting.caveats | {"calls"}) if calls else counting


def _taken_out(part: Part, text: bytes) -> tuple[Part, bytes]:
    """Return a change of rows with its tree, out of what EXPLAIN ANALYZE runs or of a query; raises Uncounted.

    Of anything else the part has no tree.
    """
    if part.kind not in _EXPLAINED or part.node not in (*CHANGING, "SelectStmt", "ExplainStmt"):
        return replace(part, tree=b""), text
    if part.node == "ExplainStmt":
        text, root, tree = explained_in(text)
        return replace(part, node=root, tree=grammar.packed(tree)), text
    if part.node == "SelectStmt":
        return replace(part, tree=grammar.packed(grammar.parse(text)[0].fields)), text
    return part, text


def _counting(asked: Questions, text: bytes, part: Part) -> Questions:
    """Return the questions with the count among them; raises Uncounted or Unreadable."""
    tree = grammar.unpacked(part.tree)
    if is_several(part.node, tree):
        several = several_of(text, part.node, tree)
        conflicts = frozenset({"conflict"} if several.conflicts else ())
        sampled = next(iter(several.sources), None)
        asked = replace(asked, sampled=sampled, changes=several.parts, caveats=asked.caveats | conflicts)
        asked = replace(asked, listed=several.listed)
        return _with_count(asked, several.count, part)
    caveats = set(asked.caveats)
    conflict = tree.get("onConflictClause")
    if conflict is not None and (conflict["action"] == "ONCONFLICT_NOTHING" or "whereClause" in conflict):
        caveats.add("conflict")
    if part.node == "InsertStmt" and (spelled := values_of(tree)) is not None:
        return replace(asked, spelled=spelled, listed=spelled == 1, caveats=frozenset(caveats))
    source = source_in(text, part.node, tree)
    asked = replace(asked, source=source, sampled=source, caveats=frozenset(caveats))
    return _with_count(asked, source.count, part)


def _with_count(asked: Questions, count: bytes, part: Part) -> Questions:
    """Return the questions with a count, and all that its text says about it; raises Uncounted or Unreadable."""
    if not is_plain_read(count, asked.catalog, asked.scope):
        raise Uncounted("the count built from it is not a plain read")
    counted, caveats = read(count), set(asked.caveats)
    addressed = False
    for each in grammar.parse(count):
        caveats |= of_text(each.node, each.fields)
        addressed |= bool(ADDRESS & columns_in(each.node, each.fields))
    functions = {name[-1] for each in counted.parts for name in each.names.functions}
    caveats |= called_by(functions, asked.catalog)[1]
    facts = _facts(part, count, asked.catalog)
    return replace(asked, facts=facts, count=count, addressed=addressed, caveats=frozenset(caveats))


def is_plain_read(text: bytes, catalog: Catalog, scope: Scope) -> bool:
    """Say whether a text that was made of a client's is harmless."""
    return all(part.qualifiers <= {Qualifier.SINGLE_READER} for part in weigh(read(text), catalog, scope).parts)


def _facts(part: Part, count: bytes, catalog: Catalog) -> bytes:
    """Return the question about the relations of a part and about what its count calls."""
    names = [each.names for each in read(count).parts] if count else [part.names]
    functions = {name[-1] for each in names for name in each.functions}
    attributes = {attribute for each in names for attribute in each.attributes}
    called, _ = called_by(functions | (attributes & set(catalog.proven)), catalog)
    operators = {name[-1] for each in names for name in each.operators if name}
    trees = grammar.parse(count) if count else ()
    texts = {name for each in trees for name in read_as_times(grammar.messages(each.node, each.fields))}
    only, met = False, set[str]()
    if part.tree and len(part.targets) == 1:
        try:
            tree = grammar.unpacked(part.tree)
            met = met_by(part.node, tree) or met
            only = "inh" not in tree["relation"] and part.node in _NAMES_ONLY
        except (grammar.Unreadable, KeyError):
            only = False
    listed = {name[-1] for name in (*part.names.functions, *part.names.operators) if name} | part.names.attributes
    return facts_question(
        part.targets,
        sorted(part.names.relations),
        called,
        operators,
        texts,
        listed=listed,
        met=met,
        only=only,
    )


def worth(
    asked: Questions, facts: Facts | None, executions: int, values: Iterable[bytes | None] = ()
) -> tuple[Bound, frozenset[str]]:
    """Return what the count is worth, and every reason why it may not be what then changes."""
    caveats = set(asked.caveats) | of_values(values)
    if facts is None:
        return Bound.UNKNOWN, frozenset(caveats | {"unseen"})
    if asked.part is not None:
        caveats |= set(of_facts(facts, asked.part, asked.changes))
        # Whatever it is that it changes, it was not looked at.
        caveats |= set() if facts.targets else {"unseen"}
        caveats |= {VIEW_ROWS} if asked.addressed and not facts.only_tables else set()
    if asked.spelled is not None:
        # Its rows are in the text, whatever its values say.
        caveats -= {"volatile", "order"}
    elif executions > 1 and not _is_steady(asked, facts):
        caveats.add("executions")
    if asked.listed and facts.sets:
        caveats.add("set")
    if not caveats:
        return Bound.EXACT, frozenset()
    return Bound.AT_MOST if caveats <= AT_MOST else Bound.UNKNOWN, frozenset(caveats)


def _is_steady(asked: Questions, facts: Facts) -> bool:
    """Say whether no execution can change what the next one meets."""
    source = asked.source
    if source is None or any(each.triggers for each in facts.targets):
        return False
    if any(each.on_update in "cnd" for each in facts.keys) or not facts.only_tables:
        return False
    # A policy may read what is set, and of what is no column nobody knows what it reads.
    if facts.strange or any(each.secured for each in facts.targets):
        return False
    return is_steady_when_repeated(source.node, source.tree, asked.catalog.reads_tables)


def is_askable(asked: Questions, caveats: frozenset[str]) -> bool:
    """Say whether a count is worth the time: it says something about the change."""
    return bool(asked.count) and not caveats & NEVER


def cascades(asked: Questions, facts: Facts, bound: Bound, caveats: frozenset[str]) -> Iterator[Cascade]:
    """Yield what the change takes with it over foreign keys; a count is there only if it may be asked."""
    if asked.part is None:
        return
    for each in _along(asked.part, asked.source, facts, bound, caveats):
        askable = each.count and is_plain_read(each.count, asked.catalog, asked.scope)
        yield each if askable or not each.count else replace(each, bound=Bound.UNKNOWN, count=b"")


def changed_along(part: Part, facts: Facts) -> tuple[Cascade, ...]:
    """Return what a part without triggers takes with it over foreign keys, uncounted; at most one more than `MOST`."""
    # Before PostgreSQL 15 a row that an UPDATE moves to another partition is deleted, as its foreign keys see it.
    moves = StatementClass.UPDATE in (part.changes or {part.kind}) and any(each.kind == "p" for each in facts.targets)
    return _along(part, None, facts, Bound.UNKNOWN, frozenset(), moves=moves)


def _along(
    part: Part,
    source: Source | None,
    facts: Facts,
    bound: Bound,
    caveats: frozenset[str],
    *,
    moves: bool = False,
) -> tuple[Cascade, ...]:
    kinds = part.changes or {part.kind}
    updates: frozenset[str] | None = frozenset()
    if StatementClass.UPDATE in kinds:
        # A BEFORE trigger may set any column, and of a view that renames them the text has other names.
        anything = "before-trigger" in caveats or any(each.renames for each in facts.targets)
        updates = None if anything else _set_columns(part)
    deletes = moves or StatementClass.DELETE in kinds
    return cascades_of(facts, source, deletes=deletes, updates=updates, bound=bound)


def _set_columns(part: Part) -> frozenset[str] | None:
    """Return the columns that all the SETs of a change name; None if they may be any."""
    try:
        trees = list(grammar.messages(part.node, grammar.unpacked(part.tree)))
    except grammar.Unreadable:
        return None
    found = set[str]()
    for message in trees:
        insertion = message.type == "MergeWhenClause" and message.fields.get("commandType") != "CMD_UPDATE"
        if message.type in ("UpdateStmt", "OnConflictClause", "MergeWhenClause") and not insertion:
            found |= {str(target["ResTarget"]["name"]) for target in message.fields.get("targetList", ())}
    return frozenset(found)


def _not_previewed(part: Part) -> str:
    if part.wants_copy_data:
        return "its rows come from the client once it is approved: not countable before it runs"
    if part.kind is StatementClass.UNKNOWN:
        return "it cannot be read, so nobody knows what to count"
    uncounted = f"what {part.kind.value.upper()} changes is not counted in rows"
    if part.kind in (StatementClass.DO, StatementClass.CALL):
        # What it names is looked at again before it runs; what is a name only once it runs cannot be.
        return f"{uncounted}; what its code names is compared again before it runs, not what it puts together itself"
    return uncounted


def read_estimate(answer: str) -> int | None:
    """Return the planner's row estimate from EXPLAIN (FORMAT JSON), or None if its shape is unknown.

    The ModifyTable node itself says 0 without RETURNING; its child says how many rows it will be given. A rule that
    adds statements or takes the statement's place gives several plans, or none.
    """
    try:
        (explained,) = json.loads(answer)
        plan = explained["Plan"]
        if plan["Node Type"] != "ModifyTable":
            return None
        return int(
            sum(child["Plan Rows"] for child in plan["Plans"] if child["Parent Relationship"] in ("Outer", "Member"))
        )
    except (ValueError, LookupError, TypeError):
        return None
