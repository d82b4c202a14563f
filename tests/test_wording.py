"""Words that no claim, verdict or page may use."""

from __future__ import annotations

import pytest

from harness.wording import banned_in


@pytest.mark.parametrize(
    "text", ["This proves it", "PROVEN", "it confirms that", "significant", "no difference", "matches the paper"]
)
def test_a_claim_beyond_an_interval_is_banned(text: str) -> None:
    assert banned_in(text)


def test_all_are_found_in_order_and_whole_words_only() -> None:
    assert banned_in("A significant gain, which PROVES it.") == ["significant", "proves"]
    assert banned_in("improves insignificantly; unconfirmed; confirmatory; proven-ness aside") == ["proven"]
    assert banned_in("within a margin, unresolved") == []
