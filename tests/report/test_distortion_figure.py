"""Rate against distortion: weighted means, bounds over their rates, the ceiling, and the log axis."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from harness.report.colours import Palette
from harness.report.figures import Drawing, Frames, MissingDataError, draw
from harness.report.labels import Labels
from harness.workload import Metric

ROWS = [
    # arm, point, bits, psnr, photographs, shannon, ceiling
    ("ddcm", "low", 0.02, 15.0, 5.0, 20.0, 40.0),
    ("ddcm", "low", 0.02, 18.0, 6.0, 20.0, 42.0),
    ("ddcm", "high", 0.2, 20.0, 5.0, 30.0, 40.0),
    ("ddcm", "high", 0.4, 21.0, 6.0, 33.0, 42.0),
    ("webp", "only", 0.05, 19.0, 5.0, None, None),
    ("webp", "free", 0.0, 9.0, 5.0, None, None),
]
OPTIONS = {"rate": "bits", "quality": "psnr"}


def frames(rows: list[Any] = ROWS) -> Frames:
    columns = ["arm", "point", "bits", "psnr", "photographs", "shannon", "ceiling"]
    trials = pd.DataFrame(rows, columns=columns).assign(role="evaluation", status="completed", near=22.0)
    metrics = {
        "bits": Metric(label="rate", unit="bits per pixel"), "psnr": Metric(label="PSNR", unit="dB"),
        "shannon": Metric(label="Shannon's bound", unit="dB"),
        "ceiling": Metric(label="PSNR of the denoiser", unit="dB"),
    }  # fmt: skip
    empty = pd.DataFrame()
    return Frames(
        trials=trials, curves=empty, probes=empty, palette=Palette.of([["ddcm", "webp"]]), axes=("point",),
        labels=Labels(metrics=metrics),
    )  # fmt: skip


def drawn(**options: Any) -> Drawing:
    return draw("rate_distortion", frames(), {**OPTIONS, **options})


def test_points_are_means_weighted_by_what_was_encoded() -> None:
    data = drawn(weight="photographs").data.set_index(["series", "point"])
    assert data.loc[("ddcm", "low"), "psnr"] == pytest.approx((5 * 15 + 6 * 18) / 11)
    assert data.loc[("ddcm", "high"), "bits"] == pytest.approx((5 * 0.2 + 6 * 0.4) / 11)
    assert drawn().data.set_index(["series", "point"]).loc[("ddcm", "low"), "psnr"] == pytest.approx(16.5)
    # No log axis has a place for nothing.
    assert ("webp", "free") not in data.index and len(data) == 3


def test_rates_lie_on_a_log_axis_and_bounds_over_their_own_rates() -> None:
    drawing = drawn(bounds=["shannon"], ceiling="near")
    ax = drawing.figure.axes[0]
    assert ax.get_xscale() == "log" and ax.get_yscale() == "linear"
    lines = [(list(map(float, line.get_xdata())), list(map(float, line.get_ydata()))) for line in ax.get_lines()]
    assert ([0.02, 0.2, 0.4], [20.0, 30.0, 33.0]) in lines
    assert any(y == [22.0, 22.0] for _, y in lines)
    bound = drawing.data[drawing.data["series"] == "shannon"]
    assert bound["psnr"].tolist() == [20.0, 30.0, 33.0]
    legend = [h.get_label() for h in drawing.sheet.handles]
    assert legend == ["ddcm", "webp", "Shannon's bound", "near"]


def test_a_ceiling_far_above_all_points_is_told_and_not_drawn() -> None:
    drawing = drawn(ceiling="ceiling")
    assert [h.get_label() for h in drawing.sheet.handles] == ["ddcm", "webp"]
    assert drawing.figure.axes[0].get_ylim()[1] < 30
    assert drawing.caption.endswith("PSNR of the denoiser 41, above the figure.")
    assert "PSNR of the denoiser 41" in drawing.alt
    assert drawing.data.set_index("series").loc["ceiling", "psnr"] == 41.0


def test_panels_keep_fields_apart() -> None:
    both = frames()
    both.trials["field"] = ["white", "falling", "white", "falling", "white", "white"]
    drawing = draw("rate_distortion", both, {**OPTIONS, "panels": "field", "bounds": ["shannon"]})
    falling, white = drawing.figure.axes
    assert (falling.get_title(loc="left"), white.get_title(loc="left")) == ("falling", "white")
    assert [list(line.get_ydata()) for line in falling.get_lines()] == [[18.0, 21.0], [20.0, 33.0]]
    assert len(white.get_lines()) == 3 and len(drawing.sheet.handles) == 3
    assert drawing.data.groupby("field").size().to_dict() == {"falling": 4, "white": 5}
    assert "ddcm: 18 at 0.02 to 21 at 0.4 at falling" in drawing.alt


def test_a_bound_that_no_trial_has_is_refused() -> None:
    with pytest.raises(MissingDataError, match="trials without realism"):
        drawn(bounds=["realism"])
    with pytest.raises(MissingDataError, match="no evaluation trials with a rate above 0"):
        draw("rate_distortion", frames(ROWS[-1:]), OPTIONS)
