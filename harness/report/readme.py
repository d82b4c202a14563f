"""The README's ledger, from the committed reference: ``make readme``; a test says when it is out of date."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from harness.numbers import factor, with_interval
from harness.report import gather

BEGIN = "<!-- ledger: begin (written by `make readme` from results/reference/cpu) -->"
END = "<!-- ledger: end -->"
PROFILE = "cpu"
FIGURE = "lr_transfer.svg"


def block(claims: list[dict[str, Any]]) -> str:
    """Table of the confirmatory claims, then how many were descriptive or refused."""
    judged = [c for c in claims if c["verdict"]]
    lines = [
        "| claim | here | scale | verdict |",
        "|---|---|---|---|",
        *(
            f"| {c['says']} ({c['source']}) | {_number(c)} | {_scale(c)} | {c['verdict'].replace('_', ' ')} |"
            for c in judged
        ),
    ]
    rest = len(claims) - len(judged)
    lines += ["", f"{rest} further claims are descriptive, or need a larger profile; the report lists them all."]
    if any(c["suite"] == "mup_transfer" for c in claims):
        lines += ["", f"![Loss against learning rate, one line a width](results/reference/{PROFILE}/{FIGURE})"]
    return "\n".join(lines)


def _number(claim: dict[str, Any]) -> str:
    return with_interval(claim["estimate"], claim["ci95"], claim["df"], claim.get("unit") or "")


def _scale(claim: dict[str, Any]) -> str:
    seeds = f"{claim['num_seeds']} seed" + "s" * (claim["num_seeds"] != 1)
    run = f"{claim['num_sizes']} sizes x {seeds}"
    return f"{run}, {factor(claim['scale_factor'])} below the source" if claim["scale_factor"] else run


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
