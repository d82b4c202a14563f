"""What a report holds, before it is a page, a Markdown file or JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ShownCell:
    """One value as it is printed, and as it sorts."""

    text: str
    sort: str = ""
    """Number with all its digits, or empty: sorts by text."""


@dataclass(frozen=True)
class ShownTable:
    """A table as a reader sees it."""

    name: str
    """File stem."""
    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[ShownCell, ...], ...]
    note: str = ""


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
class Design:
    """A superseded design of a suite, with the ledger that it gave."""

    name: str
    """What the design was, in words."""
    reason: str
    """Why it was changed."""
    claims: tuple[Mapping[str, Any], ...]
    table: ShownTable


@dataclass(frozen=True)
class Section:
    """A suite's part of the report."""

    name: str
    title: str
    question: str
    answer: str
    scale: str
    facts: tuple[tuple[str, str], ...]
    """Label and text: budget, sources, tuning, notes."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    """What planning said: edges, dropped arms."""
    claims: tuple[Mapping[str, Any], ...]
    figures: tuple[ShownFigure, ...]
    tables: tuple[ShownTable, ...]
    settings: str
    """The suite's configuration as JSON text."""
    commands: tuple[str, ...]
    designs: tuple[Design, ...] = ()
    """Superseded designs, oldest first."""
    designs_line: str = ""
    """Which design this is, and what the earlier ones left."""


@dataclass(frozen=True)
class Report:
    """Everything that the page and the Markdown show."""

    profile: str
    claims: tuple[Mapping[str, Any], ...]
    ledger: ShownTable
    sections: tuple[Section, ...]
    tables: tuple[ShownTable, ...]
    """Tables that belong to no suite."""
    provenance: Mapping[str, Any]
    summary: str
    error_rate: str
    """What a reader of many verdicts must know."""
    colours: frozenset[str] = field(default_factory=frozenset)
