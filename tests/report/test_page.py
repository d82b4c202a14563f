"""The page in headless Chromium: no console error, no request, legible at 390 and 1440 px, both themes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report import chromium

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(chromium.find() is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Browser]:
    binary = chromium.find()
    assert binary
    with chromium.Browser(binary, tmp_path_factory.mktemp("profile")) as found:
        yield found


LOOK = """(() => {
  const style = getComputedStyle, box = (e) => e.getBoundingClientRect();
  const all = (selector, of = document) => [...of.querySelectorAll(selector)];
  const seen = (e) => box(e).width > 0 && box(e).height > 0 && style(e).visibility === "visible"
    && box(e).left >= -1 && box(e).right <= innerWidth + 1;
  const figures = all("figure");
  const rgb = (c) => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const linear = (v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = (c) => rgb(c).map((v) => linear(v / 255)).reduce((a, v, i) => a + v * [.2126, .7152, .0722][i], 0);
  const contrast = (a, b) => {
    const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + .05) / (y + .05);
  };
  const paper = style(figures[0]).backgroundColor;
  const texts = all("figure svg text").filter((t) => box(t).width > 0);
  return {
    overflow: document.documentElement.scrollWidth - innerWidth,
    rows: all("#ledger-table tbody tr").filter(seen).length,
    badges: all("#ledger-table .badge").filter(seen).length,
    firstBadge: box(all("#ledger-table .badge")[0]).bottom,
    figures: figures.length,
    drawn: figures.filter((f) => all("svg", f).filter(seen).length === 1).length,
    letters: Math.min(...texts.map((t) => parseFloat(style(t).fontSize)
      * box(t.ownerSVGElement).width / t.ownerSVGElement.viewBox.baseVal.width)),
    contrast: Math.min(...texts.map((t) => contrast(style(t).fill, paper))),
    badge: Math.min(...all(".badge").map((b) => contrast(style(b).color, style(b).backgroundColor))),
    ground: light(style(document.body).backgroundColor),
  };
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_ledger_and_figures_are_visible(
    browser: chromium.Browser, built: Path, width: int, scheme: str, request: pytest.FixtureRequest
) -> None:
    browser.errors.clear()
    browser.requests.clear()
    url = (built / "index.html").as_uri()
    browser.open(url, width, scheme)
    look = browser.evaluate(LOOK)
    assert browser.errors == []
    assert set(browser.requests) == {url}
    assert look["overflow"] <= 0
    assert look["rows"] == look["badges"] == 8
    # The first screen answers: the first verdict is in it.
    assert look["firstBadge"] < 844
    assert look["figures"] == look["drawn"] == 13
    assert look["letters"] >= 9.5
    assert look["contrast"] >= 4.5 and look["badge"] >= 4.5
    assert (look["ground"] < 0.05) == (scheme == "dark")


ROWS = "[...document.querySelectorAll('#ledger-table tbody tr')]"


def test_tables_sort_from_the_keyboard(browser: chromium.Browser, built: Path) -> None:
    browser.open((built / "index.html").as_uri(), 1440, "light")
    browser.evaluate("document.querySelectorAll('#ledger-table th button')[2].focus()")
    cells = "[...document.querySelectorAll('#ledger-table td[data-label=Ours]')]"
    values = f"{cells}.map(c => c.dataset.sort ? +c.dataset.sort : null)"
    for state, down in (("ascending", False), ("descending", True)):
        browser.press("Enter", 13)
        found = browser.evaluate(values)
        present = [v for v in found if v is not None]
        assert len(present) == 6 and present == sorted(present, reverse=down)
        assert found[-2:] == [None, None]
        sorted_by = "document.querySelector('#ledger-table th[aria-sort]')"
        assert browser.evaluate(f"{sorted_by}.getAttribute('aria-sort')") == state
        assert browser.evaluate(f"{sorted_by}.textContent") == "Ours, 95 % interval"


def test_tables_filter_by_text_and_verdict(browser: chromium.Browser, built: Path) -> None:
    browser.open((built / "index.html").as_uri(), 1440, "light")
    shown = f"{ROWS}.filter(r => !r.hidden).map(r => r.id)"
    browser.evaluate("document.querySelector('#ledger input').focus()")
    browser.send("Input.insertText", text="alert(1) muP")
    assert set(browser.evaluate(shown)) == {"claim-hostile"}
    browser.evaluate("document.querySelector('#ledger input').select()")
    browser.send("Input.insertText", text="mup_transfer")
    assert set(browser.evaluate(shown)) == {"claim-slope", "claim-hostile"}
    buttons = "[...document.querySelectorAll('#ledger .controls button')]"
    browser.evaluate(f"{buttons}.find(b => b.textContent === 'held').click()")
    assert browser.evaluate(shown) == ["claim-slope"]
    assert browser.evaluate("document.querySelector('#ledger [role=status]').textContent") == "1 of 8 rows"
    assert browser.errors == []


def test_the_toggle_wins_over_the_system(browser: chromium.Browser, built: Path) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    browser.open((built / "index.html").as_uri(), 1440, "light")
    before = browser.evaluate(ground)
    browser.evaluate("document.getElementById('theme').click()")
    after = browser.evaluate(ground)
    assert before != after
    browser.open((built / "index.html").as_uri(), 1440, "light")
    assert browser.evaluate(ground) == after
    browser.evaluate("document.getElementById('theme').click()")
    assert browser.evaluate(ground) == before
    assert browser.errors == []
