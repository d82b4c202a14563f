"""The command line. Heavy modules load inside the command that needs them; help, list and report never
import torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.commands.exit_codes import INTERRUPTED, OK, REGRESSION, TRIAL_FAILED, USAGE
from harness.errors import HarnessError

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Suites that turn claims about training methods into verdicts with their uncertainty and scale.",
    epilog="Suites and overrides: harness run muon_scaling profile=cpu arms.muon.optimizer.momentum=0.9. "
    "Exit codes: 0 fine, 2 wrong usage or suite, 3 some trial failed, 4 a regression.",
)
data_app = typer.Typer(
    name="data", no_args_is_help=True, rich_markup_mode=None, help="Data sets: list, build, export, import."
)
app.add_typer(data_app)

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SUITE|PATH.yaml|all]... [profile=P] [key=value]...",
        help="Suites and Hydra overrides.",
        show_default=False,
    ),
]
Results = Annotated[Path, typer.Option("--results", help="Results folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="File with your own methods; may be repeated.", show_default=False),
]
Only = Annotated[str | None, typer.Option("--only", help="Run a part: arm=muon,size=d24.", show_default=False)]
DEFAULT_RESULTS = Path("results")


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """A command whose HarnessErrors end in a message and exit code 2."""

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            code = function(*args, **kwargs) or OK
        except HarnessError as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            code = USAGE
        except KeyboardInterrupt:
            typer.secho("interrupted; what is done is kept", fg="yellow", err=True)
            code = INTERRUPTED
        except BrokenPipeError:
            # The reader of our output went away, as `head` does.
            sys.stderr.close()
            code = OK
        raise typer.Exit(code)

    return wrapped


def _load_suites(
    words: Sequence[str] | None, plugins: Sequence[Path] | None = None, default_all: bool = False
) -> list:
    from harness import registry
    from harness.planning import compose

    registry.load_plugins(plugins or [])
    for problem in registry.broken_plugins().values():
        typer.secho(f"plug-in skipped: {problem}", fg="yellow", err=True)
    names, profile, overrides = compose.split_arguments(words or [])
    if names == ["all"] or (not names and default_all):
        names = compose.shipped()
    if not names:
        raise HarnessError(f"give a suite: {', '.join(compose.shipped())}, a path ending in .yaml, or 'all'")
    return [compose.load(n, profile, overrides) for n in names]


def _profile_of(words: Sequence[str] | None) -> str:
    from harness.planning import compose

    return compose.split_arguments(words or [])[1] or "cpu"


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, allow_nan=False))


# --- looking -----------------------------------------------------------------------------------------------


@app.command("list")
@command
def list_(
    what: Annotated[str, typer.Argument(help="suites, methods, or a kind of method such as optimizer.")] = "all",
    plugins: Plugins = None,
    as_json: Json = False,
) -> None:
    """List suites and methods with where they come from."""
    from harness import registry
    from harness.errors import unknown
    from harness.planning import compose

    valid = ("all", "suites", "methods", *registry.KINDS)
    if what not in valid:
        raise unknown("thing to list", what, valid)
    registry.load_plugins(plugins or [])
    out: dict[str, Any] = {}
    if what in ("all", "suites"):
        out["suites"] = [{"name": n, "title": compose.title_of(n)} for n in compose.shipped()]
    kinds = [what] if what in registry.KINDS else list(registry.KINDS) if what in ("all", "methods") else []
    for kind in kinds:
        found = registry.entries(kind)
        if found or what == kind:
            out[kind] = [{"name": e.name, "origin": e.origin, "summary": registry.summary(e)} for e in found]
    if broken := registry.broken_plugins():
        out["not loaded"] = [{"name": k, "why": v} for k, v in broken.items()]
    if as_json:
        return _print_json(out)
    for heading, rows in out.items():
        typer.secho(heading, bold=True)
        for row in rows:
            name, *rest = row.values()
            typer.echo(f"  {name:<20} {'  '.join(r for r in rest if r and r != 'baseline')}")
        if not rows:
            typer.echo("  none")


@app.command()
@command
def show(words: Words = None, plugins: Plugins = None, as_json: Json = False) -> None:
    """Show a suite as resolved, or a method's fields (harness show optimizer.muon)."""
    from harness import registry
    from harness.commands import describe

    first = (words or [""])[0]
    kind, _, name = first.partition(".")
    if kind in registry.KINDS and name:
        registry.load_plugins(plugins or [])
        text = describe.method(kind, name)
        return _print_json(text) if as_json else typer.echo(describe.as_text(text))
    for s in _load_suites(words, plugins):
        if as_json:
            _print_json(s.model_dump(mode="json"))
        else:
            typer.echo(describe.suite_text(s))


@app.command()
@command
def check(words: Words = None, plugins: Plugins = None, results: Results = DEFAULT_RESULTS) -> int:
    """Find every mistake in suites (and contract breaches in plug-ins) without running them."""
    from harness.commands import checks

    problems = checks.check_plugins(plugins or [])
    if words or not plugins:
        for s in _load_suites(words, plugins, default_all=True):
            found = checks.check_suite(s, results)
            typer.echo(f"{s.name} ({s.profile}): {'fine' if not found else f'{len(found)} problems'}")
            problems += found
    for problem in problems:
        typer.secho(f"  {problem}", fg="red", err=True)
    return USAGE if problems else OK


@app.command()
@command
def plan(
    words: Words = None,
    only: Only = None,
    plugins: Plugins = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Write the pending round to this file, to be executed on another machine by `harness execute`."
        ),
    ] = None,
    details: Annotated[bool, typer.Option("--trials", help="One line a trial.")] = False,
) -> None:
    """Print what is done, stale (and why), missing, and how much may follow; runs nothing."""
    from harness.commands import console

    console.plan_command(_load_suites(words, plugins), results, only, as_json, export, details)


# --- doing -------------------------------------------------------------------------------------------------


@app.command()
@command
def run(
    words: Words = None,
    only: Only = None,
    plugins: Plugins = None,
    results: Results = DEFAULT_RESULTS,
    executor: Annotated[str, typer.Option(help="local: worker processes; inline: in this process.")] = "local",
    workers: Annotated[int | None, typer.Option(help="Worker processes; default: one per core or GPU.")] = None,
    trials_per_gpu: Annotated[
        int, typer.Option(min=1, help="Trials that share a GPU; timing trials still run alone.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Same as `harness plan`.")] = False,
    track: Annotated[
        bool,
        typer.Option(
            "--track/--no-track",
            help="Mirror records to MLflow as they are stored; training never waits for it.",
        ),
    ] = True,
    checkpoint_seconds: Annotated[float, typer.Option(help="Least seconds between a trial's checkpoints.")] = 30.0,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress display.")] = False,
) -> int:
    """Run suites until nothing is left to do; resumes where an earlier run stopped."""
    from harness.commands import console

    suites = _load_suites(words, plugins)
    if dry_run:
        console.plan_command(suites, results, only, False, None, False)
        return OK
    return console.run_command(
        suites, results, only, executor, workers, track, quiet, checkpoint_seconds, trials_per_gpu
    )


@app.command()
@command
def execute(
    round_file: Annotated[Path, typer.Argument(help="File written by `harness plan --export`.")],
    out: Annotated[Path, typer.Option(help="Folder for records.")] = Path("executed"),
    data: Annotated[Path, typer.Option(help="Folder of built data sets.")] = Path("results/data"),
    records: Annotated[
        Path | None,
        typer.Option("--import", help="Instead of executing: import the records of this folder into --results."),
    ] = None,
    results: Results = DEFAULT_RESULTS,
) -> int:
    """Execute an exported round (needs only torch, numpy, pydantic, PyYAML); or import its records."""
    from harness import exchange

    if records is not None:
        count = exchange.import_records(records, results)
        typer.echo(f"imported {count} records into {results}")
        return OK
    failed = exchange.execute_round(round_file, out, data, echo=typer.echo)
    return TRIAL_FAILED if failed else OK


@app.command()
@command
def report(
    words: Words = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    reference: Annotated[bool, typer.Option("--reference", help="From the committed records alone.")] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit 4 when a verdict flips between holds and "
            "fails against the committed reference, or an estimate changes beyond its "
            "uncertainty.",
        ),
    ] = False,
) -> int:
    """Build the report: ledger of claims, tables, figures, page."""
    from harness.planning import compose
    from harness.report import gather

    names, profile, _ = compose.split_arguments(words or [])
    built = gather.report(results, profile or "cpu", names, reference=reference)
    if as_json:
        typer.echo((built.folder / "report.json").read_text(encoding="utf-8"))
    else:
        typer.echo(gather.ledger_text(built))
        typer.echo(f"report: {built.folder / 'index.html'}")
    if strict:
        changes = gather.strict_changes(built, results)
        for change in changes:
            typer.secho(change, fg="red", err=True)
        return REGRESSION if changes else OK
    return OK


@app.command()
@command
def compare(
    method: Annotated[Path, typer.Argument(help="Your method's file.")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[profile=P] [key=value]...")] = None,
    suite_name: Annotated[str, typer.Option("--suite", help="Suite whose baselines to compare with.")] = "",
    against: Annotated[str, typer.Option(help="Arms to compare with, comma separated; default: all.")] = "",
    results: Results = DEFAULT_RESULTS,
    executor: str = "local",
    workers: int | None = None,
) -> int:
    """Put a new method beside a suite's tuned baselines at equal tuning budget."""
    from harness.commands import compare as comparison

    return comparison.compare(method, suite_name, words or [], against, results, executor, workers)


@app.command()
@command
def regress(
    words: Words = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    update: Annotated[
        bool,
        typer.Option("--update", help="Move the committed reference to the present records; needs --reason."),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why the reference moves; kept in its log.")] = "",
    reference: Annotated[str, typer.Option(help="Name of the reference; default: the profile.")] = "",
) -> int:
    """Compare the present records with the committed reference; exit 4 on a regression."""
    from harness.commands import regress as regression

    suites = _load_suites(words, None, default_all=True)
    if update:
        return regression.update(suites, results, reference, reason, echo=typer.echo)
    found = regression.compare(suites, results, reference)
    if as_json:
        _print_json(found.as_dict())
    else:
        typer.echo(found.as_text())
    return REGRESSION if found.regressions else OK


@app.command()
@command
def analyse(
    file: Annotated[Path, typer.Argument(help="CSV in long format: arm, size or compute, seed, loss, diverged.")],
    estimator: Annotated[str, typer.Option(help="Estimator; --list-estimators names them.")] = "compute_ratio",
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[key=value]...", help="The estimator's arguments, e.g. arm=muon baseline=adamw."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Apply an estimator to anyone's results, e.g. arm=muon baseline=adamw."""
    import yaml

    from harness.analysis.analyse import analyse_csv, as_text

    values = {}
    for word in arguments or []:
        key, equals, value = word.partition("=")
        if not equals:
            raise HarnessError(f"{word!r}: write the estimator's arguments as key=value")
        values[key] = yaml.safe_load(value)
    result = analyse_csv(file, estimator, **values)
    return _print_json(result) if as_json else typer.echo(as_text(result))


@app.command()
@command
def accept(
    words: Words = None,
    reason: Annotated[str, typer.Option(help="Why the old numbers still hold.")] = "",
    only: Only = None,
    plugins: Plugins = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Carry stale records over to the current code; appends the reason to a committed log."""
    from harness.commands import console

    if not reason.strip():
        raise HarnessError("--reason is needed: it is kept in the log, e.g. --reason 'renamed a variable'")
    console.accept_command(_load_suites(words, plugins), results, only, reason)


@app.command()
@command
def clean(
    words: Words = None,
    results: Results = DEFAULT_RESULTS,
    stale: Annotated[bool, typer.Option("--stale", help="Delete records of old code for these suites.")] = False,
    unused: Annotated[bool, typer.Option("--unused", help="Delete records that no stored plan uses.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it, only say what would go.")] = False,
) -> None:
    """Remove scratch folders; with --stale or --unused, records too."""
    from harness.commands import console

    suites = _load_suites(words) if words else []
    if stale and not suites:
        raise HarnessError("--stale needs the suites whose stale records go, or 'all'")
    console.clean_command(suites, results, stale, unused, yes)


@app.command()
@command
def track(
    words: Words = None,
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    uri: Annotated[
        str,
        typer.Option(help="MLflow tracking URI; default: $MLFLOW_TRACKING_URI, else SQLite in the results folder."),
    ] = "",
) -> int:
    """Send to MLflow what is missing there, each record exactly once."""
    from harness.commands import console

    summary = console.track_command(_load_suites(words, None, default_all=True), results, uri)
    if as_json:
        _print_json(summary)
    else:
        typer.echo(f"sent {summary['sent']}, already there {summary['already']}, failed {summary['failed']}")
        for line in summary.get("errors", []):
            typer.secho(line, fg="red", err=True)
    return TRIAL_FAILED if summary["failed"] else OK


@app.command()
@command
def doctor(
    as_json: Json = False,
    default_profile: Annotated[
        bool,
        typer.Option("--default-profile", help="Print only the profile that `make reproduce-all` takes here."),
    ] = False,
) -> None:
    """What this machine can run, how long each profile will take, what is missing and how to get it."""
    from harness.commands import doctor as module

    if default_profile:
        return typer.echo(module.default_profile())
    found = module.examine()
    return _print_json(found) if as_json else typer.echo(module.as_text(found))


# --- data --------------------------------------------------------------------------------------------------

Spec = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME] [key=value]...",
        help="python_sources, or path=my.txt tokenizer=bpe vocab_size=1024, ...",
    ),
]


def _spec(words: Sequence[str] | None) -> dict[str, Any]:
    import yaml

    spec: dict[str, Any] = {}
    for word in words or ["python_sources"]:
        key, equals, value = word.partition("=")
        if equals:
            spec[key] = yaml.safe_load(value)
        else:
            spec["name"] = word
    return spec


@data_app.command("list")
@command
def data_list(results: Results = DEFAULT_RESULTS, as_json: Json = False) -> None:
    """List built data sets."""
    from harness.data import commands

    rows = commands.list_corpora(results / "data")
    if as_json:
        return _print_json(rows)
    for row in rows:
        typer.echo("  ".join(str(v) for v in row.values() if not isinstance(v, dict)))
    if not rows:
        typer.echo("none built yet; harness data build python_sources")


@data_app.command("build")
@command
def data_build(spec: Spec = None, results: Results = DEFAULT_RESULTS) -> None:
    """Build a data set now (otherwise it is built when first needed)."""
    from harness.data import commands

    corpus = commands.build(_spec(spec), results / "data")
    typer.echo(f"{corpus.name}: digest {corpus.digest}")


@data_app.command("export")
@command
def data_export(
    file: Annotated[Path, typer.Option("--to", help="File to write.")],
    spec: Spec = None,
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Write a built data set to one compressed file, for a machine without its source."""
    from harness.data import commands

    commands.export(_spec(spec), results / "data", file)
    typer.echo(f"{file}: {file.stat().st_size / 2**20:.1f} MiB")


@data_app.command("import")
@command
def data_import(
    file: Annotated[Path, typer.Argument(help="File written by `harness data export`.")],
    results: Results = DEFAULT_RESULTS,
) -> None:
    """Unpack and verify an exported data set."""
    from harness.data import commands

    corpus = commands.import_(file, results / "data")
    typer.echo(f"{corpus.name}: digest {corpus.digest}")


def main() -> None:
    """Entry point of the ``harness`` command."""
    app()


if __name__ == "__main__":
    main()
