"""Figures as files and as inline SVG: the same bits for the same figure, and colours that follow the theme."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from harness.report.colours import PAPER

PNG_DPI = 110
_HEX = re.compile(r"#[0-9a-fA-F]{6}\b")
_ID = re.compile(r'\bid="([^"]+)"')


def save(figure: Figure, stem: Path) -> str:
    """Write ``stem.svg`` and ``stem.png``; returns the SVG. No dates, no random ids."""
    text = to_svg(figure, stem.name)
    stem.with_suffix(".svg").write_text(text, encoding="utf-8")
    figure.savefig(stem.with_suffix(".png"), dpi=PNG_DPI, facecolor=PAPER, metadata={"Software": None})
    return text


def to_svg(figure: Figure, salt: str) -> str:
    """The figure as an SVG document; text stays text."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", facecolor=PAPER, metadata={"Date": None, "Creator": None})
    # One line ending and no trailing blanks: friendly to version control.
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def inline(document: str, prefix: str, alt: str, css_class: str) -> tuple[str, set[str]]:
    """(SVG element for a page, hex colours in it): ids made unique, colours as CSS variables ``--c<hex>``."""
    body = document[document.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", body, flags=re.DOTALL)
    images: list[str] = []

    def set_apart(match: re.Match[str]) -> str:
        images.append(match.group(0))
        return f"\0{len(images) - 1}\0"

    body = re.sub(r'"data:image/[^"]*"', set_apart, body)
    used = set(re.findall(r'href="#([^"]+)"', body)) | set(re.findall(r"url\(#([^)]+)\)", body))
    body = _ID.sub(lambda m: f'id="{prefix}-{m[1]}"' if m[1] in used else "", body)
    body = re.sub(r'href="#', f'href="#{prefix}-', body)
    body = re.sub(r"url\(#", f"url(#{prefix}-", body)
    colours = {c.lower() for c in _HEX.findall(re.sub(r'href="#[^"]*"|url\(#[^)]*\)', "", body))}
    # Attributes cannot hold var(), only style can; matplotlib writes every colour into style.
    body = re.sub(
        r"(fill|stroke|stop-color): ?(#[0-9a-fA-F]{6})\b", lambda m: f"{m[1]}: var(--c{m[2][1:].lower()})", body
    )
    body = re.sub(r"font: (\d[\d.]*)px [^;\"]+", r"font-size: \1px", body)
    body = re.sub(r"font: (\w+) (\d[\d.]*)px [^;\"]+", r"font-weight: \1; font-size: \2px", body)
    body = re.sub(r"\0(\d+)\0", lambda m: images[int(m[1])], body)
    body = re.sub(r"\n\s*", "\n", body)
    found = re.search(r'viewBox="0 0 ([\d.]+) ', body)
    width = float(found[1]) * 4 / 3 if found else 480.0
    head = (
        f'<svg class="{css_class}" role="img" aria-label="{html.escape(alt, quote=True)}" '
        f'style="max-width:{width:.0f}px" '
    )
    opening, _, rest = body.partition(">")
    box = re.search(r'viewBox="[^"]+"', opening)
    return (
        f'{head}{box[0] if box else ""} xmlns="http://www.w3.org/2000/svg" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink">{rest}',
        colours,
    )
