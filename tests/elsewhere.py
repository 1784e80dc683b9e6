"""The commands of README and docs that their page's module of tests does not run, each with the reason and its test.

Page and command enter, an `Elsewhere` leaves. tests/test_documented_commands.py looks that both are there.
"""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ELSEWHERE", "Elsewhere"]


@dataclass(frozen=True)
class Elsewhere:
    """Where a command is run."""

    why: str
    """Why not by its page's module."""
    test: str
    """The test that runs it, or as much of it as can be run."""


def _measuring(test: str) -> Elsewhere:
    return Elsewhere("it measures for minutes: a test runs it on few rows, entries or seconds", f"tests/bench/{test}")


ELSEWHERE: Mapping[tuple[str, str], Elsewhere] = {
    ("README.md", "pip install ."): Elsewhere(
        "it asks a package index; what pip asks this folder for is made",
        "tests/flow/test_readme.py::test_installing_puts_pgnotary_on_the_path_with_all_that_it_needs",
    ),
    ("README.md", ".ci/run"): Elsewhere(
        "it is the whole suite with what is looked at before it",
        "tests/flow/test_readme.py::test_run_test_runs_tests",
    ),
    ("README.md", "PGNOTARY_PG_BIN=FOLDER ./run test"): Elsewhere(
        "it is the whole suite; the page on servers shows it with fewer tests",
        "tests/demo/test_servers_page.py::test_the_tests_run_on_the_server_that_is_named_and_on_no_other",
    ),
    ("backup.md", "verify --archive FOLDER --checkpoint MARK"): Elsewhere(
        "the page on archives shows it, too", "tests/archive/test_page.py::test_a_remembered_head_is_in_the_archive"
    ),
    ("ledger-format.md", "pgnotary export evidence --archive FOLDER"): Elsewhere(
        "it is for a ledger whose first entries are archived",
        "tests/archive/test_command.py::"
        "test_the_export_of_what_stays_is_incomplete_alone_and_whole_with_the_archive_by_both_verifiers",
    ),
    ("servers.md", "PGNOTARY_PG_BIN=/usr/lib/postgresql/15/bin ./run test"): Elsewhere(
        "it is the whole suite, on a server that not every machine has",
        "tests/demo/test_servers_page.py::test_the_tests_run_on_the_server_that_is_named_and_on_no_other",
    ),
    ("README.md", "-m tests.foreign.command psycopg CHECKOUT --python PYTHON"): Elsewhere(
        "the page on drivers shows it with one option more",
        "tests/foreign/test_page.py::test_each_suite_says_what_it_lacks",
    ),
    **dict.fromkeys(
        (("README.md", ".venv/bin/python -m bench.throughput --clients 8"), ("README.md", "-m bench.throughput")),
        _measuring("test_throughput.py::test_each_way_that_is_there_has_figures"),
    ),
    ("README.md", "-m bench.judge"): _measuring("test_judge.py::test_judging_has_a_price_step_by_step"),
    ("README.md", "-m bench.held"): _measuring("test_held.py::test_held_statements_have_a_price_and_others_go_on"),
    ("README.md", "-m bench.approval"): _measuring(
        "test_approval.py::test_an_approval_has_a_price_over_tls_and_others_wait"
    ),
    ("README.md", "-m bench.preview"): _measuring(
        "test_preview.py::test_each_part_of_a_preview_has_a_time_and_others_are_asked"
    ),
    ("README.md", "-m bench.proofs"): _measuring("test_proofs.py::test_proofs_have_a_price"),
    ("README.md", "-m bench.ledger"): _measuring("test_ledger.py::test_it_prints_each_figure_beside_its_measure"),
}
