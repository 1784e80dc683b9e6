"""An open request for scripts: a believed `Paper` enters, the object of `--json` leaves, with all that will be signed.

docs/scripts.md says what is in it; its names are a promise.
"""

from pgnotary.approval.papers import Paper
from pgnotary.cli.hidden import Shown, without_secrets
from pgnotary.ledger.canonical import JSON, timestamp
from pgnotary.request.sample import in_json

__all__ = ["facts"]


def facts(paper: Paper, *, secrets: bool = False) -> dict[str, JSON]:
    """Return all of a request for `--json`: the bodies of its entries, the sealed texts, and the leaves.

    Secrets in texts are left out unless `secrets`.
    """
    shown = Shown(paper, 0) if secrets else without_secrets(paper)
    paper = shown.paper
    words = {name: getattr(paper.context, name) for name in ("why", "search_path", "application")}
    body = dict(paper.request.body)
    sealed: dict[str, JSON] = {} if paper.prepared is None else {"prepared": paper.prepared}
    if paper.parameters is not None:
        sealed["parameters"] = [{"name": name, "value": value} for name, value in paper.bound]
    if paper.rows:
        sealed["sample"] = [[in_json(value) for value in row] for row in paper.rows]
    return (
        body
        | {name: value for name, value in (words | dict(paper.unread)).items() if name in body}
        | {
            "request": paper.id,
            "state": "held",
            "ledger": paper.ledger,
            "session": paper.session,
            "asked_at": timestamp(paper.held_at),
            "statement": paper.statement,
            "hidden_secrets": shown.hidden,
            "hides_code": shown.hides_code,
            "reason": paper.reason,
            **sealed,
            **({"approved_by": [*paper.approved_by], "missing": paper.missing} if paper.approved_by else {}),
            "preview": _preview(paper),
            "request_leaf": paper.request_leaf,
            "preview_leaf": paper.preview_leaf,
            "context": paper.digest,
        }
    )


def _preview(paper: Paper) -> dict[str, JSON]:
    """Return the body of the preview with the reasons in it as they are shown."""
    body, measured = dict(paper.preview.body), paper.measured
    if measured.why:
        body["why"] = measured.why
    if isinstance(listed := body.get("statements"), list):
        shown = zip(listed, measured.statements, strict=True)
        body["statements"] = [
            dict(told) | ({"why": each.why} if each.why else {}) if isinstance(told, dict) else told
            for told, each in shown
        ]
    return body
