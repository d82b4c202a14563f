"""index.html: one self-contained file from a report, through an autoescaping template."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from harness import numbers
from harness.report import labels, markdown, words
from harness.report.colours import css_variables

if TYPE_CHECKING:
    from harness.report.build import Report


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
        sentence=words.sentence,
        published=words.published_text, made_at=words.made_at,
        estimate=words.estimate_text,
        unit=words.unit_text,
        scope=words.scope_words,
        effect=words.effect_text, badge_note=words.badge_note,
        evidence=words.trials_text,
        factor=numbers.factor,
        p_value=numbers.p_value,
        plain=numbers.plain, plural=numbers.plural,
        finite=numbers.is_finite,
        notes=markdown.page_notes,
        tones=words.TONES,
        missing=numbers.MISSING,
        error_rate=words.ERROR_RATE_NOTE,
        claim_command=claim_command, with_interval=numbers.with_interval,
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
    return (
        _environment()
        .get_template("page.html")
        .render(
            report=report,
            counts=words.tally(report.claims),
            light=Markup(light),
            dark=Markup(dark),
            style=Markup(_template("page.css")),
            script=Markup(_template("page.js")),
        )
    )
