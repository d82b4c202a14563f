"""Differences of arms to their baselines, paired by seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib import ticker

from harness import numbers
from harness.report.cells import half_width
from harness.report.colours import MUTED
from harness.report.figures.layout import Sheet
from harness.report.figures.registry import Drawing, kind
from harness.report.frames import Frames, MissingDataError, need

CAPTION = (
    "Differences by seed (dots), their mean and 95 % t interval; left of the line an arm is below its baseline."
)
SHARES = (
    " Without an interval: arms of which a seed has no number, or whose seeds are of two kinds, of which the share "
    "below the baseline is told."
)


@kind("differences")
def differences(
    frames: Frames,
    *,
    against: dict[str, list[str]],
    shares: list[str] | None = None,
    metric: str | None = None,
    caption: str | None = None,
) -> Drawing:
    """Differences of arms to a baseline in the pairs of one seed, one panel a baseline, one row an arm.

    ``against``: baseline -> its arms, those without trials left out; ``shares``: arms whose seeds are of two kinds,
    so that a share of seeds is told in the place of a mean.
    """
    trials = frames.ended("evaluation")
    metric = frames.metric(metric, trials)
    need(trials, [metric], "evaluation trials")
    panels = {b: _pairs(frames, trials, metric, b, arms, shares or []) for b, arms in against.items()}
    panels = {b: rows for b, rows in panels.items() if not rows.empty}
    if not panels:
        raise MissingDataError(f"no pairs of one seed of {', '.join(against)} and their arms")
    most = max(rows["arm"].nunique() for rows in panels.values())
    sheet = Sheet(len(panels), share_y=False, size=(4.4, 0.9 + 0.34 * most), most=2)
    said, without = [], False
    for ax, (baseline, rows) in zip(sheet.axes, panels.items(), strict=True):
        arms = list(dict.fromkeys(rows["arm"]))
        for place, arm in enumerate(arms):
            mine, colour, marker = rows[rows["arm"] == arm], frames.palette.colour(arm), frames.palette.marker(arm)
            ax.plot(
                mine["difference"], np.full(len(mine), place), marker, color=colour, alpha=0.35, markersize=3.5,
                markeredgewidth=0,
            )
            head = mine.iloc[0]
            if np.isfinite(head["mean"]):
                ax.errorbar(
                    head["mean"], place, xerr=head["half_width_95"], color=colour, marker=marker, capsize=2.5,
                    elinewidth=1.3, markersize=6,
                )
                text = numbers.mean_with_interval(head["mean"], head["half_width_95"], int(head["n"]))
            else:
                without = True
                text = f"{int(head['below'])} of {int(head['n'])} seeds below"
            said.append(f"{arm} less {baseline}: {text}")
        ax.axvline(0.0, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.1)
        ax.set_yticks(range(len(arms)), arms)
        ax.set_ylim(len(arms) - 0.5, -0.5)
        ax.set_title(f"less {baseline}")
        ax.set_xlabel(f"difference of {frames.labels.label(metric)}")
        ax.xaxis.set_major_locator(ticker.MaxNLocator(4))
    return Drawing(
        sheet,
        pd.concat(panels.values(), ignore_index=True),
        f"Dot chart of differences of {frames.labels.label(metric)} to a baseline, by arm. {'; '.join(said)}.",
        caption or CAPTION + (SHARES if without else ""),
    )


def _pairs(
    frames: Frames, trials: pd.DataFrame, metric: str, baseline: str, arms: list[str], shares: list[str]
) -> pd.DataFrame:
    """One row a pair: arm, baseline, seed, difference; and of its arm n, below, mean, half_width_95.

    No mean where a seed of either has no number, as it would flatter what diverges, nor of the arms in ``shares``.
    """
    keys = [a for a in frames.axes if a in trials and trials[a].notna().any()] + ["seed"]
    other = trials.loc[trials["arm"] == baseline, [*keys, metric]]
    out = []
    for arm in arms:
        mine = trials.loc[trials["arm"] == arm, [*keys, metric]]
        both = mine.merge(other, on=keys, suffixes=("", "_baseline"))
        both["difference"] = both[metric] - both[f"{metric}_baseline"]
        known = both["difference"].dropna()
        if known.empty:
            continue
        judged = len(known) == len(both) > 1 and arm not in shares
        out.append(
            both[[*keys, "difference"]].assign(
                arm=arm, baseline=baseline, n=len(both), below=int((known < 0).sum()),
                mean=known.mean() if judged else np.nan,
                half_width_95=float(half_width(known.std(ddof=1), len(known))) if judged else np.nan,
            )
        )
    return pd.concat(out, ignore_index=True) if out else pd.DataFrame()
