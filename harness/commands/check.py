"""``harness check``: mistakes found before anything is trained."""

from __future__ import annotations

import typer

from harness.commands._options import Plugins, Words, complain, load_suites
from harness.exit_codes import OK, USAGE

EXAMPLE = "harness check mine.yaml profile=cpu"
EXITS = ()


def command(words: Words = None, plugins: Plugins = None) -> int:
    """Find every mistake in suites without running them. With --plugin, breaches of contract in your methods too.

    Without a suite or a plug-in, all shipped suites are checked.
    """
    from harness.commands._progress import working

    with working("reading"):
        from harness.planning import checks
        from harness.report import figures

        problems = checks.check_plugins(plugins or [])
        suites = load_suites(words, plugins, default_all=True) if words or not plugins else []
    for suite in suites:
        with working(f"checking {suite.name}"):
            found = [*checks.check_suite(suite), *figures.problems(suite.figures, suite.file)]
        typer.echo(f"{suite.name} ({suite.profile}): {'fine' if not found else f'{len(found)} problems'}")
        problems += found
    for problem in problems:
        complain(f"  {problem}")
    return USAGE if problems else OK
