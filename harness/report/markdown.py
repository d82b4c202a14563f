"""report.md: the same report for a terminal, a code host, or an inbox."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness import numbers
from harness.report import tables, words
from harness.report.content import Report, Section
from harness.report.tables import markdown_escape as escape


def render(report: Report) -> str:
    """The report as Markdown; figures by relative path."""
    parts = [f"# Report, profile {escape(report.profile)}", escape(report.summary), "## Ledger"]
    if report.claims:
        parts += [tables.markdown(report.ledger), escape(report.error_rate)]
    parts += _superseded(report)
    for section in report.sections:
        parts += _section(section)
    for table in report.tables:
        parts += [f"## {escape(table.title)}", tables.markdown(table)]
    parts += ["## Provenance", "\n".join(_nested(report.provenance, 0)) or "Not recorded."]
    return "\n\n".join(p.rstrip("\n") for p in parts) + "\n"


def _section(section: Section) -> list[str]:
    parts = [f"## {escape(section.title)}", f"**{escape(section.question)}**", escape(section.answer)]
    parts += [f"Attention: {escape(w)}" for w in section.warnings]
    parts += [f"- {escape(label)}: {escape(text)}" for label, text in section.facts]
    parts += [f"- Note: {escape(n)}" for n in section.notes]
    if section.claims:
        parts.append("### Claims")
        for claim in section.claims:
            text = f"- `{escape(str(claim.get('id')))}` [{escape(words.badge(claim).text)}] "
            text += escape(words.sentence(claim))
            for note in [*words.beside(claim), *page_notes(claim)]:
                text += f"\n  - {escape(note)}"
            parts.append(text)
    for figure in section.figures:
        parts.append(f"### {escape(figure.title)}")
        if figure.missing:
            parts.append(f"Not drawn: {escape(figure.missing)}.")
            continue
        parts += [
            f"![{escape(figure.alt).replace('[', '(').replace(']', ')')}](figures/{figure.stem}.png)",
            f"{escape(figure.caption)} Data: [CSV](figures/{figure.stem}.csv).",
        ]
    for table in section.tables:
        parts += [f"### {escape(table.title)}", tables.markdown(table), escape(table.note)]
    parts += ["### How to recompute", "```sh\n" + "\n".join(section.commands) + "\n```"]
    return [p for p in parts if p]


def _superseded(report: Report) -> list[str]:
    """The ledgers of earlier designs, of the suites that had any."""
    parts = []
    for section in report.sections:
        if section.designs:
            parts.append(f"### {escape(section.designs_line)}")
        for design in section.designs:
            parts += [f"{escape(design.name)}: {escape(design.reason)}", tables.markdown(design.table)]
    return parts


def page_notes(claim: Mapping[str, Any]) -> list[str]:
    """A claim's notes as a list of sentences."""
    notes = claim.get("notes") or []
    return [notes] if isinstance(notes, str) else [str(n) for n in notes]


def _nested(value: Any, depth: int) -> list[str]:
    lines = []
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value, start=1)
    for key, item in pairs:
        head = f"{'  ' * depth}- {escape(str(key))}"
        if isinstance(item, Mapping) or (
            isinstance(item, (list, tuple)) and any(isinstance(i, Mapping) for i in item)
        ):
            lines += [head, *_nested(item, depth + 1)]
        else:
            values = item if isinstance(item, (list, tuple)) else [item]
            text = ", ".join(numbers.plain(v) if isinstance(v, bool) else str(v) for v in values)
            lines.append(f"{head}: {escape(text)}")
    return lines
