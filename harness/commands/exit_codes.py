"""What the command's exit codes mean."""

OK = 0
USAGE = 2
"""Wrong usage, or a mistake in a suite."""
TRIAL_FAILED = 3
"""Some trial failed."""
REGRESSION = 4
"""Something became worse than the reference."""
INTERRUPTED = 130
"""Ctrl-C; what was finished is kept."""
