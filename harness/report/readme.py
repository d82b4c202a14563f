"""The README's ledger, from the committed reference: ``make readme``; a test says when it is out of date."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from harness.report import gather, words
from harness.report.build import sharing
from harness.report.labels import listed
from harness.report.tables import markdown_escape

BEGIN = "<!-- ledger: begin (written by `make readme` from results/reference/cpu) -->"
END = "<!-- ledger: end -->"
PROFILE = "cpu"
FIGURE = "lr_transfer.svg"


def block(claims: Sequence[Mapping[str, Any]]) -> str:
    """Every claim: a table of those judged, then one of those that were measured only, or refused."""
    judged = [c for c in claims if c["verdict"]]
    rest = [c for c in claims if not c["verdict"]]
    lines = []
    if judged:
        lines += [
            "| claim | here | scale | verdict |",
            "|---|---|---|---|",
            *(f"| {_says(c)} | {_here(c)} | {_scale(c)} | {_cell(words.badge(c).text)} |" for c in judged),
            "",
            _cell(" ".join(t for t in (_tuning(claims), _family(claims), _held_out(claims)) if t)),
        ]
    if rest:
        lines += [
            "",
            "Measured and not judged, or refused:",
            "",
            "| claim | here | expected | said |",
            "|---|---|---|---|",
            *(f"| {_says(c)} | {_here(c)} | {_cell(c['expects'] or '–')} | {_said(c)} |" for c in rest),
        ]
    if any(c["suite"] == "mup_transfer" for c in claims):
        lines += ["", f"![Loss against learning rate, one line a width](results/reference/{PROFILE}/{FIGURE})"]
    return "\n".join(lines).strip("\n")


def _cell(text: str) -> str:
    return markdown_escape(str(text))


def _says(claim: Mapping[str, Any]) -> str:
    return _cell(f"{claim['says']} ({claim['source']})")


def _here(claim: Mapping[str, Any]) -> str:
    text = " ".join(t for t in (words.estimate_text(claim), words.part_text(claim)) if t)
    return _cell("; ".join([text, *words.beside(claim)]))


def _scale(claim: Mapping[str, Any]) -> str:
    said = (words.trials_text(claim), words.gap_text(claim), words.classes_text(claim))
    return _cell(", ".join(t for t in said if t))


def _tuning(claims: Sequence[Mapping[str, Any]]) -> str:
    """How hyperparameters were chosen, by suite."""
    said: dict[str, dict[str, None]] = {}
    for claim in claims:
        if claim.get("tuning"):
            said.setdefault(str(claim["tuning"]), {})[str(claim["suite"])] = None
    return " ".join(f"In {listed(suites)}: {text}." for text, suites in said.items())


def _family(claims: Sequence[Mapping[str, Any]]) -> str:
    """How often a ledger like this one is wrong."""
    return words.error_rate(claims, _sharing(claims))


def _held_out(claims: Sequence[Mapping[str, Any]]) -> str:
    """What of the held-out data stands in the train split too, each corpus once."""
    said = dict.fromkeys(str(c.get("held_out") or "") for c in claims)
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in said if text)


def _sharing(claims: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Groups of suites whose claims rest on trials in common."""
    rows = [{"suite": c["suite"], "identity": i} for c in claims for i in c.get("identities") or []]
    return sharing(pd.DataFrame(rows))


def _said(claim: Mapping[str, Any]) -> str:
    badge, reason = words.badge(claim).text, words.refusal(claim)
    return _cell(f"{badge} ({reason})" if reason and reason not in badge else badge)


def reference_claims(results: Path = Path("results")) -> list[dict[str, Any]]:
    """Claims of the committed reference."""
    store = gather.Store(results)
    return [c for g in gather.collect(store, PROFILE, reference=True) for c in g.claims]


def write(readme: Path = Path("README.md"), results: Path = Path("results")) -> None:
    """Replace the README's block, and the figure beside the reference."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{BEGIN}\n{block(reference_claims(results))}\n{END}{after}", encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        built = gather.report(results, PROFILE, reference=True, folder=Path(folder))
        for figure in (built.folder / "figures").glob("mup_transfer_*_lr_transfer.svg"):
            shutil.copy2(figure, results / "reference" / PROFILE / FIGURE)


if __name__ == "__main__":
    write()
