"""Coverage, bias, width and false verdicts of every statistical rule: rows of the committed table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from harness.analysis import compute_ratio as law
from harness.analysis import sequential, transfer, verdicts
from harness.analysis.claims import evaluate_claims, load_claims
from harness.analysis.means import mean_of_cells
from harness.analysis.selection import select
from tests.statistics.simulate import CURVATURE, SCENARIOS, Law, chunked, suites, truth

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
                    for name, form in law.FORMS.items():
                        keep = count if name == "shared_power_law" else min(count, other_forms)
                        theta, se, df = chunked(lambda a, b, f=form: law.jackknife(f, a, b), x[:keep], y[:keep])
                        yield _row(f"compute ratio, {name}", scenario, j, n, theta, se, df, true, ratio=ratio)


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
    """Slope of optima over widths, scatter pooled over five arms, sd .025 with r .7 between learning rates."""
    plans = [
        ("octave grid", (32, 64, 128, 256), 1.0, 3, 0.0),
        ("jitter .15 octave", (32, 64, 128, 256), 1.0, 3, 0.15),
        ("three widths", (32, 64, 128), 1.0, 3, 0.0),
        ("five widths", (32, 48, 64, 96, 128), 1.0, 3, 0.0),
        ("half octaves", (32, 64, 128, 256), 0.5, 3, 0.0),
        ("one seed", (32, 64, 128, 256), 1.0, 1, 0.0),
    ]
    for name, widths, step, n, jitter in plans:
        grid = np.arange(-12, -3, step)
        log2 = np.log2(np.array(widths, dtype=float))
        found = {"pooled": ([], [], []), "own": ([], [], [])}
        for _ in range(count):
            lines = {}
            for arm in range(5):
                best = -7.5 + rng.uniform(-0.5, 0.5) + jitter * rng.standard_normal(len(widths))
                noise = 0.025 * (
                    np.sqrt(0.7) * rng.standard_normal((len(widths), n, 1))
                    + np.sqrt(0.3) * rng.standard_normal((len(widths), n, len(grid)))
                )
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
        found = evaluate_claims(claims, aa_records(rng), profile="cpu")
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
