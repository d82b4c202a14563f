"""Looking more than once: three fixed looks with spent alpha.

Stopping "when the interval settles", with a look after every seed, makes 17-19 % false positives at a nominal 5 %.
"""

from __future__ import annotations

from harness.errors import ClaimError

LOOKS: dict[int, float] = {3: 0.010, 5: 0.015, 10: 0.025}
"""Seeds per cell at a look -> two-sided alpha spent there; 5 % in all."""


def alpha_of(look: int) -> float:
    """The alpha of a look. Raises ClaimError for a number of seeds that is no look."""
    if look not in LOOKS:
        raise ClaimError(
            f"{look} seeds is no look; looks are at {', '.join(map(str, LOOKS))} seeds, and stopping is only there"
        )
    return LOOKS[look]


def spent_p(p: float, look: int) -> float:
    """p at a look, on the scale on which 5 % may be compared: before Holm."""
    return min(1.0, p * sum(LOOKS.values()) / alpha_of(look))
