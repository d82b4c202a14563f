"""Coverage, bias, width and false verdicts of every statistical rule: rows of the committed table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import special, stats

from harness.analysis import compute_ratio as law
from harness.analysis import sequential, transfer, verdicts
from harness.analysis.claims import evaluate_claims, load_claims
from harness.analysis.estimate import interval
from harness.analysis.estimators.shares import judged_share, share_cell
from harness.analysis.evidence import Evidence
from harness.analysis.means import combine, mean_of_sizes
from harness.analysis.selection import select
from harness.workload import Metric
from tests.calibration.simulate import CURVATURE, SCENARIOS, Law, chunked, suites, truth

Row = dict[str, Any]


def _row(
    rule: str, scenario: str, sizes: int, seeds: int, theta: Any, se: Any, df: Any, true: float, **more: Any
) -> Row:
    """Coverage of the t interval, bias over half-width, half-width, and that of who knows the noise."""
    half = stats.t.ppf(0.975, df) * se
    known = np.isfinite(theta) & np.isfinite(half)
    theta, half = np.asarray(theta)[known], np.broadcast_to(half, known.shape)[known]
    return {
        "rule": rule,
        "scenario": scenario,
        "sizes": sizes,
        "seeds": seeds,
        **more,
        "suites": len(theta),
        "coverage": float((np.abs(theta - true) <= half).mean()),
        "error": float((theta - true).mean()),
        "bias": float((theta - true).mean() / np.median(half)),
        "half_width": float(np.median(half)),
        "oracle_half_width": float(1.96 * theta.std()),
        "resolved_below": float((theta + half < 0).mean()),
        "no_answer": float(1 - known.mean()),
    }


def ratio_rows(
    count: int,
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (4, 5, 6, 8),
    seeds: tuple[int, ...] = (2, 3, 5, 10),
    ratios: tuple[float, ...] = (1.0, 0.53),
    scenarios: tuple[str, ...] = SCENARIOS,
    other_forms: int = 1000,
) -> Iterator[Row]:
    """The compute ratio: the default form on all suites, the others on the first ``other_forms``."""
    for scenario in scenarios:
        for j in sizes:
            for n in seeds:
                for ratio in ratios:
                    x, losses = suites(scenario, j, n, count, ratio, rng)
                    y, true = losses.mean(-1), truth(scenario, ratio, j)
                    found = {}
                    for name, form in law.FORMS.items():
                        keep = count if name == "shared_power_law" else min(count, other_forms)
                        found[name] = theta, se, df = chunked(
                            lambda a, b, f=form: law.jackknife(f, a, b), x[:keep], y[:keep]
                        )
                        yield _row(f"compute ratio, {name}", scenario, j, n, theta, se, df, true, ratio=ratio)
                    theta, se, df = as_judged(found["shared_power_law"], found["fit_free"])
                    yield _row("compute ratio, as judged", scenario, j, n, theta, se, df, true, ratio=ratio)


def as_judged(default: Any, free: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """The default form, or the wider of it and fit_free where they are apart; on the suites that both know."""
    keep = len(free[0])
    theta, se, df = default[0][:keep].copy(), default[1][:keep].copy(), default[2]
    with np.errstate(invalid="ignore"):
        other = law.apart(theta, se, free[0], df) & (free[1] > se)
    theta[other], se[other] = free[0][other], free[1][other]
    return theta, se, df


def gpu_rows(count: int, rng: np.random.Generator) -> Iterator[Row]:
    """The ratio where seed noise is as on a GPU (sd about .001): the law with a floor is the default there."""
    for scenario in ("floor", "arm_by_size"):
        x, losses = suites(scenario, 6, 3, count, 0.53, rng, sd=0.04)
        for name, form in law.FORMS.items():
            theta, se, df = chunked(lambda a, b, f=form: law.jackknife(f, a, b), x, losses.mean(-1))
            yield _row(
                f"compute ratio, {name}, gpu noise",
                scenario,
                6,
                3,
                theta,
                se,
                df,
                truth(scenario, 0.53, 6),
                ratio=0.53,
            )


def drift_rows(count: int, rng: np.random.Generator) -> Iterator[Row]:
    """Drift of the ln ratio per decade."""
    for scenario, true in (
        ("floor", 0.0),
        ("drift", 0.1),
        ("arm_by_size", 0.0),
        ("unequal_sds", 0.0),
        ("skew", 0.0),
    ):
        for j in (6, 8):
            for sd in (1.0, 0.04):
                x, losses = suites(scenario, j, 3, count, 0.53, rng, sd=sd)
                theta, se, df = chunked(lambda a, b: law.jackknife(law.drift_per_decade, a, b), x, losses.mean(-1))
                noise = "cpu noise" if sd == 1.0 else "gpu noise"
                yield _row(f"drift per decade, {noise}", scenario, j, 3, theta, se, df, true)


def mean_of_cells(d: np.ndarray) -> tuple[Any, Any, Any]:
    """Welch-Satterthwaite over a rectangular array of paired differences (..., J, n)."""
    n = d.shape[-1]
    return combine(d.mean(-1), d.var(-1, ddof=1) / n, np.full(d.shape[:-1], n - 1.0))


def general_rows(count: int, rng: np.random.Generator) -> Iterator[Row]:
    """A mean as a statement about sizes like these: what a size adds (sd .02) beside seed noise (sd .03)."""
    for j in (4, 6, 8):
        for n in (2, 3, 5):
            for misfit in (0.0, 0.02):
                d = misfit * rng.standard_normal((count, j, 1)) + 0.03 * rng.standard_normal((count, j, n))
                scenario = f"arm-by-size sd {misfit:g}"
                rules = {"t over cell means": mean_of_sizes(d.mean(-1)), "Welch over seeds": mean_of_cells(d)}
                for rule, (theta, se, df) in rules.items():
                    yield _row(f"mean as a statement about sizes, {rule}", scenario, j, n, theta, se, df, 0.0)


def share_rows(count: int, rng: np.random.Generator, matrices: int = 18) -> Iterator[Row]:
    """Shares of matrices, one a run: logit-normal over sizes and runs, binomial over matrices."""
    evidence = Evidence(trials=pd.DataFrame())
    for centre in (0.0, 2.0, 4.0, 7.0):
        for over_sizes in (0.0, 0.5):
            for j, n in ((1, 6), (3, 3), (4, 3), (6, 3)):
                if over_sizes and j < 4:
                    continue  # under four sizes an interval speaks of these sizes alone
                spread = np.hypot(0.5, over_sizes)
                nodes, weights = np.polynomial.hermite_e.hermegauss(60)
                true = float((special.expit(centre + spread * nodes) * weights).sum() / weights.sum())
                logits = centre + over_sizes * rng.standard_normal((count, j, 1))
                p = special.expit(logits + 0.5 * rng.standard_normal((count, j, n)))
                shares = rng.binomial(matrices, p) / matrices
                ends = np.array([_share_interval(evidence, s, matrices) for s in shares])
                yield {
                    "rule": "share over runs",
                    "scenario": f"true share {true:.3f}" + (", sizes differ" if over_sizes else ""),
                    "sizes": j,
                    "seeds": n,
                    "suites": count,
                    "coverage": float(((ends[:, 0] <= true) & (true <= ends[:, 1])).mean()),
                    "half_width": float(np.median(ends[:, 1] - ends[:, 0]) / 2),
                    "outside": float(((ends < 0) | (ends > 1)).any(axis=1).mean()),
                }


def _share_interval(evidence: Evidence, shares: np.ndarray, matrices: int) -> tuple[float, float]:
    cells = [share_cell(str(i), s, matrices) for i, s in enumerate(shares)]
    part, _, _ = judged_share(evidence, shares.ravel(), float(matrices * shares.size), cells)
    ends = interval(part, "logit")
    assert ends is not None
    return ends


def mean_rows(
    count: int,
    rng: np.random.Generator,
    sizes: tuple[int, ...] = (1, 3, 4, 6, 8),
    seeds: tuple[int, ...] = (2, 3, 5, 10),
) -> Iterator[Row]:
    """Welch-Satterthwaite over cells of paired differences."""
    for scenario in ("normal", "unequal_sds", "skew", "heavy_tails"):
        for j in sizes:
            for n in seeds:
                shape = (count, j, n)
                d = {
                    "normal": lambda s=shape: rng.standard_normal(s),
                    "unequal_sds": lambda s=shape: rng.standard_normal(s) * np.geomspace(2, 0.7, s[1])[:, None],
                    "skew": lambda s=shape: rng.exponential(1, s) - 1,
                    "heavy_tails": lambda s=shape: rng.standard_t(3, s),
                }[scenario]()
                theta, se, df = mean_of_cells(d)
                yield _row("mean of cells, Welch-Satterthwaite", scenario, j, n, theta, se, df, 0.0)


def slope_rows(count: int, rng: np.random.Generator) -> Iterator[Row]:
    """Slope of optima over widths, scatter pooled over arms, sd .025 with r .7 between learning rates.

    Correlated arms share their seeds' noise (r .8 in the residuals) and, at the base width, whole curves.
    """
    four, six = (32, 64, 128, 256), (32, 48, 64, 96, 128, 256)
    plans = [
        ("octave grid", four, 1.0, 3, 0.0, 5, 0.0),
        ("jitter .15 octave", four, 1.0, 3, 0.15, 5, 0.0),
        ("three widths", (32, 64, 128), 1.0, 3, 0.0, 5, 0.0),
        ("five widths", (32, 48, 64, 96, 128), 1.0, 3, 0.0, 5, 0.0),
        ("half octaves", four, 0.5, 3, 0.0, 5, 0.0),
        ("one seed", four, 1.0, 1, 0.0, 5, 0.0),
        ("correlated arms, two over six widths", six, 1.0, 3, 0.0, 2, 0.8),
        ("correlated arms, two over four widths", four, 1.0, 3, 0.0, 2, 0.8),
        ("correlated arms, five over four widths", four, 1.0, 3, 0.0, 5, 0.8),
        ("correlated arms, five over three widths", (32, 64, 128), 1.0, 3, 0.0, 5, 0.8),
    ]
    for name, widths, step, n, jitter, arms, shared in plans:
        grid = np.arange(-12, -3, step)
        log2 = np.log2(np.array(widths, dtype=float))
        found = {"pooled": ([], [], []), "own": ([], [], [])}
        for _ in range(count):
            lines = {}
            centre, common = rng.uniform(-0.5, 0.5), seed_noise(rng, len(widths), n, len(grid))
            for arm in range(arms):
                # Arms whose curves coincide at the base width have one optimum there.
                middle = centre if shared else rng.uniform(-0.5, 0.5)
                best = -7.5 + middle + jitter * rng.standard_normal(len(widths))
                own = seed_noise(rng, len(widths), n, len(grid))
                noise = np.sqrt(shared) * common + np.sqrt(1 - shared) * own
                if shared:
                    noise[0] = common[0]
                curves = (CURVATURE * (grid - best[:, None]) ** 2)[:, None, :] + noise
                optima = [transfer.optimum(grid, c) for c in curves.mean(1)]
                good = [i for i, o in enumerate(optima) if o.log2_lr is not None]
                lines[str(arm)] = (log2[good], [optima[i].log2_lr for i in good])
            for kind, fitted in (("pooled", transfer.slopes(lines)), ("own", transfer.slopes({"0": lines["0"]}))):
                if "0" in fitted:
                    for store, value in zip(
                        found[kind], (fitted["0"].slope, fitted["0"].se, fitted["0"].df), strict=True
                    ):
                        store.append(value)
        for kind, (slope, se, df) in found.items():
            theta, se_, df_ = np.array(slope), np.array(se), np.array(df)
            half = stats.t.ppf(0.975, df_) * se_
            yield _row(
                f"slope of optima, {kind} scatter",
                name,
                len(widths),
                n,
                theta,
                se_,
                df_,
                0.0,
                inside_margin=float((np.abs(theta) + half < 0.25).mean()),
            )


def seed_noise(rng: np.random.Generator, widths: int, seeds: int, points: int) -> np.ndarray:
    """Losses' noise, sd .025, of which .7 is common to the learning rates of a seed."""
    common, own = rng.standard_normal((widths, seeds, 1)), rng.standard_normal((widths, seeds, points))
    return 0.025 * (np.sqrt(0.7) * common + np.sqrt(0.3) * own)


def selection_rows(count: int, rng: np.random.Generator) -> Iterator[Row]:
    """Bias of A - B at the chosen learning rates, 5 rates against 1: fresh seeds have none, reuse has."""
    grid = np.arange(-10.0, -5.0)
    bias: dict[str, list[float]] = {"best value of the selection seed": [], "fresh seeds": []}
    lost = []
    for _ in range(count):
        differences: dict[str, list[float]] = {k: [] for k in bias}
        for _cell in range(4):
            best = -8 + rng.uniform(-0.5, 0.5)
            common = rng.standard_normal()
            y = CURVATURE * (grid - best) ** 2 + 0.03 * (
                np.sqrt(0.7) * common + np.sqrt(0.3) * rng.standard_normal(5)
            )
            chosen = select(grid, y, noise_sd=0.03)
            true = CURVATURE * (chosen.log2_lr - best) ** 2
            lost.append(true)
            other = 0.03 * rng.standard_normal(3)
            at_best = CURVATURE * (chosen.argmin - best) ** 2
            differences["best value of the selection seed"].append(y.min() - at_best)
            differences["fresh seeds"].append((true + 0.03 * rng.standard_normal(3) - other).mean() - true)
        for k, v in differences.items():
            bias[k].append(float(np.mean(v)))
    for k, v in bias.items():
        theta = np.array(v)
        yield {
            "rule": "choice of the learning rate, bias in nats",
            "scenario": k,
            "sizes": 4,
            "seeds": 3,
            "suites": count,
            "error": float(theta.mean()),
            "half_width": float(1.96 * theta.std() / np.sqrt(count)),
        }
    yield {
        "rule": "choice of the learning rate, excess loss in nats",
        "scenario": "fitted, sd .03",
        "sizes": 4,
        "seeds": 1,
        "suites": count,
        "error": float(np.mean(lost)),
    }


def sequential_rows(count: int, rng: np.random.Generator) -> Iterator[Row]:
    """False positives of three looks with spent alpha, and of a look after every seed."""
    d = rng.standard_normal((count, 4, 10))
    p = {n: _p_of_means(d[..., :n]) for n in range(3, 11)}
    spent = np.any([p[n] * 0.05 / a <= 0.05 for n, a in sequential.LOOKS.items()], axis=0)
    every = np.any([p[n] <= 0.05 for n in p], axis=0)
    for name, found in (("three looks, spent alpha", spent), ("a look after every seed", every)):
        yield {
            "rule": f"sequential, {name}",
            "scenario": "no effect",
            "sizes": 4,
            "seeds": 10,
            "suites": count,
            "false_verdicts": float(found.mean()),
        }


def _p_of_means(d: np.ndarray) -> np.ndarray:
    value, se, df = mean_of_cells(d)
    return 2 * stats.t.sf(np.abs(value / se), df)


def family_rows(count: int, rng: np.random.Generator, claims: int = 5) -> Iterator[Row]:
    """Suites with a false verdict among null claims that share a baseline: plain and with Holm."""
    for j, n in ((4, 3), (6, 3), (4, 5)):
        base = 0.03 * rng.standard_normal((count, 1, j, n))
        arms = 0.02 * rng.standard_normal((count, claims, j, n))
        p = _p_of_means(arms - base)
        holm = np.array([min(verdicts.holm(row)) for row in p])
        yield {
            "rule": "family-wise, plain 5 %",
            "scenario": f"{claims} null claims",
            "sizes": j,
            "seeds": n,
            "suites": count,
            "false_verdicts": float((p.min(1) <= 0.05).mean()),
        }
        yield {
            "rule": "family-wise, Holm",
            "scenario": f"{claims} null claims",
            "sizes": j,
            "seeds": n,
            "suites": count,
            "false_verdicts": float((holm <= 0.05).mean()),
        }


CLAIMS = {
    "ratio": ("compute_ratio", {"below": 1.0}),
    "difference": ("mean_difference", {"below": 0.0}),
    "largest": ("mean_difference", {"below": 0.0}),
    "drifting": ("compute_ratio", {"above": 1.0}),
}


def aa_records(rng: np.random.Generator, sizes: int = 6, seeds: int = 3) -> pd.DataFrame:
    """Records of one method under two names, each tuned on its own selection seed, evaluated on fresh seeds."""
    grid, rows = np.arange(-10.0, -5.0), []
    for i in range(sizes):
        compute = 1e12 * 10 ** (1.7 * i / (sizes - 1))
        level = (
            Law(floor=0.9, scale=1.64, exponent=0.174).loss(np.log(compute / 1e12)) + 0.03 * rng.standard_normal()
        )
        best = -7.5 + rng.uniform(-0.5, 0.5)
        for arm in ("muon", "muon_again"):
            noise = 0.03 * (np.sqrt(0.7) * rng.standard_normal() + np.sqrt(0.3) * rng.standard_normal(5))
            chosen = select(grid, level + CURVATURE * (grid - best) ** 2 + noise, noise_sd=0.03)
            mean = level + CURVATURE * (chosen.log2_lr - best) ** 2 + 0.01 * rng.standard_normal()
            for seed in range(seeds):
                rows.append(
                    {
                        "suite": "aa",
                        "profile": "cpu",
                        "arm": arm,
                        "role": "evaluation",
                        "status": "completed",
                        # Own seeds: with common ones the two would be the same trials.
                        "seed": seed + (500 if arm == "muon_again" else 0),
                        "identity": f"{arm}-{i}-{seed}",
                        "numerics_class": "cpu",
                        "selected": True,
                        "at_edge": chosen.at_edge is not None,
                        "size": f"s{i}",
                        "test_loss": mean + 0.03 * rng.standard_normal(),
                        "trivial_loss": 5.5,
                        "flops": compute,
                        "parameters": 1e4 * 2**i,
                        "tokens": 2e5 * 2**i,
                    }
                )
    return pd.DataFrame(rows)


AA_METRICS = {"test_loss": Metric(label="test loss", unit="nats", cap="trivial_loss")}


def aa_claims() -> list[Any]:
    """Four confirmatory claims about two arms that are one method."""
    return load_claims(
        {
            name: {
                "says": "One method differs from itself.",
                "source": "A/A",
                "kind": "direction",
                "confirmatory": True,
                "estimator": {
                    "name": estimator,
                    "arm": "muon",
                    "baseline": "muon_again",
                    **({"where": {"size": ["s4", "s5"]}} if name == "largest" else {}),
                },
                "expects": expects,
            }
            for name, (estimator, expects) in CLAIMS.items()
        }
    )


def aa_rows(count: int, rng: np.random.Generator) -> Iterator[Row]:
    """False verdicts through the whole path: records, claims, Holm, alternative analyses, words."""
    claims = aa_claims()
    false, refused, covered = 0, 0, 0
    for _ in range(count):
        found = evaluate_claims(claims, aa_records(rng), profile="cpu", size_axis="size", metrics=AA_METRICS)
        words = [r.verdict for r in found]
        false += any(w in ("holds_at_reduced_scale", "fails_at_reduced_scale") for w in words)
        refused += any(r.refused for r in found)
        interval = found[0].interval()
        covered += interval is not None and interval[0] <= 1 <= interval[1]
    yield {
        "rule": "A/A through the whole path",
        "scenario": "one method, two names, own tuning",
        "sizes": 6,
        "seeds": 3,
        "suites": count,
        "false_verdicts": false / count,
        "coverage": covered / max(count - refused, 1),
        "no_answer": refused / count,
    }
