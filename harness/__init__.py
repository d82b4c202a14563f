"""method-harness: claims about training methods, and the verdict that the evidence allows.

``harness.load_trials(suite, profile)`` reads what was run as a DataFrame (see harness.records.frames.load_trials).
"""

from typing import Any

__all__ = ["load_trials"]


def __getattr__(name: str) -> Any:
    # By name, so that importing the package costs nothing and no trial's fingerprint reaches the store.
    if name == "load_trials":
        from importlib import import_module

        return import_module("harness.records.frames").load_trials
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
