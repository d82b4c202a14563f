"""The report as files: complete, the same bits for the same input, escaped, and free of NaN."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from harness.errors import UnknownNameError
from harness.report.build import build_report
from harness.report.export import CLAIM_FIELDS, clean
from harness.wording import banned_in
from tests.report.synthetic import claim, claims, suites


def page(built: Path) -> str:
    return (built / "index.html").read_text(encoding="utf-8")


def small(inputs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Inputs with one cheap figure."""
    one = {**suites()[2]}
    return {**inputs, "suites": [one], "curves": pd.DataFrame(), "probes": pd.DataFrame(), "tables": {}, **changes}


def test_everything_is_there(built: Path) -> None:
    names = {str(p.relative_to(built)) for p in built.rglob("*") if p.is_file()}
    assert {"index.html", "report.md", "report.json"} <= names
    for stem in (
        "ledger",
        "muon_scaling_results",
        "muon_scaling_noise",
        "coverage",
        "muon_scaling_not_completed",
        "mup_transfer_claim_slope",
    ):
        assert {f"tables/{stem}.{e}" for e in ("csv", "md", "tex")} <= names
    drawn = {n.rsplit(".", 1)[0] for n in names if n.startswith("figures/")}
    assert len(drawn) == 13
    assert all({f"{stem}.{e}" for e in ("svg", "png", "csv")} <= names for stem in drawn)


def test_the_same_input_gives_the_same_bytes(inputs: dict[str, Any], tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        return {
            str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*"))
            if p.is_file()
        }

    some = small(inputs, suites=[{**suites()[0], "figures": suites()[0]["figures"][:2]}], probes=inputs["probes"])
    one, two = (digests(build_report(tmp_path / name, **copy.deepcopy(some))) for name in ("one", "two"))
    assert one == two and len(one) > 10
    # A second build into the same folder replaces the first, leaving nothing behind.
    (tmp_path / "one" / "figures" / "stale.svg").write_text("x")
    assert digests(build_report(tmp_path / "one", **some)) == one


def test_json_holds_every_claim_and_no_nan(built: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads((built / "report.json").read_text(encoding="utf-8"), parse_constant=refuse)
    assert found["counts"] == {"held": 3, "failed": 2, "open": 1, "exploratory": 0, "none": 2}
    by_id = {c["id"]: c for c in found["claims"]}
    assert set(by_id) == {c["id"] for c in claims()}
    assert all(list(c)[: len(CLAIM_FIELDS)] == list(CLAIM_FIELDS) for c in by_id.values())
    assert by_id["muon_compute_ratio"]["estimate"] == 0.5562
    assert by_id["hostile"]["estimate"] is None and by_id["hostile"]["ci95"] == [None, None]
    assert found["provenance"]["not a number"] is None
    missing = [f for s in found["suites"] for f in s["figures"] if "missing" in f]
    assert missing == [{"kind": "probe_over_training", "missing": "no rows of the probe expert_load"}]
    for suite in found["suites"]:
        for file in [f["data"] for f in suite["figures"] if "data" in f] + suite["tables"]:
            assert (built / file).is_file()


def test_clean() -> None:
    assert clean({1: math.inf, "a": (math.nan, 2), "b": pd.Series([1.5])}) == {
        "1": None,
        "a": [None, 2],
        "b": [1.5],
    }


class Elements(HTMLParser):
    """Tags with attributes, and the text outside of script and style."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.said += data


def test_names_are_escaped_everywhere(built: Path) -> None:
    parsed = Elements()
    parsed.feed(page(built))
    scripts = [a for tag, a in parsed.found if tag == "script"]
    assert len(scripts) == 2 and "<script>alert" not in page(built)
    assert "<script>alert(1)</script> transfers as muP does" in parsed.said
    assert "<b>knows</b>" in parsed.said
    for file in [built / "report.md", *built.rglob("*.svg"), *built.glob("tables/*.md")]:
        assert "<script>" not in file.read_text(encoding="utf-8"), file


def test_the_page_is_self_contained(built: Path) -> None:
    parsed = Elements()
    parsed.feed(page(built))
    for tag, attributes in parsed.found:
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            target = attributes.get(name) or ""
            if not target or target.startswith(("#", "data:")):
                continue
            # What points outside is a link to follow, never something to load, and the file is there.
            assert tag == "a", (tag, target)
            assert (built / target).is_file(), target
    assert not re.search(
        r"url\((?!#)|@import|//[\w.-]+\.(com|org|net|io)", page(built).replace("http://www.w3.org", "")
    )


def test_ids_are_unique_and_anchors_lead_somewhere(built: Path) -> None:
    parsed = Elements()
    parsed.feed(page(built))
    ids = [a["id"] for _, a in parsed.found if a.get("id")]
    assert len(ids) == len(set(ids))
    targets = {
        (a.get("href") or a.get("xlink:href") or "")[1:]
        for _, a in parsed.found
        if (a.get("href") or a.get("xlink:href") or "").startswith("#")
    }
    assert targets <= set(ids)


def test_every_figure_has_a_text_alternative_and_its_data(built: Path) -> None:
    parsed = Elements()
    parsed.feed(page(built))
    drawings = [a for tag, a in parsed.found if tag == "svg"]
    assert len(drawings) >= 13
    assert all(a.get("role") == "img" and len(a.get("aria-label") or "") > 60 for a in drawings)
    links = {a.get("href") for tag, a in parsed.found if tag == "a"}
    assert {f"figures/{p.name}" for p in (built / "figures").glob("*.csv")} <= links


def test_colours_follow_the_theme(built: Path) -> None:
    text = page(built)
    used = set(re.findall(r"var\(--c([0-9a-f]{6})\)", text))
    assert used and used == set(re.findall(r"--c([0-9a-f]{6}):", text))
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL)
    assert not any(re.search(r"(fill|stroke): ?#", d) for d in drawings)


def test_the_ledger_comes_first_and_each_badge_has_its_scope(built: Path) -> None:
    text = page(built)
    assert text.index('id="ledger"') < text.index('id="suite-muon_scaling"')
    badges = re.findall(r'class="badge \w+"><span aria-hidden="true">.</span> ([^<]+)<', text)
    assert len(badges) == 2 * len(claims())
    assert all("scale" in b for b in badges)
    markdown = (built / "report.md").read_text(encoding="utf-8")
    assert markdown.index("## Ledger") < markdown.index("## Muon against AdamW")


def test_no_banned_words_in_our_own_text(built: Path) -> None:
    for file in (built / "report.md", built / "index.html", built / "tables" / "ledger.tex"):
        assert not banned_in(file.read_text(encoding="utf-8")), file


def test_warnings_and_negative_results_are_shown(built: Path) -> None:
    for text in (page(built), (built / "report.md").read_text(encoding="utf-8")):
        assert "changed after seeing data" in text
        assert "edge of their range in: muon_transferred d64" in text
        assert "Trials that did not complete" in text
        assert "weights are not on this machine" not in text and "last line" in text
        assert "harness report muon_scaling profile=cpu" in text


def test_smoke_gives_no_verdict(inputs: dict[str, Any], tmp_path: Path) -> None:
    one = claim(profile="smoke", verdict=None, suite="ddcm_rate_distortion")
    text = page(build_report(tmp_path, **small(inputs, claims=[one])))
    assert "plumbing: no verdict" in text and "holds at" not in text


def test_suites_may_be_objects_and_everything_may_be_absent(inputs: dict[str, Any], tmp_path: Path) -> None:
    suite = SimpleNamespace(
        name="empty", title="Nothing yet", question="?", profile="cpu", figures=[{"kind": "spectra"}]
    )
    folder = build_report(
        tmp_path,
        suites=[suite],
        trials=pd.DataFrame(columns=inputs["trials"].columns),
        curves=pd.DataFrame(),
        probes=pd.DataFrame(),
        claims=[],
        provenance={},
    )
    assert "No claims were examined." in page(folder) and "not drawn, no spectra" in page(folder)


def test_bad_input_is_named(inputs: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="figures: unknown figure kind 'lost'"):
        build_report(tmp_path, **small(inputs, suites=[{**suites()[2], "figures": [{"kind": "lost"}]}]))
    with pytest.raises(ValueError, match="'odd'"):
        build_report(tmp_path, **small(inputs, claims=[claim(id="odd", verdict="maybe")]))


def test_no_torch() -> None:
    code = "import sys, harness.report.build; assert not {'torch', 'mlflow', 'optuna', 'hydra'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_notes_of_the_plan_and_yaml_style_options(inputs: dict[str, Any], tmp_path: Path) -> None:
    one = {
        **suites()[0],
        "notes": ["arm 'a' was dropped", "an <edge>"],
        "missing": 3,
        "figures": [{"kind": "rank_heatmap", "functional": "svd_entropy", "quantity": "weight"}],
    }
    folder = build_report(tmp_path, **small(inputs, suites=[one], probes=inputs["probes"]))
    text = page(folder)
    assert "2 notes on the plan" in text and "an &lt;edge&gt;" in text
    assert "3 planned trials without a record" in text
    assert (folder / "figures" / "muon_scaling_01_rank_heatmap.svg").is_file()


def test_superseded_designs_are_folded_below_the_ledger_with_all_they_gave(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    earlier = [{"id": f"c{i}", "estimate": 0.1, "ci95": [0, 0.2], "verdict": "unresolved"} for i in range(4)]
    earlier.append({"id": "exact", "estimate": 0.6, "ci95": None, "verdict": "reproduced"})
    now = [claim(id="exact", kind="identity", says="A bound of FLOPs", suite="mup_transfer")]
    history = [{"design": "widths 32 to 128", "reason": "a width and seeds <added>", "ledger": earlier}]
    one = {**suites()[2], "name": "mup_transfer", "history": history}
    folder = build_report(tmp_path, **small(inputs, suites=[one], claims=now))
    text = page(folder)
    folded = text[text.index('<details class="designs"') : text.index("</section>")]
    assert "<summary>mup_transfer: second design; the first left 4 of 5 unresolved</summary>" in folded
    assert "a width and seeds &lt;added&gt;" in folded and folded.count("unresolved at reduced scale") == 4
    # What its claims said, they say today.
    assert "A bound of FLOPs" in folded and "identity holds at any scale" in folded
    said = json.loads((folder / "report.json").read_text(encoding="utf-8"))["suites"][0]["superseded"]
    assert [d["design"] for d in said] == ["widths 32 to 128"]
    assert [c["verdict"] for c in said[0]["ledger"]] == ["unresolved"] * 4 + ["reproduced"]
    assert "second design; the first left 4 of 5 unresolved" in (folder / "report.md").read_text(encoding="utf-8")
    assert (folder / "tables" / "mup_transfer_design_1.csv").is_file()


def test_an_exploratory_verdict_has_a_tone_of_its_own(inputs: dict[str, Any], tmp_path: Path) -> None:
    text = page(build_report(tmp_path, **small(inputs, claims=[claim(verdict="exploratory")])))
    assert 'class="badge exploratory"' in text and "no registration before these records" in text
    assert 'data-tone="exploratory"><b>1</b>' in text


def test_a_ledger_without_exploratory_claims_has_no_tile_for_them(built: Path) -> None:
    assert '<li class="tile exploratory"' not in page(built) and '<li class="tile held"' in page(built)


def test_the_note_on_errors_counts_this_reports_suites_and_names_those_that_share_trials(
    inputs: dict[str, Any], tmp_path: Path
) -> None:
    shared = inputs["trials"].assign(suite="again").head(3)
    trials = pd.concat([inputs["trials"], shared], ignore_index=True)
    text = page(build_report(tmp_path, **small(inputs, trials=trials)))
    assert "a ledger of three suites holds a false verdict in up to 14 % of cases" in text
    assert "again and muon_scaling share trials" in text
    assert "seven suites" not in text


def test_a_suite_says_which_axis_is_its_size(inputs: dict[str, Any], tmp_path: Path) -> None:
    trials = inputs["trials"].assign(rate=inputs["trials"]["quality"] / 10)
    figure = {"kind": "metric_against_axis", "metric": "psnr"}
    one = {**suites()[2], "axes": {"quality": {}, "rate": {}}, "figures": [figure]}
    for number, (size, axis) in enumerate(((None, "quality"), ("rate", "rate"))):
        sized = small(inputs, trials=trials, suites=[{**one, "size": size}])
        folder = build_report(tmp_path / str(number), **sized)
        (drawn,) = json.loads((folder / "report.json").read_text(encoding="utf-8"))["suites"][0]["figures"]
        assert f"against {axis}." in drawn["alt"]
