"""An estimator applied to anyone's results in a text table of long format.

Columns as :mod:`harness.analysis.results_file` says::

    arm,size,compute,seed,loss,diverged
    adamw,small,1.2e15,0,3.412,0
    muon,small,1.2e15,0,3.371,0

    harness analyse results.csv --estimator compute_ratio arm=muon baseline=adamw below=1
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from harness import numbers
from harness.analysis import lookup, verdicts
from harness.analysis.estimate import Estimate
from harness.analysis.evidence import Evidence
from harness.analysis.result import plain
from harness.analysis.results_file import METRICS, RENAMED, read_results
from harness.analysis.verdicts import Region
from harness.errors import ClaimError
from harness.reading import ReadingError, parse_yaml

REGION = ("below", "above", "within")
COLUMN = "column."
ARMS = ("arm", "baseline")
HERE = ("trials",)
"""What a file of results can stand for."""


def analyse_csv(path: Path | str, estimator: str, **arguments: Any) -> dict[str, Any]:
    """The estimator's answer for a file of results, as plain values.

    ``arguments`` are the estimator's, at most one of ``below``, ``above``, ``within`` for a p value, and
    ``column.loss="val/loss"`` where the file has another name for a column.
    Raises ClaimError or UnknownNameError; never guesses a number.
    """
    columns = {k.removeprefix(COLUMN): str(v) for k, v in arguments.items() if k.startswith(COLUMN)}
    arguments = {k: v for k, v in arguments.items() if not k.startswith(COLUMN)}
    trials = read_results(path, columns)
    region = {k: arguments.pop(k) for k in REGION if k in arguments}
    try:
        expects = Region.model_validate(region) if region else None
    except ValueError:
        raise ClaimError(f"give one of below=x, above=x, within=[a, b]; got {region}") from None
    lacking = [f for f in lookup.facts(estimator).reads if f not in HERE]
    if lacking:
        raise ClaimError(f"estimator {estimator!r} reads {lacking[0]}, which a file of results does not have")
    arguments = _as_in_records(arguments, estimator, trials)
    axis = next((a for a in ("size", "width") if a in trials.columns), None)
    evidence = Evidence(trials=trials, size_axis=axis, metrics=METRICS)
    try:
        found = lookup.run(evidence, {"name": estimator, **arguments})
    except (TypeError, ValueError, KeyError) as error:
        raise ClaimError(f"{path}: {estimator} cannot take {arguments}: {error}") from None
    _warn(found, trials, axis)
    return _answer(found, estimator, arguments, expects, len(trials))


def _as_in_records(arguments: dict[str, Any], estimator: str, trials: pd.DataFrame) -> dict[str, Any]:
    """Arms as the file writes them (a command line reads .01 as a number), columns by the records' names."""
    out = dict(arguments)
    for key in ARMS:
        if key in out and not isinstance(out[key], str):
            out[key] = _arm(out[key], trials["arm"].unique())
    for key in ("metric", "compute"):
        if isinstance(out.get(key), str):
            out[key] = RENAMED.get(out[key], out[key])
    if "metric" not in out and any(p.name == "metric" for p in lookup.parameters_of(estimator)):
        out["metric"] = "test_loss"
    return out


def _arm(value: Any, names: Collection[str]) -> str:
    for name in names:
        try:
            if parse_yaml(name, "arm") == value:
                return name
        except ReadingError:
            continue
    return str(value)


def _warn(e: Estimate, trials: pd.DataFrame, axis: str | None) -> None:
    """A note where no cell has two seeds."""
    rows = trials[trials["identity"].isin(e.identities)]
    cells = rows.groupby(["arm", *([axis] if axis else [])])["seed"].nunique()
    if len(cells) and cells.max() == 1:
        e.notes.append(
            "one seed in every cell: seed noise cannot be told from what a size does, and nothing shows whether a "
            "repetition would agree; run at least three"
        )


def _answer(e: Estimate, name: str, arguments: dict[str, Any], expects: Region | None, rows: int) -> dict[str, Any]:
    out: dict[str, Any] = {
        "estimator": name,
        "arguments": arguments,
        "unit": e.unit,
        "parts": [
            {"label": p.label, "estimate": e.shown(p.value), "ci95": e.interval(i), "df": p.df}
            for i, p in enumerate(e.parts)
        ],
        "num_sizes": e.num_sizes,
        "num_seeds": e.num_seeds,
        "num_trials": e.num_trials,
        "rows": rows,
        "seed_sd": e.seed_sd,
        "estimators_agree": e.estimators_agree,
        "forms": e.forms,
        "table": e.table,
        "notes": e.notes,
    }
    if expects is not None:
        whole = Region(all=expects) if len(e.parts) > 1 else expects
        try:
            hold, fail = verdicts.p_values(e, whole)
            bounds = whole.bounds(e.scale)
        except ValueError as error:
            raise ClaimError(str(error)) from None
        p_both = verdicts.two_sided(hold, fail)
        worst = max(e.parts, key=lambda q: verdicts.part_p(q, *bounds)[0])
        seen = verdicts.detectable(worst.se, worst.df, whole, e.scale, e.unit)
        out |= {
            "expects": whole.text(),
            "p": p_both,
            "resolution": verdicts.resolve(p_both, hold, fail),
            "detectable": seen.as_dict() if seen else None,
        }
    return dict(plain(out))


def as_text(answer: dict[str, Any]) -> str:
    """The same for a reader."""
    lines = []
    for part in answer["parts"]:
        shown = numbers.with_interval(part["estimate"], part["ci95"], part["df"], answer["unit"])
        lines.append(f"{answer['estimator']}: {shown}" + (f" ({part['label']})" if part["label"] else ""))
    sizes, seeds = numbers.plural(answer["num_sizes"], "size"), numbers.plural(answer["num_seeds"], "seed")
    lines.append(f"{sizes} x {seeds}, {numbers.plural(answer['num_trials'], 'trial')} used")
    if "expects" in answer:
        p = numbers.p_value(answer["p"])
        p = p if p.startswith("<") else f"= {p}"
        lines.append(f"expected {answer['expects']}: {answer['resolution']} (p {p}, one test)")
        if answer["resolution"] == "unresolved" and answer["detectable"]:
            lines.append(f"these results could see {answer['detectable']['text']}")
    for title, rows in (("by form", answer["forms"]), ("by cell", answer["table"])):
        if rows:
            lines += ["", title, pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.4g}")]
    lines += ["", *(f"note: {n}" for n in answer["notes"])] if answer["notes"] else []
    return "\n".join(lines)
