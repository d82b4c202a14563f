"""method-harness: claims about training methods, and the verdict that the evidence allows.

``harness.load_trials(suite, profile)`` reads what was run as a DataFrame.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.store import load_trials

__all__ = ["load_trials"]


def __getattr__(name: str) -> Any:
    # Lazily, so that importing the package costs nothing.
    if name == "load_trials":
        from harness.store import load_trials

        return load_trials
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
