"""From frames and claims to a report: figures, tables, report.json, report.md, index.html.

Input, one row or entry each, is plain pandas and dictionaries:

    trials      a planned trial: suite, profile, arm, role, seed, status, reason, identity, numerics_class,
                selected, at_edge, the suite's axes, hyperparameters by config path, metrics (NaN where diverged),
                diverged_step
    curves      a curve's point: identity, suite, arm, axes, seed, curve, step, value
    probes      a row of a probe: identity, arm, axes, seed, probe, and the probe's own columns
    suites      mapping or object: name, title, question, profile; optional axes, figures, scale (a line), base,
                budget_minutes, note, notes, metrics, sources, recompute (commands), missing, changed_claims
    claims      the fields of report.json (see CLAIM_FIELDS), and unit, sentence, published, notes, refused,
                confirmatory, command
    provenance  nested dictionary, shown as it is
    tables      name -> frame; a name that starts with a suite's name belongs to its section
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from harness import numbers
from harness.report import labels, markdown, page, svg, tables, words
from harness.report.colours import Palette
from harness.report.figures import Frames, MissingDataError, draw, relaid

CLAIM_FIELDS = (
    "id",
    "suite",
    "says",
    "source",
    "kind",
    "expects",
    "estimate",
    "ci95",
    "df",
    "p_holm",
    "num_sizes",
    "num_seeds",
    "num_trials",
    "seed_sd",
    "profile",
    "scope",
    "scale_factor",
    "verdict",
    "minimum_detectable_effect",
    "estimators_agree",
)
"""Fields of every claim in report.json, in this order; others follow."""


PHONE, HALF_PAGE = 4.0, 6.0
"""Widths in inches up to which a figure reads on a phone, and beside another one."""


@dataclass(frozen=True)
class ShownFigure:
    """A figure of the report, drawn, or the reason why not."""

    kind: str
    stem: str
    title: str
    caption: str = ""
    alt: str = ""
    wide: str = ""
    """Inline SVG."""
    narrow: str = ""
    """Inline SVG with one panel a row, for phones; empty where the figure is narrow enough."""
    whole_row: bool = False
    """Needs the page's whole width."""
    missing: str = ""
    """Why there is no figure."""


@dataclass(frozen=True)
class Section:
    """A suite's part of the report."""

    name: str
    title: str
    question: str
    answer: str
    scale: str
    facts: tuple[tuple[str, str], ...]
    """Label and text: budget, sources, notes."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    """What planning said: edges, dropped arms."""
    claims: tuple[Mapping[str, Any], ...]
    figures: tuple[ShownFigure, ...]
    tables: tuple[tables.Table, ...]
    settings: str
    """The suite's configuration as JSON text."""
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything that the page and the Markdown show."""

    profile: str
    claims: tuple[Mapping[str, Any], ...]
    ledger: tables.Table
    sections: tuple[Section, ...]
    tables: tuple[tables.Table, ...]
    """Tables that belong to no suite."""
    provenance: Mapping[str, Any]
    summary: str
    colours: frozenset[str] = field(default_factory=frozenset)


def build_report(
    folder: Path,
    *,
    suites: Sequence[Any],
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    probes: pd.DataFrame,
    claims: Sequence[Mapping[str, Any]],
    provenance: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame] | None = None,
) -> Path:
    """Write the report into ``folder``, replacing an earlier one, and return it. Same input, same bytes.

    Figures whose data is missing leave a note with the reason. Raises UnknownNameError for a figure kind that
    nothing draws, ValueError for an unknown verdict.
    """
    folder = Path(folder)
    for name in ("figures", "tables"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)
    # Judged claims first: the first screen is for verdicts.
    ranked = sorted(claims, key=lambda c: c.get("verdict") is None)
    writer = _Writer(folder, trials, curves, probes, list(ranked), dict(tables or {}))
    ledger = writer.ledger()
    sections = tuple(writer.section(plain_suite(s)) for s in suites)
    report = Report(
        profile=next((s.get("profile", "") for s in map(plain_suite, suites)), ""),
        claims=tuple(ranked),
        ledger=ledger,
        sections=sections,
        tables=writer.other_tables(),
        provenance=provenance,
        summary=words.summary(ranked),
        colours=frozenset(writer.colours),
    )
    _write(
        folder / "report.json", json.dumps(as_json(report), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )
    _write(folder / "report.md", markdown.render(report))
    _write(folder / "index.html", page.render(report))
    return folder


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="\n")


def plain_suite(suite: Any) -> dict[str, Any]:
    """A suite as a dictionary, from a mapping, a pydantic model or any object with attributes."""
    if isinstance(suite, Mapping):
        return dict(suite)
    if hasattr(suite, "model_dump"):
        return dict(suite.model_dump())
    return dict(vars(suite))


def clean(value: Any) -> Any:
    """The value as JSON holds it: no NaN, no infinities, no numpy types, keys as text."""
    if isinstance(value, Mapping):
        return {str(k): clean(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return [clean(v) for v in sorted(value, key=str)]
    if isinstance(value, (list, tuple)):
        return [clean(v) for v in value]
    if hasattr(value, "tolist"):
        return clean(value.tolist())
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if numbers.is_finite(value) else None
    return str(value)


def as_json(report: Report) -> dict[str, Any]:
    """report.json: summary, claims with full precision, files of figures and tables, provenance."""
    claims = []
    for claim in report.claims:
        fields = {name: claim.get(name) for name in CLAIM_FIELDS} | {
            k: v for k, v in claim.items() if k not in CLAIM_FIELDS
        }
        fields["badge"] = words.badge(claim).text
        claims.append(clean(fields))
    return {
        "profile": report.profile,
        "summary": report.summary,
        "counts": words.tally(report.claims),
        "claims": claims,
        "suites": [
            {
                "name": s.name,
                "title": s.title,
                "question": s.question,
                "answer": s.answer,
                "scale": s.scale,
                "figures": [
                    {"kind": f.kind, "missing": f.missing}
                    if f.missing
                    else {
                        "kind": f.kind,
                        "alt": f.alt,
                        "data": f"figures/{f.stem}.csv",
                        "svg": f"figures/{f.stem}.svg",
                        "png": f"figures/{f.stem}.png",
                    }
                    for f in s.figures
                ],
                "tables": [f"tables/{t.name}.csv" for t in s.tables],
                "recompute": list(s.commands),
            }
            for s in report.sections
        ],
        "provenance": clean(report.provenance),
    }


class _Writer:
    """Writes figures and tables as they are made, and remembers what the page needs of them."""

    def __init__(
        self,
        folder: Path,
        trials: pd.DataFrame,
        curves: pd.DataFrame,
        probes: pd.DataFrame,
        claims: list[Mapping[str, Any]],
        extra: dict[str, pd.DataFrame],
    ) -> None:
        self.folder, self.trials, self.curves, self.probes = folder, trials, curves, probes
        self.claims, self.extra = claims, extra
        self.colours: set[str] = set()
        groups = trials.groupby("suite", sort=False)["arm"].unique() if {"suite", "arm"} <= set(trials) else ()
        self.palette = Palette.of(groups)

    def ledger(self) -> tables.Table:
        table = tables.ledger(self.claims)
        tables.write(table, tables.ledger_frame(self.claims), self.folder / "tables")
        return table

    def section(self, suite: Mapping[str, Any]) -> Section:
        name, profile = str(suite["name"]), str(suite.get("profile", ""))
        trials = _of_suite(self.trials, name)
        claims = tuple(c for c in self.claims if c.get("suite") == name)
        axes = tuple(a for a in suite.get("axes") or () if a in trials) or tuple(
            a for a in ("size", "width") if a in trials and trials[a].notna().any()
        )
        own = {k: v for k, v in self.extra.items() if k.startswith(name)}
        short = {k.removeprefix(name).lstrip("/._-") or name: v for k, v in own.items()}
        frames = Frames(
            trials=trials,
            curves=_of_trials(self.curves, name, trials),
            probes=_of_trials(self.probes, name, trials),
            palette=self.palette,
            claims=claims,
            tables=short,
            axes=axes,
        )
        figures = tuple(
            self._figure(name, i, dict(f), frames) for i, f in enumerate(suite.get("figures") or (), start=1)
        )
        found = self._suite_tables(name, trials, axes, suite.get("metrics") or ())
        found += [self._table(f"{name}_{k}", labels.name(k), v) for k, v in short.items()]
        for c in claims:
            if c.get("table"):
                title = f"Claim {c['id']}: the numbers behind it"
                found.append(self._table(f"{name}_claim_{c['id']}", title, pd.DataFrame(c["table"])))
        warnings = [str(w) for w in (suite.get("warnings") or ())]
        if suite.get("changed_claims"):
            warnings.append("Claims, margins or estimators of this suite were changed after seeing data.")
        if suite.get("missing"):
            warnings.append(f"{numbers.plural(int(suite['missing']), 'planned trial')} without a record.")
        if "at_edge" in trials and trials["at_edge"].eq(True).any():
            where = trials[trials["at_edge"].eq(True)].drop_duplicates(["arm", *axes])
            said = "; ".join(" ".join(str(row[c]) for c in ("arm", *axes)) for _, row in where.iterrows())
            warnings.append(
                f"The chosen hyperparameters lie on an edge of their range in: {said}. These cells take "
                "part in no verdict."
            )
        facts = [
            ("Scale", str(suite.get("scale") or "")),
            ("Sources", "; ".join(map(str, suite.get("sources") or ()))),
            (
                "Budget",
                f"{numbers.plain(suite['budget_minutes'])} min"
                if suite.get("budget_minutes")
                else str(suite.get("budget") or ""),
            ),
            ("Settings", str(suite.get("note") or "")),
        ]
        commands = suite.get("recompute") or (
            f"harness run {name} profile={profile}",
            f"harness report {name} profile={profile}",
        )
        return Section(
            name=name,
            title=str(suite.get("title") or labels.name(name)),
            question=str(suite.get("question") or ""),
            answer=words.answer(claims),
            scale=str(suite.get("scale") or ""),
            facts=tuple(f for f in facts if f[1]),
            warnings=tuple(warnings),
            notes=tuple(map(str, suite.get("notes") or ())),
            claims=claims,
            figures=figures,
            tables=tuple(found),
            settings=_settings(suite),
            commands=tuple(map(str, commands)),
        )

    def other_tables(self) -> tuple[tables.Table, ...]:
        names = {str(s) for s in self.trials.get("suite", pd.Series(dtype=str)).unique()}
        left = {k: v for k, v in self.extra.items() if not any(k.startswith(n) for n in names)}
        return tuple(self._table(k, labels.name(k), v) for k, v in left.items())

    def _figure(self, suite: str, number: int, spec: dict[str, Any], frames: Frames) -> ShownFigure:
        name = str(spec.pop("kind"))
        options = {**spec.pop("options", {}), **spec}
        stem = f"{_file_name(suite)}_{number:02d}_{_file_name(name)}"
        metric = options.get("metric", options.get("y")) if name.startswith("metric_") else None
        title = str(options.pop("title", "") or (labels.label(metric) if metric else labels.name(name)))
        title = title[:1].upper() + title[1:]
        try:
            drawing = draw(name, frames, options)
            document = svg.save(drawing.figure, self.folder / "figures" / stem)
            tables.write_csv(drawing.data, self.folder / "figures" / f"{stem}.csv")
            across = drawing.figure.get_figwidth()
            wide = self._inline(document, stem, drawing.alt, "wide" if across > PHONE else "")
            narrow = ""
            if across > PHONE:
                slim = svg.to_svg(relaid(drawing, 1).figure, f"{stem}_narrow")
                narrow = self._inline(slim, f"{stem}_narrow", drawing.alt, "narrow")
        except MissingDataError as error:
            return ShownFigure(name, stem, title, missing=str(error))
        return ShownFigure(name, stem, title, drawing.caption, drawing.alt, wide, narrow, across > HALF_PAGE)

    def _inline(self, document: str, stem: str, alt: str, css_class: str) -> str:
        text, colours = svg.inline(document, stem.replace("_", "-"), alt, css_class)
        self.colours |= colours
        return text

    def _suite_tables(
        self, name: str, trials: pd.DataFrame, axes: Sequence[str], metrics: Sequence[str]
    ) -> list[tables.Table]:
        if trials.empty:
            return []
        results = tables.results_frame(trials, axes, metrics)
        return [
            self._table(f"{name}_{short}", title, frame, note)
            for short, title, frame, note in (
                (
                    "results",
                    "Results by arm",
                    results,
                    "Means over fresh evaluation seeds on the test split ± half-width of the 95 % t interval. "
                    "A diverged trial counts with the trivial loss.",
                ),
                ("outcomes", "How the trials ended", tables.outcomes_frame(trials), ""),
                ("not_completed", "Trials that did not complete", tables.failures_frame(trials, axes), ""),
            )
            if not frame.empty
        ]

    def _table(self, name: str, title: str, frame: pd.DataFrame, note: str = "") -> tables.Table:
        table = tables.shown(_file_name(name), title[:1].upper() + title[1:], frame, note)
        tables.write(table, frame, self.folder / "tables")
        return table


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


def _settings(suite: Mapping[str, Any]) -> str:
    shown = {
        k: suite[k]
        for k in ("workload", "base", "axes", "use", "arms", "tuning", "sweep", "seeds", "timing", "probes")
        if suite.get(k)
    }
    return json.dumps(clean(shown), indent=2, ensure_ascii=False, allow_nan=False) if shown else ""
