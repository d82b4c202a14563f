"""Methods as a user would write them, for tests that load files."""

GOOD = '''
from dataclasses import dataclass
from harness.registry import register

@register("optimizer")
@dataclass(frozen=True, kw_only=True)
class Mine:
    """Mine."""
    lr: float
    """Learning rate."""
    beta: float = 0.9
'''
