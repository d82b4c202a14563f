"""The README's ledger: every claim, each with words that are true of it."""

from __future__ import annotations

from harness.report import readme
from tests.report.synthetic import claim, claims


def rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| claim")]


def test_every_claim_is_listed() -> None:
    text = readme.block(claims())
    assert len(rows(text)) == len(claims())
    assert all(any(line.startswith("| " + readme._says(c)) for line in rows(text)) for c in claims())


def test_what_is_not_judged_says_where_it_lies_or_why_not() -> None:
    text = readme.block([
        claim(tuning="learning rate tuned, one selection seed"),
        claim(id="b", says="Outside", verdict=None, inside_region=False, expects="within -0.25 to 0.25"),
        claim(id="c", says="Refused", verdict=None, refused="needs gpu: too dear here", estimate=None),
    ])  # fmt: skip
    judged, outside, refused = rows(text)
    assert judged.endswith("| 6 sizes × 3 fresh seeds, 13,000× below the source | holds at reduced scale |")
    assert outside.endswith("| within -0.25 to 0.25 | measured at reduced scale: outside the region |")
    assert refused.endswith("| refused at reduced scale: no verdict (needs gpu: too dear here) |")
    assert "In muon_scaling: learning rate tuned, one selection seed. Holm's" in text
    assert "up to 5 % of cases" in text


def test_suites_whose_claims_share_trials_are_named() -> None:
    text = readme.block([claim(identities=["a", "b"]), claim(id="z", suite="ranks", identities=["b"])])
    assert "muon_scaling and ranks share trials" in text
    assert "share trials" not in readme.block([claim(identities=["a"]), claim(id="z", suite="ranks")])


def test_cells_cannot_break_the_table() -> None:
    (line,) = rows(readme.block([claim(says="a | b <c>", source="x\ny")]))
    assert r"a \| b &lt;c&gt; (x y)" in line
