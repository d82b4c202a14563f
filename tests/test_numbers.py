"""Digits: none beyond the first of the standard error."""

from __future__ import annotations

import math
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness import numbers


def test_digits_end_at_the_first_of_the_standard_error() -> None:
    # Half-width .0926 at df 5 is se .036.
    assert numbers.with_interval(0.55621, [0.4713, 0.6564], 5) == "0.56 [0.47, 0.66]"
    # The same interval from many seeds: se .047.
    assert numbers.with_interval(0.55621, [0.4713, 0.6564]) == "0.56 [0.47, 0.66]"
    assert numbers.with_interval(-0.0312, [-0.0705, 0.0081], 11.2, "nats") == "−0.03 [−0.07, 0.01] nats"
    assert numbers.with_interval(12345.0, [10000.0, 14690.0], 20) == "12,000 [10,000, 15,000]"


def test_no_minus_zero() -> None:
    assert numbers.with_interval(-0.0004, [-0.05, 0.05], 10) == "0.00 [−0.05, 0.05]"


def test_no_interval_no_invented_digits() -> None:
    assert numbers.with_interval(0.52) == "0.52"
    assert numbers.with_interval(0.123456) == "0.123"
    assert numbers.with_interval(0.0061, [0.0061, 0.0061]) == "0.0061 (exact)"
    assert numbers.with_interval(math.nan, [0, 1]) == numbers.MISSING
    assert numbers.with_interval(0.5, [math.nan, 1]) == "0.5"


def test_se_that_rounds_up_moves_the_digit() -> None:
    assert numbers.decimals_for(0.0098) == 2
    assert numbers.decimals_for(0.0094) == 3
    with pytest.raises(ValueError, match="positive"):
        numbers.decimals_for(0.0)


@given(
    st.floats(-1e4, 1e4),
    st.floats(1e-4, 1e3),
    st.integers(1, 200),
)
def test_printed_place_is_the_place_of_the_first_digit_of_se(estimate: float, half: float, df: int) -> None:
    text = numbers.with_interval(estimate, [estimate - half, estimate + half], df)
    if "exact" in text:
        return
    se = half / stats.t.ppf(0.975, df)
    printed = text.split(" ")[0].replace(",", "").replace(numbers.MINUS, "-")
    decimals = len(printed.partition(".")[2])
    # The last printed decimal is worth at most one se, and ten times it is more than half a se.
    assert 10.0**-decimals <= max(1.0, se * 1.06)
    if decimals:
        assert 10.0 ** -(decimals - 1) > se * 0.9
    # Half a unit of the last printed place.
    assert abs(float(printed) - estimate) <= 0.5 * max(10.0**-decimals, 10.0 ** math.ceil(math.log10(se))) * 1.001


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3, "3"),
        (1234, "1,234"),
        (0.5, "0.5"),
        (2.3456, "2.35"),
        (2.29e10, "2.29×10¹⁰"),
        (1e-7, "1×10⁻⁷"),
        (None, "–"),
        (math.inf, "–"),
        ("word", "word"),
        (True, "yes"),
        (-0.25, "−0.25"),
    ],
)
def test_plain(value: object, text: str) -> None:
    assert numbers.plain(value) == text


def test_powers_of_two() -> None:
    assert numbers.power_of_two(2**-7) == "2⁻⁷"
    assert numbers.power_of_two(2**-6.5) == "2⁻⁶·⁵"
    assert numbers.power_of_two(0.003) == "0.003"


def test_factors_counts_and_p() -> None:
    assert [numbers.factor(v) for v in (1.2, 2, 13.4, 310, 13400, math.nan)] == [
        "1.2×",
        "2×",
        "13×",
        "310×",
        "13,000×",
        "–",
    ]
    assert [numbers.count(v) for v in (12, 13800, 2.24e9)] == ["12", "13.8k", "2.24B"]
    assert [numbers.p_value(v) for v in (0.00001, 0.0042, 0.21)] == ["< 0.001", "0.004", "0.21"]


def test_mean_with_half_width() -> None:
    assert numbers.mean_with_interval(1.95432, 0.0621, 3) == "1.95 ± 0.06"
    assert numbers.mean_with_interval(1.95432, math.nan, 1) == "1.95 (n = 1)"
    assert numbers.mean_with_interval(math.nan, 0.1, 3) == numbers.MISSING


def test_ticks_carry_no_trailing_zeros() -> None:
    assert [numbers.tick(v) for v in (0.8, 2.0, 1e11, 2e10, 0.05)] == ["0.8", "2", "10¹¹", "2×10¹⁰", "0.05"]
    assert not any(re.search(r"\.\d*0$", numbers.tick(v / 10)) for v in range(1, 100))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.0123, "12 ms"), (5.23, "5.2 s"), (9.97, "10 s"), (42, "42 s"), (59.7, "1 min"),
        (95, "1 min 35 s"), (600, "10 min"), (929, "15 min"), (3599.7, "1 h"), (9000, "2.5 h"), (45_000, "12.5 h"),
        (None, "–"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert numbers.duration(seconds) == text


def test_printing_needs_no_scipy() -> None:
    code = (
        "import sys; from harness import numbers; numbers.duration(95); numbers.plain(0.5); "
        "assert not {'scipy', 'torch', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
