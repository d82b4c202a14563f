"""Numbers of a finished trial with experts: how the load lay in training and on the test split, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from harness.metrics import load
from harness.outcome import Curve, Table, finite
from harness.training import CURVE_POINTS

LAST = 1 / 3
"""Share of the training that "in the last third" means."""
BALANCED = 0.5
"""max_violation that counts as balanced."""
WINDOW = 5
"""Steps whose mean has to be balanced."""
IN_BUDGET = 0.1
"""Relative deviation from the budget that counts as held."""

CLASSES = ("space", "newline", "letter", "digit", "other")
"""Of bytes."""
DECILES = 10
STRETCHES = 24
"""Columns of the load over training."""

Numbers = dict[str, float | None]


def of_training(counts_SLE: NDArray, tokens_per_step: int, active: float) -> Numbers:
    """From the counts of every step, layer and expert."""
    violation_SL = load.max_violation(counts_SLE)
    mean_SL = counts_SLE.sum(-1) / tokens_per_step
    last = slice(-max(1, round(LAST * len(counts_SLE))), None)
    E = counts_SLE.shape[-1]
    balanced = load.first_step_below(violation_SL.mean(1), BALANCED, WINDOW)
    held = load.first_step_below(np.abs(mean_SL.mean(1) / active - 1.0), IN_BUDGET, WINDOW)
    return {
        "max_violation_batch": _mean(violation_SL[last]),
        "max_violation_floor_batch": load.sampling_floor(E, active, tokens_per_step),
        "steps_to_balance": float(len(counts_SLE) if balanced is None else balanced + WINDOW),
        "balanced": float(balanced is not None),
        "mean_active_train": _mean(mean_SL[last]),
        "budget_error_train": _mean(mean_SL[last]) / active - 1.0,
        "budget_fluctuation": float(mean_SL[last].mean(1).std() / active),
        "steps_to_budget": float(len(counts_SLE) if held is None else held + WINDOW),
        "in_budget": float(held is not None),
        "expert_evaluations": float(mean_SL.mean(0).sum()),
    }


def of_test(
    counts_LE: NDArray, active_LN: NDArray, losses_N: NDArray[np.float64], classes_N: NDArray, active: float
) -> Numbers:
    """From the choices on the test split, with the router's state frozen, each token's loss and its class."""
    violation_L = load.max_violation(counts_LE)
    E, N = counts_LE.shape[-1], active_LN.shape[-1]
    mean_L = active_LN.mean(1)
    of_token_N = active_LN.mean(0)
    order = np.argsort(losses_N, kind="stable")
    tenth = max(1, N // 10)
    varies = bool((of_token_N != of_token_N[0]).any())
    return {
        "max_violation_test": _mean(violation_L),
        "max_violation_test_worst": float(violation_L.max()),
        "max_violation_floor_test": load.sampling_floor(E, active, N),
        "load_cv_test": _mean(load.load_cv(counts_LE)),
        "load_entropy_test": _mean(load.load_entropy(counts_LE)),
        "starved_experts": _mean(load.starved_share(counts_LE)),
        "mean_active_test": _mean(mean_L),
        "budget_error_test": _mean(mean_L) / active - 1.0,
        "tokens_without_expert": float((active_LN == 0).mean()),
        "active_sd": float(active_LN.std(1).mean()),
        "active_loss_spearman": finite(float(stats.spearmanr(of_token_N, losses_N).statistic)) if varies else 0.0,
        "active_easiest_tenth": float(of_token_N[order[:tenth]].mean() / of_token_N.mean()),
        "active_hardest_tenth": float(of_token_N[order[-tenth:]].mean() / of_token_N.mean()),
        "active_hardest_tenth_in_class": _in_class(of_token_N, losses_N, classes_N),
    }


def classes_of(tokens_N: NDArray, vocab_size: int) -> NDArray:
    """Class of each token, as an index of CLASSES; one class for all where tokens are no bytes."""
    if vocab_size != 256:
        return np.full(len(tokens_N), CLASSES.index("other"))
    of_byte = np.full(256, CLASSES.index("other"))
    for name, bytes_ in (("space", b" "), ("newline", b"\n"), ("digit", b"0123456789")):
        of_byte[list(bytes_)] = CLASSES.index(name)
    of_byte[[b for b in range(128) if chr(b).isalpha()]] = CLASSES.index("letter")
    return of_byte[tokens_N]


def by_class(active_LN: NDArray, losses_N: NDArray[np.float64], classes_N: NDArray) -> Table:
    """Experts a token (mean over layers) by class of the token that is read and decile of its loss within it."""
    of_token_N, rows = active_LN.mean(0), []
    for name, mine in _classes(classes_N):
        order = mine[np.argsort(losses_N[mine], kind="stable")]
        for decile, part in enumerate(np.array_split(order, DECILES), 1):
            rows.append([name, decile, len(part), float(of_token_N[part].mean()), float(losses_N[part].mean())])
    return Table(columns=["class", "decile", "tokens", "experts", "loss"], rows=rows)


def _in_class(of_token_N: NDArray, losses_N: NDArray[np.float64], classes_N: NDArray) -> float | None:
    """Experts of the hardest tenth of each class over the class's mean, mean over classes by their experts.

    Classes are those of :func:`by_class`; None where there is none.
    """
    hardest = expected = 0.0
    for _, mine in _classes(classes_N):
        order = mine[np.argsort(losses_N[mine], kind="stable")]
        hardest += len(mine) * float(of_token_N[order[-(len(mine) // DECILES) :]].mean())
        expected += len(mine) * float(of_token_N[mine].mean())
    return hardest / expected if expected else None


def _classes(classes_N: NDArray) -> Iterator[tuple[str, NDArray]]:
    """Name and places of every class that has a token a decile."""
    for number, name in enumerate(CLASSES):
        mine = np.flatnonzero(classes_N == number)
        if len(mine) >= DECILES:
            yield name, mine


def by_token(
    active_LN: NDArray, losses_N: NDArray[np.float64], tokens_N: NDArray, frequency_V: NDArray[np.float64]
) -> Table:
    """Experts (mean over layers) and loss of every kind of token that is read, with its share of the training."""
    of_token_N = active_LN.mean(0)
    V = len(frequency_V)
    count_V = np.bincount(tokens_N, minlength=V)
    sums = [np.bincount(tokens_N, weights=x, minlength=V) for x in (of_token_N, losses_N)]
    rows = [
        [int(v), float(frequency_V[v]), int(count_V[v]), *(float(s[v] / count_V[v]) for s in sums)]
        for v in np.flatnonzero((count_V > 0) & (frequency_V > 0))
    ]
    return Table(columns=["token", "frequency", "tokens", "experts", "loss"], rows=rows)


def frequencies(tokens: NDArray, vocab_size: int) -> NDArray[np.float64]:
    """Share of every kind of token, (vocabulary,)."""
    counts = np.zeros(vocab_size, dtype=np.int64)
    for start in range(0, len(tokens), 2**20):  # bincount copies to eight bytes a token
        counts += np.bincount(tokens[start : start + 2**20], minlength=vocab_size)
    return counts / len(tokens)


def sample(active_LN: NDArray, losses_N: NDArray[np.float64], texts: Sequence[str]) -> Table:
    """The first tokens of the test split one by one: text, experts (mean over layers), loss of the next token."""
    experts = active_LN[:, : len(texts)].mean(0)
    rows = [[i, t, float(experts[i]), float(losses_N[i])] for i, t in enumerate(texts)]
    return Table(columns=["place", "text", "experts", "loss"], rows=rows)


def by_block(active_LN: NDArray, active: float, blocks: int) -> Table:
    """Relative error of the budget, mean over layers, in runs of neighbouring tokens of the test split."""
    parts = np.array_split(active_LN.mean(0), min(blocks, active_LN.shape[1]))
    return Table(
        columns=["block", "value", "tokens"],
        rows=[[i, float(part.mean()) / active - 1.0, len(part)] for i, part in enumerate(parts)],
        about={"value": "mean over the block's tokens", "block": "neighbouring items of the test split"},
    )


def over_training(counts_SLE: NDArray) -> Table:
    """Each expert's load over the mean load, in stretches of training (the last step of each is named)."""
    done = len(counts_SLE)
    ends = sorted({round(done * i / STRETCHES) for i in range(1, STRETCHES + 1)} - {0})
    rows = []
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        load_LE = load.shares(counts_SLE[start:end].sum(0)) * counts_SLE.shape[-1]
        rows += [
            [end, layer, e, finite(float(x))] for layer, of in enumerate(load_LE) for e, x in enumerate(of)
        ]
    return Table(columns=["step", "layer", "expert", "load"], rows=rows)


def curves(
    counts_SLE: NDArray, auxiliary_S: NDArray, spread_SL: NDArray, tokens_per_step: int
) -> Mapping[str, Curve]:
    """max_violation, mean_active, auxiliary_loss and bias_spread over the steps done, means over layers."""
    values = {
        "max_violation": load.max_violation(counts_SLE).mean(1),
        "mean_active": counts_SLE.sum(-1).mean(1) / tokens_per_step,
        "auxiliary_loss": auxiliary_S,
        "bias_spread": spread_SL.mean(1),
    }
    done = len(counts_SLE)
    count = min(CURVE_POINTS, done)
    ends = [round(done * i / count) for i in range(1, count + 1)]
    pairs = list(zip([0, *ends[:-1]], ends, strict=True))
    return {
        name: Curve(steps=ends, values=[finite(float(v[a:b].mean())) for a, b in pairs])
        for name, v in values.items()
    }


def _mean(values: NDArray) -> float:
    return float(np.mean(values))
