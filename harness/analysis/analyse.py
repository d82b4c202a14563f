"""An estimator applied to anyone's results in a CSV file of long format.

Columns: ``arm``; ``size`` or ``compute`` (both for a compute ratio over named sizes); ``seed``; ``loss``; and,
if trials diverged, ``diverged`` (0 or 1) with ``trivial_loss``, the loss of a model that has learned nothing.
Further columns become axes and may be named in the estimator's arguments (``lr`` is read as ``optimizer.lr``)::

    arm,size,compute,seed,loss,diverged
    adamw,small,1.2e15,0,3.412,0
    muon,small,1.2e15,0,3.371,0

    harness analyse results.csv --estimator compute_ratio arm=muon baseline=adamw below=1
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from scipy import stats

from harness.analysis import estimate as registry
from harness.analysis import verdicts
from harness.analysis.claims import plain
from harness.analysis.estimate import Estimate, Evidence
from harness.analysis.verdicts import Region
from harness.analysis.words import interval_text
from harness.errors import ClaimError

REGION = ("below", "above", "within")
NEEDED = ("arm", "seed", "loss")
RENAMED = {"loss": "test_loss", "compute": "flops", "lr": "optimizer.lr"}


def read_results(path: Path | str) -> pd.DataFrame:
    """The trials table that a CSV of results stands for. Raises ClaimError naming file, column and cure."""
    file = Path(path)
    try:
        table = pd.read_csv(file, comment="#", skipinitialspace=True)
    except FileNotFoundError:
        raise ClaimError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ClaimError(f"{file}: not a readable CSV file: {error}") from None
    table.columns = [str(c).strip() for c in table.columns]
    missing = [c for c in NEEDED if c not in table.columns]
    if not {"size", "compute", "width"} & set(table.columns):
        missing.append("size (or compute)")
    if missing:
        raise ClaimError(
            f"{file}: missing column {', '.join(missing)}; it has {', '.join(table.columns)}; "
            "needed: arm, size or compute, seed, loss, and diverged where trials diverged"
        )
    if table.empty:
        raise ClaimError(f"{file}: no rows")
    diverged = _flags(table, file)
    for column in ("loss", "compute", "seed", "trivial_loss"):
        if column in table.columns:
            table[column] = _numbers(table, column, file, diverged if column == "loss" else None)
    table["seed"] = table["seed"].astype(int)
    if "size" not in table.columns and "width" not in table.columns:
        table["size"] = _sizes_from_compute(table, file)
    table = table.rename(columns=RENAMED).drop(columns=["diverged"], errors="ignore")
    table["arm"] = table["arm"].astype(str)
    table["status"] = ["diverged" if d else "completed" for d in diverged]
    table.loc[diverged, "test_loss"] = float("nan")
    return table.assign(role="evaluation", numerics_class="", identity=[f"row {i + 2}" for i in range(len(table))])


def _flags(table: pd.DataFrame, file: Path) -> pd.Series:
    if "diverged" not in table.columns:
        return pd.Series(False, index=table.index)
    words = table["diverged"].astype(str).str.strip().str.lower()
    known = {
        "0": False,
        "1": True,
        "0.0": False,
        "1.0": True,
        "false": False,
        "true": True,
        "no": False,
        "yes": True,
        "nan": False,
        "": False,
    }
    bad = ~words.isin(known)
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise ClaimError(f"{file}: row {row + 2}: diverged is {table['diverged'][row]!r}; write 0 or 1")
    return words.map(known).astype(bool)


def _numbers(table: pd.DataFrame, column: str, file: Path, may_lack: pd.Series | None) -> pd.Series:
    values = pd.to_numeric(table[column], errors="coerce")
    bad = ~values.abs().lt(float("inf"))
    if column == "trivial_loss":
        bad &= table[column].notna()
    if may_lack is not None:
        bad &= ~may_lack
    if bad.any():
        row = int(bad.to_numpy().argmax())
        cure = "mark diverged trials in a column 'diverged'" if column == "loss" else "write a number"
        raise ClaimError(f"{file}: row {row + 2}: {column} is {table[column][row]!r}, not a finite number; {cure}")
    if column == "compute" and (values <= 0).any():
        raise ClaimError(f"{file}: row {int((values <= 0).to_numpy().argmax()) + 2}: compute must be above 0")
    return values


def _sizes_from_compute(table: pd.DataFrame, file: Path) -> pd.Series:
    """Sizes named by compute, where all arms ran the same amounts."""
    per_arm = {str(a): tuple(sorted(g["compute"].unique())) for a, g in table.groupby("arm")}
    if len(set(per_arm.values())) > 1:
        raise ClaimError(
            f"{file}: the arms ran different amounts of compute; add a column 'size' that matches them"
        )
    return table["compute"].map(lambda c: f"{c:g}")


def analyse_csv(path: Path | str, estimator: str, **arguments: Any) -> dict[str, Any]:
    """The estimator's answer for a CSV of results, as plain values.

    ``arguments`` are the estimator's, and at most one of ``below``, ``above``, ``within`` for a p value.
    Raises ClaimError or UnknownNameError; never guesses a number.
    """
    trials = read_results(path)
    region = {k: arguments.pop(k) for k in REGION if k in arguments}
    try:
        expects = Region.model_validate(region) if region else None
    except ValueError:
        raise ClaimError(f"give one of below=x, above=x, within=[a, b]; got {region}") from None
    registry.find(estimator)
    if estimator in ("probe_difference", "probe_slope", "share_by_seed"):
        raise ClaimError(f"estimator {estimator!r} reads probes, which a CSV of results does not have")
    if "metric" in arguments:
        arguments["metric"] = RENAMED.get(arguments["metric"], arguments["metric"])
    elif "metric" in registry.arguments_of(estimator):
        arguments["metric"] = "test_loss"
    found = registry.run(Evidence(trials=trials), {"name": estimator, **arguments})
    return _answer(found, estimator, arguments, expects, len(trials))


def _answer(e: Estimate, name: str, arguments: dict[str, Any], expects: Region | None, rows: int) -> dict[str, Any]:
    parts = []
    for p in e.parts:
        half = float(stats.t.ppf(0.975, p.df)) * p.se if p.se > 0 else None
        ends = None if half is None else (e.shown(p.value - half), e.shown(p.value + half))
        se = abs(e.shown(p.value)) * p.se if e.log else p.se
        parts.append(
            {
                "label": p.label,
                "estimate": e.shown(p.value),
                "ci95": None if ends is None else list(ends),
                "df": p.df,
                "text": interval_text(e.shown(p.value), ends, se, e.unit),
            }
        )
    out: dict[str, Any] = {
        "estimator": name,
        "arguments": arguments,
        "unit": e.unit,
        "parts": parts,
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
        except ValueError as error:
            raise ClaimError(str(error)) from None
        p_both = verdicts.two_sided(hold, fail)
        worst = max(e.parts, key=lambda q: verdicts.part_p(q, *whole.bounds(e.log))[0])
        seen = verdicts.detectable(worst.se, worst.df, whole, e.log, e.unit)
        out |= {
            "expects": whole.text(),
            "p": p_both,
            "outcome": verdicts.outcome(p_both, hold, fail),
            "detectable": seen.as_dict() if seen else None,
        }
    return dict(plain(out))


def as_text(answer: dict[str, Any]) -> str:
    """The same for a reader."""
    lines = [
        f"{answer['estimator']}: {part['text']}" + (f" ({part['label']})" if part["label"] else "")
        for part in answer["parts"]
    ]
    lines.append(f"{answer['num_sizes']} sizes x {answer['num_seeds']} seeds, {answer['num_trials']} trials used")
    if "expects" in answer:
        lines.append(f"expected {answer['expects']}: {answer['outcome']} (p = {answer['p']:.2g}, one test)")
        if answer["outcome"] == "unresolved" and answer["detectable"]:
            lines.append(f"these results could see {answer['detectable']['text']}")
    for title, rows in (("by form", answer["forms"]), ("by cell", answer["table"])):
        if rows:
            lines += ["", title, pd.DataFrame(rows).to_string(index=False, float_format=lambda x: f"{x:.4g}")]
    lines += ["", *(f"note: {n}" for n in answer["notes"])] if answer["notes"] else []
    return "\n".join(lines)
