"""Column names in a reader's words, with units."""

from __future__ import annotations

_LABELS = {
    "test_loss": "test loss (nats per token)",
    "validation_loss": "validation loss (nats per token)",
    "train_loss": "training loss (nats per token)",
    "trivial_loss": "trivial loss (nats per token)",
    "test_bits_per_byte": "test bits per byte",
    "validation_bits_per_byte": "validation bits per byte",
    "test_accuracy": "test accuracy",
    "validation_accuracy": "validation accuracy",
    "flops": "training FLOPs",
    "flops_model": "model FLOPs",
    "flops_optimizer": "optimizer FLOPs",
    "parameters": "parameters (no embedding)",
    "tokens": "training tokens",
    "steps": "steps",
    "seconds_training": "training time (s)",
    "seconds_per_step": "time per step (s)",
    "bits_per_pixel": "bits per pixel",
    "psnr": "PSNR (dB)",
    "optimizer.lr": "learning rate",
    "log2_lr": "log2 learning rate",
    "half_width_95": "half-width of 95 % interval",
    "num_missing": "diverged or missing",
    "num_diverged": "diverged",
    "svd_entropy": "normalised SVD entropy",
    "stable_rank": "stable rank",
    "entropy_rank": "entropy rank",
    "participation_ratio": "participation ratio",
    "mean_abs": "mean |x|",
    "change": "sd of the activations' change",
    "rms_change": "RMS of the activations' change",
    "max_violation": "largest load violation",
    "n": "seeds",
    "sd": "seed sd",
    "p_holm": "p (Holm)",
}
_ABBREVIATIONS = {"lr": "LR", "flops": "FLOPs", "psnr": "PSNR", "sd": "sd", "rms": "RMS", "svd": "SVD", "df": "df"}


def label(column: object) -> str:
    """What a column holds, with its unit: for axes and table heads."""
    return _LABELS.get(str(column)) or name(column)


def name(column: object) -> str:
    """A column's bare name in words."""
    words = str(column).replace(".", " ").replace("_", " ").split()
    return " ".join(_ABBREVIATIONS.get(w.lower(), w) for w in words)
