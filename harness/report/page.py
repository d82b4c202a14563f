"""index.html: one self-contained file from a report, through an autoescaping template."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from harness import numbers
from harness.report import labels, markdown, words
from harness.report.colours import css_variables
from harness.report.content import Report


def _template(name: str) -> str:
    return resources.files("harness.report").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(label=labels.name, kind=_kind)
    environment.globals.update(
        badge=words.badge,
        badge_note=words.verdict_note,
        beside=words.beside,
        claim_command=claim_command,
        classes=words.classes_text,
        effect=words.effect_text,
        estimate=words.estimate_text,
        evidence=words.trials_text,
        finite=numbers.is_finite,
        gap=words.gap_text,
        made_at=words.made_at,
        missing=numbers.MISSING,
        notes=markdown.page_notes,
        p_value=numbers.p_value,
        part=words.part_text,
        plain=numbers.plain,
        plural=numbers.plural,
        published=words.published_text,
        scope=words.scope_words,
        sentence=words.sentence,
        unit=words.unit_text,
        with_interval=numbers.with_interval,
    )
    return environment


def claim_command(claim: Mapping[str, Any]) -> str:
    """The command that recomputes a claim's numbers from the records."""
    return str(claim.get("command") or f"harness report {claim.get('suite')} profile={claim.get('profile')} --json")


def _kind(value: Any) -> str:
    """Shape of a provenance value: mapping, rows (a list of mappings), or text."""
    if isinstance(value, Mapping):
        return "mapping"
    if isinstance(value, (list, tuple)):
        return "rows" if any(isinstance(v, Mapping) for v in value) else "list"
    return "text"


def render(report: Report) -> str:
    """The page. Styles, script and figures are inside; only links to data point outside."""
    light, dark = css_variables(sorted(report.colours))
    counts = words.tally(report.claims)
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            counts=counts,
            # A tile of nothing exploratory would raise a question that nobody has.
            tones=[t for t in words.TONES if t[0] != "exploratory" or counts[t[0]]],
            light=Markup(light),
            dark=Markup(dark),
            style=Markup(_template("page.css")),
            script=Markup(_template("page.js")),
        )
    )
