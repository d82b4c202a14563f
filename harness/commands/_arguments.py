"""What the arguments of estimators, figures and executors mean: one name means one thing wherever it is taken."""

from __future__ import annotations

MEANINGS = {
    # Which trials.
    "arm": "The arm that is asked about.",
    "baseline": "The arm that it is compared with.",
    "arms": "Arms that take part; default: all, in the report's order.",
    "pool": "Arms whose scatter is pooled.",
    "axis": "The suite's axis that it runs over; default: the suite's size axis.",
    "size": "Column that tells the sizes apart; default: the suite's axes.",
    "width": "Column of widths.",
    "by": "Columns whose combinations are cells; default: the suite's axes.",
    "where": "Column -> the value, or the values, that a row must have.",
    "role": "Role of the trials: evaluation, tuning or timing.",
    "cell": "Value of the axis that is shown.",
    "values": "Values of the axis that are shown.",
    # What is measured.
    "metric": "The metric, as records call it; `harness show workload.NAME` lists them.",
    "compute": "Column of the compute that was spent.",
    "lr": "Column of the learning rate.",
    "at": "Learning rate at which all are compared.",
    "curve": "The curve, as records call it.",
    "probe": "The probe whose table is read.",
    "value": "Column, number, or [numerator, denominator] that is read.",
    "bound": "What the value is held to: a column, a number, or [numerator, denominator].",
    "factor": "Multiplies the bound.",
    "functional": "The rank functional, as the probe calls it.",
    "quantity": "What a probe's rows are about: weight, update or activation.",
    "statistic": "The statistic, as the probe calls it.",
    "options": "Its options, as a suite's figure gives them.",
    "source": "Value of the axis whose optimum is used; default: the smallest.",
    "target": "Value of the axis at which it is used; default: the largest.",
    "unit": "Unit of the number, in words.",
    "label": "What the number, or the axis, is called.",
    # Parts and checkpoints.
    "parts": "Columns whose combinations each become a part.",
    "steps": "Checkpoints: last, the last that every trial has; all, a part for each.",
    "step": "Checkpoint; default: the last that every trial has.",
    "skip_first": "Whether the first checkpoint is left out, where arms still share their init.",
    "from_step_share": "Share of the training before which checkpoints are left out.",
    # How it is judged.
    "form": "Form of the fit.",
    "test": "Test of the difference.",
    "weights": "Cell -> weight in the mean; default: equal.",
    "across_sizes": "Whether the interval speaks of sizes like these (t over cell means) or of these alone.",
    "validation_error": "Standard error of the held-out split, added in quadrature.",
    "relative_to": "Target: the relative deviation from it is estimated.",
    # How it is drawn.
    "claim": "Id of the claim whose filter, or whose sentence, it takes.",
    "panel": "Column whose values each get a panel.",
    "row": "Column whose values each get a row.",
    "reference": "Number at which a line is drawn.",
    "table": "The suite's table that is read.",
    "x": "Metric along the horizontal axis.",
    "y": "Metric along the vertical axis.",
    "x_scale": "Scale of the horizontal axis.",
    "y_scale": "Scale of the vertical axis.",
    "title": "What stands above; default: made from the kind or the metric.",
    "caption": "Text below; default: generated from the data.",
    # Where trials run.
    "workers": "How many trials run at once; default: one a core or GPU.",
    "fork": "Whether each trial is forked from a process that has imported what it needs, where that can be.",
    "trials_per_gpu": "Trials that share a GPU; timing trials still run alone.",
}
"""Argument -> meaning, where the docstring of what takes it does not say more (``name``: ...)."""
