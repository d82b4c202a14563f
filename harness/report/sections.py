"""A suite's section: its figures and tables written as they are made, and what the page needs of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness import numbers
from harness.report import labels, ledger, results, svg, tables, words
from harness.report.colours import Palette
from harness.report.content import Design, Section, ShownFigure, ShownTable
from harness.report.export import clean
from harness.report.figures import Frames, MissingDataError, check_options, draw, relaid
from harness.report.frames import axes_of
from harness.report.labels import Labels
from harness.workload import workload_module

PHONE, HALF_PAGE = 4.0, 6.0
"""Widths in inches up to which a figure reads on a phone, and beside another one."""
RESULTS = (
    "Means over fresh evaluation seeds on the test split ± half-width of the 95 % t interval. A diverged trial "
    "counts with the metric's cap (the trivial loss, for losses); without one, its cell has no mean."
)
KEPT = ("suite", "says", "source", "kind", "scope", "unit")
"""Fields of a claim that stay from design to design."""
SETTINGS = ("workload", "base", "axes", "use", "arms", "tuning", "sweep", "seeds", "timing", "probes")


class Writer:
    """Writes figures and tables into a report's folder."""

    def __init__(
        self,
        folder: Path,
        trials: pd.DataFrame,
        curves: pd.DataFrame,
        probes: pd.DataFrame,
        claims: Sequence[Mapping[str, Any]],
        extra: Mapping[str, pd.DataFrame],
        record_tables: pd.DataFrame,
    ) -> None:
        self.folder, self.trials, self.curves, self.probes = folder, trials, curves, probes
        self.claims, self.extra, self.record_tables = claims, extra, record_tables
        self.colours: set[str] = set()
        groups = trials.groupby("suite", sort=False)["arm"].unique() if {"suite", "arm"} <= set(trials) else ()
        self.palette = Palette.of(groups)

    def ledger(self, claims: Sequence[Mapping[str, Any]], name: str = "ledger", title: str = "") -> ShownTable:
        """The ledger of these claims, written."""
        table = ledger.table(claims, name, title or "Ledger of claims")
        tables.write(table, ledger.frame(claims), self.folder / "tables")
        return table

    def section(self, suite: Mapping[str, Any]) -> Section:
        """Everything that the report says of a suite."""
        name = str(suite["name"])
        frames = self._frames(suite)
        claims = tuple(frames.claims)
        figures = tuple(
            self._figure(name, i, dict(f), frames) for i, f in enumerate(suite.get("figures") or (), start=1)
        )
        history = list(suite.get("history") or ())
        return Section(
            name=name,
            title=str(suite.get("title") or labels.name(name)),
            question=str(suite.get("question") or ""),
            answer=words.answer(claims),
            scale=str(suite.get("scale") or ""),
            facts=_facts(suite, frames.labels),
            warnings=tuple(words.warnings(suite, frames.trials, frames.axes)),
            notes=tuple(map(str, suite.get("notes") or ())),
            claims=claims,
            figures=figures,
            tables=tuple(self._suite_tables(name, frames)),
            settings=_settings(suite),
            commands=tuple(map(str, suite.get("recompute") or _commands(suite))),
            designs=tuple(self._design(name, i, d) for i, d in enumerate(history, start=1)),
            designs_line=words.designs(name, history) if history else "",
        )

    def other_tables(self) -> tuple[ShownTable, ...]:
        """Tables that belong to no suite, written."""
        names = {str(s) for s in self.trials.get("suite", pd.Series(dtype=str)).unique()}
        left = {k: v for k, v in self.extra.items() if not any(k.startswith(n) for n in names)}
        return tuple(self._table(k, labels.name(k), v) for k, v in left.items())

    def _frames(self, suite: Mapping[str, Any]) -> Frames:
        name = str(suite["name"])
        trials = _of_suite(self.trials, name)
        own = {k: v for k, v in self.extra.items() if k.startswith(name)}
        return Frames(
            trials=trials,
            curves=_of_trials(self.curves, name, trials),
            probes=_of_trials(self.probes, name, trials),
            record_tables=_of_trials(self.record_tables, name, trials),
            palette=self.palette,
            claims=[c for c in self.claims if c.get("suite") == name],
            tables={k.removeprefix(name).lstrip("/._-") or name: v for k, v in own.items()},
            axes=axes_of(suite, trials),
            labels=labels_of(suite),
            selection=str((suite.get("tuning") or suite.get("sweep") or {}).get("metric", "")),
        )

    def _design(self, suite: str, number: int, earlier: Mapping[str, Any]) -> Design:
        # An old ledger holds numbers and verdicts; what its claims said, they say today.
        now = {c["id"]: {k: c[k] for k in KEPT if k in c} for c in self.claims if c.get("suite") == suite}
        claims = tuple({**now.get(row["id"], {}), **row} for row in earlier.get("ledger") or ())
        name = str(earlier.get("design") or f"design {number}")
        table = self.ledger(claims, f"{_file_name(suite)}_design_{number}", f"{suite}: {name}")
        why = f"superseded because: {earlier['reason']}" if earlier.get("reason") else ""
        return Design(name, why, claims, table)

    def _figure(self, suite: str, number: int, options: dict[str, Any], frames: Frames) -> ShownFigure:
        kind = str(options.pop("kind"))
        check_options(kind, options, f"{suite}: figures")
        stem = f"{_file_name(suite)}_{number:02d}_{_file_name(kind)}"
        title = str(options.get("title") or _title(kind, options, frames))
        title = title[:1].upper() + title[1:]
        try:
            drawing = draw(kind, frames, options)
            document = svg.save(drawing.figure, self.folder / "figures" / stem)
            tables.write_csv(drawing.data, self.folder / "figures" / f"{stem}.csv")
            across = drawing.figure.get_figwidth()
            wide = self._inline(document, stem, drawing.alt, "wide" if across > PHONE else "")
            narrow = ""
            if across > PHONE:
                slim = svg.to_svg(relaid(drawing, 1).figure, f"{stem}_narrow")
                narrow = self._inline(slim, f"{stem}_narrow", drawing.alt, "narrow")
        except MissingDataError as error:
            return ShownFigure(kind, stem, title, missing=str(error))
        return ShownFigure(kind, stem, title, drawing.caption, drawing.alt, wide, narrow, across > HALF_PAGE)

    def _inline(self, document: str, stem: str, alt: str, css_class: str) -> str:
        text, colours = svg.inline(document, stem.replace("_", "-"), alt, css_class)
        self.colours |= colours
        return text

    def _suite_tables(self, name: str, frames: Frames) -> list[ShownTable]:
        trials, said = frames.trials, frames.labels
        found = []
        if not trials.empty:
            own = (
                ("results", "Results by arm", results.results_frame(trials, frames.axes, said), RESULTS),
                ("outcomes", "How the trials ended", results.outcomes_frame(trials), ""),
                ("not_completed", "Trials that did not complete", results.failures_frame(trials, frames.axes), ""),
            )
            found = [self._table(f"{name}_{k}", t, frame, note, said) for k, t, frame, note in own if len(frame)]
        found += [self._table(f"{name}_{k}", labels.name(k), v, "", said) for k, v in frames.tables.items()]
        for c in frames.claims:
            if c.get("table"):
                title = f"Claim {c['id']}: the numbers behind it"
                found.append(self._table(f"{name}_claim_{c['id']}", title, pd.DataFrame(c["table"]), "", said))
        return found

    def _table(
        self, name: str, title: str, frame: pd.DataFrame, note: str = "", said: Labels | None = None
    ) -> ShownTable:
        table = tables.shown(_file_name(name), title[:1].upper() + title[1:], frame, note, said)
        tables.write(table, frame, self.folder / "tables")
        return table


def _title(kind: str, options: Mapping[str, Any], frames: Frames) -> str:
    """What a figure shows: of the kinds for any metric, the metric."""
    if not kind.startswith("metric_"):
        return labels.name(kind)
    with contextlib.suppress(MissingDataError):
        return frames.labels.label(options.get("y") or frames.metric(options.get("metric")))
    return labels.name(kind)


def labels_of(suite: Mapping[str, Any]) -> Labels:
    """What the suite's columns hold, as its workload declares; bare names where it names none."""
    metrics = workload_module(str(suite["workload"])).METRICS if suite.get("workload") else {}
    return Labels(metrics=metrics, statistics=suite.get("statistics") or {})


def _facts(suite: Mapping[str, Any], said: Labels) -> tuple[tuple[str, str], ...]:
    minutes = suite.get("budget_minutes")
    facts = (
        ("Scale", str(suite.get("scale") or "")),
        ("Held-out data", str(suite.get("held_out") or "")),
        ("Hyperparameters", words.tuning_text(suite, said)),
        ("Sources", "; ".join(map(str, suite.get("sources") or ()))),
        ("Budget", numbers.duration(60 * minutes) if minutes else ""),
        ("Settings", str(suite.get("note") or "")),
    )
    return tuple(f for f in facts if f[1])


def _commands(suite: Mapping[str, Any]) -> tuple[str, ...]:
    words_ = f"{suite['name']} profile={suite.get('profile', '')}"
    return f"harness run {words_}", f"harness report {words_}"


def _settings(suite: Mapping[str, Any]) -> str:
    shown = {k: suite[k] for k in SETTINGS if suite.get(k)}
    return json.dumps(clean(shown), indent=2, ensure_ascii=False, allow_nan=False) if shown else ""


def _of_suite(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame[frame["suite"] == name].reset_index(drop=True) if "suite" in frame else frame


def _of_trials(frame: pd.DataFrame, name: str, trials: pd.DataFrame) -> pd.DataFrame:
    """Rows of a suite: by its name where the frame has it, else by its trials."""
    if frame.empty:
        return frame
    if "suite" in frame:
        return _of_suite(frame, name)
    return frame[frame["identity"].isin(trials["identity"])] if "identity" in frame else frame


def _file_name(text: str) -> str:
    """Letters, digits, dot, dash and underscore; so that a name cannot leave its folder or break a link."""
    return (
        "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text).strip("_")[:80] or "table"
    )
