"""Stories in the words that people read: values enter, short texts leave, the same in every command and report.

Whatever came from a client is passed on as it is; who shows it escapes it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pgnotary.audit.effect import Effect
from pgnotary.audit.executions import Counted, Execution
from pgnotary.audit.story import Decided, Preview, Story
from pgnotary.judge.statement import StatementClass
from pgnotary.ledger.entries import BREAK_GLASS
from pgnotary.request.life import State

__all__ = [
    "EXECUTION_COLUMNS",
    "STORY_COLUMNS",
    "behind_name",
    "ceiling_words",
    "clock",
    "counted",
    "decision_words",
    "digest_words",
    "duration",
    "effect_lines",
    "execution_row",
    "first_line",
    "milliseconds",
    "outcome_words",
    "preview_words",
    "quoted",
    "reasons",
    "row_count",
    "story_lines",
    "story_row",
    "verdict_words",
    "who",
]

# Of a statement in a table; whoever wants all of it asks for the story or for JSON.
_LINE = 100

STORY_COLUMNS = ("REQUEST", "ASKED", "WHO", "DATABASE", "WHAT", "DECISION", "OUTCOME")
EXECUTION_COLUMNS = ("ENTRY", "AT", "WHO", "DATABASE", "VERDICT", "RESULT", "STATEMENT")


def clock(at: datetime) -> str:
    """Return an instant as UTC to the millisecond."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def duration(span: timedelta) -> str:
    """Return a span of time in its two largest units."""
    seconds = int(span.total_seconds())
    if seconds < 0:
        return f"-{duration(-span)}"
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, seconds = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def row_count(rows: int | None) -> str:
    """Return a number of rows."""
    return "rows unknown" if rows is None else counted(rows, "row")


def who(person: str, user: str) -> str:
    """Return a person, and the database user if its name differs."""
    return person if user in ("", person) else f"{person or 'nobody known'} (user {user})"


_GUESSED = {
    "count": "counted, but may be others when it runs",
    "sum": "in all, but may be others when it runs",
}


def preview_words(preview: Preview | None) -> str:
    """Return what was measured before the decision; of a text with several changes, of each of them as well."""
    if preview is None:
        return "none"
    if not preview.statements:
        return _measured(preview, preview.caveats)
    each = [f"statement {one.place}: {_measured(one, one.caveats)}" for one in preview.statements]
    more = [f"{counted(preview.more, 'more statement')} without a preview"] if preview.more else []
    return "; ".join([_measured(preview, ()), *each, *more])


def _measured(preview: Preview, caveats: Sequence[str]) -> str:
    parts = []
    if preview.exact is not None:
        parts.append(f"{row_count(preview.exact)} counted")
    if preview.at_most is not None:
        parts.append(f"AT MOST {row_count(preview.at_most)}")
    if preview.estimate is not None:
        how = _GUESSED.get(preview.how, "estimated")
        parts.append(f"about {row_count(preview.estimate)} {how}")
    parts += caveats
    if preview.why:
        parts.append(preview.why)
    return f"{preview.status or 'unavailable'}: {', '.join(parts) or 'nothing is known'}"


def decision_words(story: Story) -> str:
    """Return who decided what, or that nobody did."""
    decision = story.decision
    approved = [_approved(each) for each in story.approvals]
    if decision is None:
        return f"{'; '.join(approved)}; not enough" if approved else "no decision"
    if decision.answer == BREAK_GLASS:
        reviewed = f"reviewed by {story.reviewed.reviewer}" if story.reviewed else "NOT REVIEWED"
        ceiling = ceiling_words(decision.max_rows, decision.max_other_rows)
        return f"GLASS BROKEN by {decision.approver}{ceiling}; {reviewed}"
    return "; ".join([*approved, _approved(decision)])


def _approved(decision: Decided) -> str:
    if decision.answer != "approve":
        return f"denied by {decision.approver}"
    return f"approved by {decision.approver}{ceiling_words(decision.max_rows, decision.max_other_rows)}"


def ceiling_words(max_rows: int | None, max_other_rows: int | str | None) -> str:
    """Return how many rows were approved, to stand behind who approved them."""
    if max_rows is None:
        return ""
    others = f"{max_other_rows:,}" if isinstance(max_other_rows, int) else max_other_rows
    return f", at most {row_count(max_rows)}" + (f" and {others} in other tables" if others else "")


def outcome_words(story: Story) -> str:
    """Return where the request stands, with rows and reasons."""
    outcome = story.outcome
    match story.state:
        case State.COMMITTED:
            return f"committed, {row_count(story.rows)}"
        case State.EXECUTED:
            return f"executed, {row_count(story.executed_rows)}; nothing is committed yet"
        case State.HELD:
            return "held, waiting for a decision"
        case State.APPROVED:
            return "approved, not sent yet"
        case State.INTENT:
            return "sent, no answer yet"
        case State.PREPARED if outcome:
            return f"prepared as {outcome.gid!r}, {row_count(story.executed_rows)}; neither committed nor rolled back"
        case State.RESOLVED if outcome:
            rows = f", {row_count(story.rows)}" if story.fate is State.COMMITTED else ""
            return f"{outcome.fate}{rows} (resolved: {outcome.why})"
        case State.FAILED | State.ROLLED_BACK | State.UNKNOWN | State.RESOLVED:
            why = reasons(story.request, outcome.sqlstate, outcome.why) if outcome else ""
            return f"{story.state}{f': {why}' if why else ''}"
        case _:
            return f"{story.state}{f' ({story.end_why})' if story.end_why else ''}"


def effect_lines(effect: Effect) -> list[str]:
    """Return what an execution did, and how long it took, a line for each relation."""
    took = "" if effect.took_us is None else f" in {milliseconds(effect.took_us)}"
    ran = f"ran      {', '.join(effect.tags) or 'without a command tag'}{took}"
    return [ran, *(f"changed  {each}" for each in effect.lines)]


def milliseconds(took_us: int) -> str:
    """Return microseconds as milliseconds."""
    return f"{timedelta(microseconds=took_us) / timedelta(milliseconds=1):,.1f} ms"


def behind_name(story: Story) -> str:
    """Return what leads over to the text behind a name in the statement."""
    return "which ends" if StatementClass.TWO_PHASE in story.kinds else "which runs"


def reasons(request: str, *why: str) -> str:
    """Return why a request ended as it did, without repeating that it is this request and that it was rolled back."""
    return ", ".join(filter(None, (each.removeprefix(f"{request} rolled back: ") for each in why)))


def first_line(text: str | None, redacted: str = "") -> str:
    """Return the beginning of a statement, on one line of a table; `redacted` says why there is none."""
    if text is None:
        return f"({redacted or 'withheld'})"
    line, *more = text.strip().split("\n", 1)
    return f"{line[: _LINE - 2].rstrip()} \u2026" if more or len(line) > _LINE else line


def quoted(text: str | None, mark: str = "  | ", redacted: str = "") -> list[str]:
    """Return a text line by line behind a mark that no line of it can imitate; `redacted` says why there is none."""
    if text is None:
        return [f"{mark.rstrip()} ({redacted or 'withheld'})"]
    return [mark + line for line in text.split("\n")]


def story_row(story: Story) -> tuple[str, ...]:
    """Return a request under STORY_COLUMNS."""
    return (
        story.request,
        clock(story.asked_at),
        who(story.person, story.user),
        story.database,
        first_line(story.what),
        decision_words(story),
        outcome_words(story),
    )


def verdict_words(execution: Execution) -> str:
    """Return what happened to an execution, in a word or two."""
    if execution.verdict == "refuse":
        return "refused"
    return "forwarded, unheld" if execution.would else "forwarded"


def execution_row(execution: Execution | Counted) -> tuple[str, ...]:
    """Return an execution, or what was only counted, under EXECUTION_COLUMNS."""
    if isinstance(execution, Counted):
        return _counted_row(execution)
    return (
        f"#{execution.seq}",
        clock(execution.at),
        who(execution.person, execution.user),
        execution.database,
        verdict_words(execution),
        execution.sqlstate or execution.tag or execution.kind,
        first_line(execution.statement, execution.redacted),
    )


def _counted_row(found: Counted) -> tuple[str, ...]:
    return (
        f"#{found.seq}",
        clock(found.at),
        who(found.person, found.user),
        found.database,
        f"forwarded, {found.executions:,} times",
        f"{found.kind}, {row_count(found.rows)}",
        digest_words(found),
    )


def digest_words(found: Counted) -> str:
    """Return what is known of texts that are not kept."""
    return f"(not kept) SHA-256 {found.sha256}"


def story_lines(story: Story) -> list[str]:
    """Return a request as a page of lines; each must be shown as one line, whatever characters it holds."""
    person = who(story.person, story.user)
    lines = [
        f"{story.request}   {outcome_words(story)}",
        f"{person}, {story.application or 'a program without name'} from {story.client or 'somewhere'}",
        f"database {story.database} as role {story.role}   asked {clock(story.asked_at)}",
        f"held because {story.why} (rule {story.rule})",
    ]
    gone = story.redacted
    if story.reason is not None or "reason" in gone:
        lines += ["reason", *quoted(story.reason, "  > ", gone.get("reason", ""))]
    lines += [f"set {each}" for each in story.settings]
    lines += ["", *quoted(story.statement, redacted=gone.get("statement", "")), ""]
    if story.parameters or "parameters" in gone:
        told = "\n".join(story.parameters) if story.parameters else None
        lines += ["with", *quoted(told, redacted=gone.get("parameters", "")), ""]
    if story.prepared is not None or "prepared" in gone:
        lines += [behind_name(story), *quoted(story.prepared, redacted=gone.get("prepared", "")), ""]
    lines.append(f"preview  {preview_words(story.preview)}")
    lines.append(f"decision {decision_words(story)}")
    for each in (*story.approvals, *([story.decision] if story.decision else [])):
        took = story.time_to(each)
        lines.append(f"  {clock(each.at)}, {duration(took) if took else '0 s'} after the preview")
        lines.append(f"  key {each.key}")
        lines += quoted(each.reason, "  > ")
    if story.reviewed is not None:
        lines.append(f"reviewed by {story.reviewed.reviewer}, {clock(story.reviewed.at)}")
        lines += quoted(story.reviewed.words, "  > ")
    lines += [f"not counted: {each.why}" for each in story.rejected]
    lines += [f"since then  {each}" for each in story.meanwhile]
    if story.copied is not None:
        lines.append(str(story.copied))
    if story.effect is not None:
        lines += effect_lines(story.effect)
    if story.outcome is not None and story.outcome.ended:
        lines.append(f"ended by {story.outcome.ended}")
    if story.outcome is not None and (story.outcome.error is not None or "error" in gone):
        lines += ["error", *quoted(story.outcome.error, redacted=gone.get("error", ""))]
    steps = ", ".join(f"#{step.seq} {step.type}" for step in story.steps)
    return [*lines, f"entries  {steps}"]
