"""``harness bench-check``: has an operator become slower, beside a reference implementation, than it was?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.commands._options import DEFAULT_RESULTS, Json, Results, print_json, warn
from harness.errors import HarnessError
from harness.exit_codes import NOTHING_COMPARED, OK, REGRESSION

if TYPE_CHECKING:
    from harness.benchmarks.judging import Row
    from harness.benchmarks.samples import Samples

EXAMPLE = "harness bench-check --group norms"
EXITS = (REGRESSION, NOTHING_COMPARED)
RUNS_OF_A_REFERENCE = 3
"""Runs that --update measures: one run knows nothing of how runs differ."""


def command(
    results: Results = DEFAULT_RESULTS,
    as_json: Json = False,
    group: Annotated[
        list[str] | None, typer.Option(help="Only this group; may be repeated.", show_default=False)
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Measure nothing: judge the raw samples of this file.", show_default=False)
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Write the raw samples to this file, too.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    rounds: Annotated[int, typer.Option(min=5, help="Rounds of a run; every form has its turn in each.")] = 15,
    reference: Annotated[
        str, typer.Option(help="Name of the reference; default: this family of machines.", show_default=False)
    ] = "",
    update: Annotated[
        bool, typer.Option("--update", help="Move the committed reference to what is measured; needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why the reference moves; kept in its log.", show_default=False)] = "",
) -> int:
    """Time operators in turn with a reference implementation, and hold the ratios against the committed ones.

    A form is slower where a rank test of the raw ratios and a factor both say so, and a second measurement, too:
    exit 4. Where something could not be compared, as on machines of a family without a reference, exit 5. Absolute
    times are shown and never judged.
    """
    from harness.benchmarks import alone
    from harness.benchmarks import samples as files
    from harness.commands import _bench_output
    from harness.commands._progress import working
    from harness.environment import missing_device

    wanted = group or alone.group_names()
    for name in wanted:
        alone.known(name)
    _check(samples, save, update, reason, group)
    if samples is None and (why := missing_device(device)):
        raise HarnessError(f"--device {device}: {why}; give --device cpu, or a file with --samples")
    if reference:
        files.reference_path(results, reference)
    with working("operators") as tell:
        if samples is not None:
            now = _from_file(samples, group)
        else:
            now = files.measure(wanted, device, rounds, RUNS_OF_A_REFERENCE if update else 1, tell)
        if save:
            files.write(save, now)
        path = files.reference_path(results, reference or now.family)
        found = [] if update else _judged(path, now, device if samples is None else "", rounds, tell)
    if update:
        typer.echo(_move(path, now, reason))
        return OK
    if as_json:
        print_json(_bench_output.as_dict(found, now, path))
    else:
        typer.echo(_bench_output.as_text(found, now, path))
    if any(row.status == "slower" for row in found):
        return REGRESSION
    return NOTHING_COMPARED if not found or any(row.status in ("missing", "new") for row in found) else OK


def _check(samples: Path | None, save: Path | None, update: bool, reason: str, group: list[str] | None) -> None:
    if update and not reason.strip():
        raise HarnessError("--update needs --reason: it is kept in the reference's log")
    if update and group:
        raise HarnessError("--update moves the reference of all groups: leave out --group")
    if samples is not None and save is not None:
        raise HarnessError("--samples judges a file and measures nothing: leave out --save")
    if save is not None and (save.is_dir() or not save.absolute().parent.is_dir()):
        raise HarnessError(f"{save}: give the path of a file in a folder that exists")


def _from_file(path: Path, group: list[str] | None) -> Samples:
    from harness.benchmarks import samples as files

    found = files.read(path)
    for name in group or []:
        if name not in found.groups:
            raise HarnessError(
                f"{path}: it has no group {name!r}; it has: {', '.join(found.groups)}; measure it with "
                f"`harness bench-check --group {name} --save FILE`"
            )
    return files.part_of(found, group) if group else found


def _judged(path: Path, now: Samples, device: str, rounds: int, tell: Callable[[str], Any]) -> list[Row]:
    """A row for each form; with a ``device``, slower ones are measured again."""
    from harness.benchmarks import judging
    from harness.benchmarks import samples as files

    if not path.is_file():
        return [judging.described(case, form) for case in now.cases for form in case.compared]
    whole = files.read(path)
    if whole.family != now.family:
        raise HarnessError(
            f"{path}: it was measured on {whole.family}, the samples on {now.family}; ratios hold within a family "
            "alone: leave out --reference, or give one of this family"
        )
    classes = [side.machine.get("numerics_class") for side in (whole, now)]
    if classes[0] != classes[1]:
        warn(f"{path} was measured with {classes[0]}, these samples with {classes[1]}; that alone may move ratios")
    before = files.part_of(whole, now.groups)
    rows = judging.judge(now, before)

    def again(suspects: list[Row]) -> Iterator[Row]:
        names = sorted({row.group for row in suspects})
        tell(f"measuring again: {', '.join(names)}")
        yield from judging.judge(files.measure(names, device, rounds), files.part_of(before, names))

    return judging.confirmed(rows, again) if device else rows


def _move(path: Path, now: Samples, reason: str) -> str:
    """Put the samples in the reference's place, its page and a line of its log beside it. Raises HarnessError."""
    from datetime import UTC, datetime

    from harness.benchmarks import alone
    from harness.benchmarks import samples as files
    from harness.commands import _bench_output
    from harness.files import append_line, sealed, write_atomically

    missing = [*now.absent, *(g for g in alone.group_names() if g not in now.groups)]
    if missing:
        why = "; ".join(f"{part} ({now.absent.get(part, 'not asked for')})" for part in missing)
        raise HarnessError(f"{path}: the reference stays, as these were not measured: {why}")
    files.write(path, now)
    write_atomically(path.with_suffix(".md"), _bench_output.as_markdown(now).encode())
    said = {"family": now.family, "reason": reason, "at": datetime.now(UTC).isoformat(timespec="seconds")}
    append_line(path.parent / "history.txt", sealed(said))
    return f"{path}: {len(now.cases)} cases, {path.stat().st_size / 1024:.0f} KiB"
