"""How a number is printed: the only place that decides digits.

A value with an uncertainty shows no digit beyond the first of its standard error; a bare value shows few
significant ones. Full precision is in report.json and in the CSV files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

MISSING = "–"
MINUS = "−"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def is_finite(value: Any) -> bool:
    """Whether the value is a finite number (None, NaN, infinities and text are not)."""
    if value is None or isinstance(value, (str, bytes)):
        return False
    try:
        return math.isfinite(value)
    except TypeError:
        return False


def decimals_for(se: float) -> int:
    """Decimals that end at the first digit of se; negative for tens, hundreds ..."""
    if not is_finite(se) or se <= 0:
        raise ValueError(f"standard error must be finite and positive, got {se}")
    exponent = math.floor(math.log10(se))
    # .0098 rounds to .01: its first digit stands one place higher.
    if round(se / 10**exponent) == 10:
        exponent += 1
    return -exponent


def fixed(value: float, decimals: int) -> str:
    """The value rounded to so many decimals, thousands apart, with a real minus sign and no minus zero."""
    rounded = round(float(value), decimals)
    text = f"{rounded:,.{max(decimals, 0)}f}"
    if rounded == 0:
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def plain(value: Any, digits: int = 3) -> str:
    """A value without uncertainty, to at most so many significant digits; integers whole; en dash if missing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not is_finite(value):
        return MISSING if value is None or not isinstance(value, str) else value
    number = float(value)
    if number == 0:
        return "0"
    if number.is_integer() and abs(number) < 1e5:
        return fixed(number, 0)
    size = math.floor(math.log10(abs(number)))
    if size >= 5 or size < -4:
        mantissa = f"{number / 10**size:.{digits - 1}f}".rstrip("0").rstrip(".")
        return f"{mantissa}×10{superscript(size)}".replace("-", MINUS)
    return _short(fixed(number, digits - 1 - size))


def _short(text: str) -> str:
    # A trailing zero would claim a digit that nobody measured or published.
    return text.rstrip("0").rstrip(".") if "." in text else text


def tick(value: float) -> str:
    """A number on an axis: no trailing zeros, powers of ten beyond five digits."""
    text = plain(value, 4)
    if "×" in text:
        head, tail = text.split("×")
        return tail if head == "1" else f"{head}×{tail}"
    return text


def superscript(exponent: int) -> str:
    """An exponent in raised digits, e.g. ⁻⁷."""
    return str(exponent).translate(_SUPERSCRIPT)


def power_of_two(value: float) -> str:
    """2⁻⁷ for a power of two (half octaves as 2⁻⁶·⁵), else three digits."""
    if not is_finite(value) or value <= 0:
        return plain(value)
    exponent = math.log2(value)
    if abs(exponent - round(exponent)) < 1e-6:
        return f"2{superscript(round(exponent))}"
    if abs(2 * exponent - round(2 * exponent)) < 1e-6:
        whole, half = str(round(exponent * 2) / 2).split(".")
        return f"2{whole.translate(_SUPERSCRIPT)}·{half.translate(_SUPERSCRIPT)}"
    return plain(value)


def standard_error(low: float, high: float, df: float | None = None) -> float:
    """The standard error behind a 95 % interval: its half-width over t(.975, df), or over 1.96."""
    # Here and not above: what prints a duration on a bare machine needs no scipy.
    from scipy import stats

    quantile = stats.t.ppf(0.975, df) if is_finite(df) and float(df or 0) > 0 else 1.96
    return abs(high - low) / 2 / float(quantile)


def with_interval(
    estimate: Any,
    ci95: Sequence[Any] | None = None,
    df: float | None = None,
    unit: str = "",
    *,
    se: float | None = None,
    level: float = 0.95,
) -> str:
    """``0.53 [0.37, 0.69] nats``: digits end at the first of the standard error; no interval: three digits.

    ``se``: on the estimate's scale; by default what a 95 % interval with ``df`` implies. Other levels are named.
    """
    if not is_finite(estimate):
        return MISSING
    tail = f" {unit}" if unit and unit not in ("1", "ratio") else ""
    if ci95 is None or len(ci95) != 2 or not all(is_finite(x) for x in ci95):
        return plain(estimate) + tail
    low, high = (float(x) for x in ci95)
    if se is None:
        se = standard_error(low, high, df)
    if se <= abs(float(estimate)) * 1e-9 or se == 0:
        return f"{plain(estimate, 6)} (exact){tail}"
    places = decimals_for(se)
    at = "" if abs(level - 0.95) < 1e-9 else f" ({plain(100 * level)} %)"
    return f"{fixed(estimate, places)} [{fixed(low, places)}, {fixed(high, places)}]{at}{tail}"


def mean_with_interval(mean: Any, half_width: Any, n: int) -> str:
    """``2.31 ± 0.05`` from a mean and the half-width of its 95 % t interval over n seeds."""
    if not is_finite(mean):
        return MISSING
    if not is_finite(half_width) or n < 2:
        return f"{plain(mean)} (n = {n})"
    if half_width == 0:
        return f"{plain(mean, 6)} ± 0"
    places = decimals_for(standard_error(-half_width, half_width, n - 1))
    return f"{fixed(mean, places)} ± {fixed(half_width, places)}"


def p_value(p: Any) -> str:
    """A p-value to two decimals, or to one digit below .01, never below .001."""
    if not is_finite(p):
        return MISSING
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.01 else f"{p:.2f}"


def factor(value: Any) -> str:
    """A scale factor in one or two digits: 1.5x, 40x, 13,000x."""
    if not is_finite(value) or value <= 0:
        return MISSING
    size = math.floor(math.log10(value))
    return fixed(value, 1 - size if value < 10 and round(value, 1) != round(value) else min(1 - size, 0)) + "×"


def count(value: Any) -> str:
    """A count with a short suffix: 13.4k, 2.5M, 15B (parameters, tokens)."""
    if not is_finite(value):
        return MISSING
    number = float(value)
    for limit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return plain(number / limit) + letter
    return plain(number)


def duration(seconds: Any) -> str:
    """Time as a reader says it: 12 ms, 5.2 s, 42 s, 1 min 35 s, 16 min, 2.5 h."""
    if not is_finite(seconds):
        return MISSING
    if seconds < 1:
        return f"{plain(1e3 * seconds, 2)} ms" if seconds > 0 else "0 s"
    if seconds < 9.95:
        return f"{plain(seconds, 2)} s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        if minutes == 0:
            return f"{rest} s"
        return f"{round(seconds / 60)} min" if minutes >= 10 or rest == 0 else f"{minutes} min {rest} s"
    return f"{plain(seconds / 3600, 2 if seconds < 36_000 else 3)} h"


def plural(number: int, noun: str, several: str = "") -> str:
    """``1 trial``, ``2 trials``; ``several`` where the plural is not noun + s."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"
