"""A synthetic run of three suites: frames and claims as the report receives them. Not results of any kind."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

SIZES = {"d24": 24, "d28": 28, "d32": 32, "d40": 40, "d48": 48, "d64": 64}
WIDTHS = (32, 48, 64, 96, 128)


def _trial(suite: str, arm: str, role: str, seed: int, **extra: Any) -> dict[str, Any]:
    return {
        "suite": suite,
        "profile": "cpu",
        "arm": arm,
        "role": role,
        "seed": seed,
        "status": "completed",
        "reason": "",
        "numerics_class": "torch 2.13.0, AVX512",
        "selected": False,
        "at_edge": False,
        "diverged_step": math.nan,
        "trivial_loss": math.log(256),
        **extra,
    }


def _scaling(rng: np.random.Generator, seeds: int) -> list[dict[str, Any]]:
    rows = []
    arms = {"adamw": (1.0, -8.0), "muon": (0.55, -6.0), "muon_transferred": (0.6, None)}
    for size, width in SIZES.items():
        parameters = 2 * 12 * width**2
        flops = 6 * parameters * 20 * parameters
        for arm, (ratio, best) in arms.items():
            loss = 0.9 + 1.6 * (flops / ratio / 2e9) ** -0.17
            shape = {
                "size": size,
                "parameters": parameters,
                "tokens": 20 * parameters,
                "steps": 400,
                "flops": float(flops),
                "flops_model": 0.97 * flops,
                "flops_optimizer": 0.03 * flops,
                "seconds_training": 4e-3 * width,
            }
            for exponent in range(-10, -3) if best is not None else ():
                value = loss + 0.045 * (exponent - best) ** 2 + rng.normal(0, 0.02)
                row = _trial(
                    "muon_scaling",
                    arm,
                    "tuning",
                    1000,
                    validation_loss=value,
                    test_loss=value,
                    **shape,
                    **{"optimizer.lr": 2.0**exponent},
                )
                row["selected"] = exponent == best
                if exponent - best >= 3:
                    row.update(
                        status="diverged",
                        validation_loss=math.nan,
                        test_loss=math.nan,
                        diverged_step=31,
                        reason="loss above the trivial one for 20 steps",
                    )
                rows.append(row)
            for seed in range(seeds):
                value = loss + rng.normal(0, 0.025 if arm == "adamw" else 0.01)
                row = _trial(
                    "muon_scaling",
                    arm,
                    "evaluation",
                    seed,
                    validation_loss=value + 0.01,
                    test_loss=value,
                    test_bits_per_byte=value / math.log(2),
                    **shape,
                    **{"optimizer.lr": 2.0 ** (best or -8)},
                )
                row["at_edge"] = size == "d64" and arm == "muon_transferred"
                rows.append(row)
            for repeat in range(4):
                rows.append(
                    _trial(
                        "muon_scaling",
                        arm,
                        "timing",
                        repeat,
                        **{
                            **shape,
                            "seconds_training": width * (4e-3 if arm == "adamw" else 5e-3) * rng.uniform(1, 1.1),
                        },
                    )
                )
    lost = next(
        r for r in rows if r["arm"] == "muon_transferred" and r["role"] == "evaluation" and r["size"] == "d24"
    )
    lost.update(
        status="diverged",
        validation_loss=math.nan,
        test_loss=math.nan,
        test_bits_per_byte=math.nan,
        diverged_step=120,
        reason="loss above the trivial one for 20 steps",
    )
    return rows


def _transfer(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for arm, slope in (("standard", -1.0), ("mup", 0.0), ("<script>alert(1)</script>", -0.5)):
        for width in WIDTHS:
            best = -6.5 + slope * math.log2(width / 32)
            for exponent in range(-11, -3):
                for seed in range(2):
                    value = 1.9 - 0.12 * math.log2(width / 32) + 0.05 * (exponent - best) ** 2 + rng.normal(0, 0.01)
                    row = _trial(
                        "mup_transfer",
                        arm,
                        "evaluation",
                        seed,
                        width=width,
                        parameters=24 * width**2,
                        tokens=2_000_000,
                        steps=300,
                        validation_loss=value,
                        test_loss=value,
                        **{"optimizer.lr": 2.0**exponent},
                    )
                    if exponent - best > 3:
                        row.update(
                            status="diverged", validation_loss=math.nan, test_loss=math.nan, diverged_step=12
                        )
                    rows.append(row)
    return rows


def _codec(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows = []
    for arm, gain in (("jpeg", 0.0), ("webp", 1.8), ("ddcm", 0.6)):
        for quality in (10, 30, 50, 70, 90):
            for seed in range(4):
                bits = 0.15 * quality**0.6 / 2 + rng.normal(0, 0.01)
                rows.append(
                    _trial(
                        "ddcm_rate_distortion",
                        arm,
                        "evaluation",
                        seed,
                        quality=quality,
                        bits_per_pixel=bits,
                        psnr=24 + gain + 5 * math.log2(bits * 4) + rng.normal(0, 0.4),
                    )
                )
    rows.append(
        _trial(
            "ddcm_rate_distortion",
            "hific",
            "evaluation",
            0,
            quality=10,
            status="skipped",
            reason="weights are not on this machine\nlast line",
        )
    )
    return rows


def trials(seeds: int = 3) -> pd.DataFrame:
    """All planned trials, in a fixed order, with distinct identities."""
    rng = np.random.default_rng(0)
    rows = _scaling(rng, seeds) + _transfer(rng) + _codec(rng)
    for i, row in enumerate(rows):
        row["identity"] = f"{i:032x}"
    return pd.DataFrame(rows)


def curves(frame: pd.DataFrame, points: int = 40) -> pd.DataFrame:
    """Two falling curves for every trial of the language models; a diverged one ends early."""
    parts = []
    for row in frame[frame["suite"] != "ddcm_rate_distortion"].to_dict("records"):
        end = row["diverged_step"] if row["status"] == "diverged" else row["steps"]
        steps = np.linspace(1, end, points).astype(int)
        last = row["test_loss"] if math.isfinite(row.get("test_loss", math.nan)) else 3.0
        value = last + 3.4 * np.exp(-6 * steps / row["steps"])
        for curve in ("train_loss", "validation_loss"):
            parts.append(
                pd.DataFrame(
                    {
                        "identity": row["identity"],
                        "suite": row["suite"],
                        "arm": row["arm"],
                        "size": row["size"],
                        "width": row["width"],
                        "seed": row["seed"],
                        "curve": curve,
                        "step": steps,
                        "value": value,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def probes(frame: pd.DataFrame) -> pd.DataFrame:
    """Spectra of the scaling suite's two largest sizes, and a coordinate check of the transfer suite."""
    rng = np.random.default_rng(1)
    rows: list[dict[str, Any]] = []
    evaluated = frame[frame["role"] == "evaluation"]
    chosen = evaluated[(evaluated["suite"] == "muon_scaling") & evaluated["size"].isin(["d48", "d64"])]
    for trial in chosen.to_dict("records"):
        base = {k: trial[k] for k in ("identity", "suite", "arm", "size", "seed")} | {"probe": "spectra"}
        for layer in range(2):
            for matrix in ("query", "key", "value", "output", "up", "down"):
                name, columns = f"blocks.{layer}.{matrix}", 64 * (4 if matrix in ("up", "down") else 1)
                common = base | {"matrix": name, "layer": layer, "rows": 64, "columns": columns, "kind": "weight"}
                fall = 0.10 if trial["arm"] == "adamw" else 0.03
                for step in range(0, 401, 50):
                    rows.append(
                        common
                        | {
                            "step": step,
                            "functional": "svd_entropy",
                            "value": 0.97 - fall * step / 400 + rng.normal(0, 0.004),
                        }
                    )
                if layer == 0:
                    for index in range(1, 17):
                        rows.append(
                            common
                            | {
                                "step": 400,
                                "functional": "singular_value",
                                "index": index,
                                "value": 3 * math.exp(-index * (0.2 if trial["arm"] == "adamw" else 0.1)),
                            }
                        )
    swept = evaluated[(evaluated["suite"] == "mup_transfer") & (evaluated["optimizer.lr"] == 2.0**-6)]
    for trial in swept.to_dict("records"):
        base = {k: trial[k] for k in ("identity", "suite", "arm", "width", "seed")} | {"probe": "coordinate"}
        slope = {"mup": 0.0, "standard": 0.9}.get(trial["arm"], 0.4)
        for layer, site in (
            (-1, "embedding"),
            (0, "attention"),
            (0, "feed_forward"),
            (1, "attention"),
            (-1, "logits"),
        ):
            for step in (0, 10):
                value = 0.1 * (2 + layer) * (trial["width"] / 32) ** slope if step else 0.0
                rows.append(
                    base | {"layer": layer, "site": site, "step": step, "statistic": "change", "value": value}
                )
    return pd.DataFrame(rows)


def claim(**changes: Any) -> dict[str, Any]:
    """A claim with every field of the contract."""
    return {
        "id": "muon_compute_ratio",
        "suite": "muon_scaling",
        "says": "Tuned Muon needs less compute than tuned AdamW",
        "source": "arXiv 2502.16982, section 3.2",
        "kind": "direction",
        "expects": "ratio < 1",
        "estimate": 0.5562,
        "ci95": [0.4713, 0.6564],
        "df": 5,
        "p_holm": 0.00021,
        "num_sizes": 6,
        "num_seeds": 3,
        "num_trials": 36,
        "seed_sd": 0.0251,
        "profile": "cpu",
        "scope": "reduced",
        "scale_factor": 13400.0,
        "verdict": "holds_at_reduced_scale",
        "minimum_detectable_effect": 0.21,
        "estimators_agree": True,
        "unit": "ratio",
        "models": "13.8k to 98.3k parameters, Python sources",
        "published": 0.52,
        "notes": ["Estimators 2 and 3: 0.55, 0.57."],
        "refused": "",
        "confirmatory": True,
        "table": [],
        "estimator": {"name": "compute_ratio", "arm": "muon", "baseline": "adamw"},
        "made_at": {"parameters": [399e6, 1.5e9], "tuning": "none"},
        "parts": [],
        "detectable": None,
        "resolved_before_correction": False,
        "depends_on": "",
        **changes,
    }


def claims() -> list[dict[str, Any]]:
    """Claims with every kind of verdict, and without."""
    return [
        claim(
            id="weight_decay",
            says="Without weight decay Muon ends worse when over-trained",
            kind="trend",
            verdict=None,
            estimate=None,
            ci95=None,
            df=None,
            p_holm=None,
            refused="needs the profile gpu: no over-trained cell here",
            scale_factor=None,
            published=None,
            notes="",
            num_seeds=None,
            num_sizes=None,
            confirmatory=False,
        ),
        claim(),
        claim(
            id="muon_transferred",
            estimator={"name": "paired_mean", "arm": "muon_transferred", "baseline": "adamw"},
            resolved_before_correction=True,
            says="Muon at AdamW's learning rate ends below tuned AdamW",
            unit="nats",
            estimate=-0.0312,
            ci95=[-0.0705, 0.0081],
            df=11.2,
            p_holm=0.21,
            verdict="unresolved",
            published=None,
            minimum_detectable_effect={"value": 0.058, "low": 0.041, "high": 0.099},
            notes=[],
        ),
        claim(
            id="equivalence",
            estimator={"name": "paired_mean", "arm": "muon_transferred", "baseline": "muon"},
            says="Muon at AdamW's learning rate ends within 0.029 nats of tuned Muon",
            kind="equivalence",
            unit="nats",
            estimate=0.0713,
            ci95=[0.0511, 0.0915],
            df=10.4,
            p_holm=0.004,
            verdict="fails_at_reduced_scale",
            published={"value": 0.0, "interval": None},
            notes=[],
        ),
        claim(
            id="overhead",
            estimator={"name": "flop_overhead", "arm": "muon"},
            says="Muon's FLOP overhead is at most T m / B",
            kind="identity",
            scope="published",
            unit="",
            estimate=0.0061,
            ci95=None,
            df=None,
            p_holm=None,
            verdict="reproduced",
            scale_factor=1.0,
            published=0.0065,
            notes=[],
            num_seeds=None,
            num_sizes=None,
        ),
        claim(
            id="slope",
            estimator={"name": "optimum_slope", "arm": "mup", "axis": "width"},
            table=[
                {"width": 32, "log2_lr": -6.4, "argmin": -6.0, "reason": ""},
                {"width": 64, "log2_lr": -6.4, "argmin": -7.0, "reason": ""},
                {"width": 128, "log2_lr": None, "argmin": -4.0, "reason": "edge"},
            ],
            suite="mup_transfer",
            says="Under muP the optimal learning rate does not move with width",
            source="arXiv 2203.03466, figure 1",
            kind="equivalence",
            unit="octaves per octave",
            estimate=0.041,
            ci95=[-0.09, 0.172],
            df=9,
            p_holm=0.002,
            scale_factor=310.0,
            published=0.0,
            num_sizes=5,
            num_seeds=2,
            notes=[],
        ),
        claim(
            id="hostile",
            suite="mup_transfer",
            says="<script>alert(1)</script> transfers as muP does",
            verdict=None,
            confirmatory=False,
            source="nobody <b>knows</b>",
            published="\"quoted\" & 'more'",
            scale_factor=None,
            estimate=math.nan,
            ci95=[math.nan, math.nan],
            notes=["a | b"],
            unit="octaves per octave",
        ),
        claim(
            id="published_scale",
            suite="ddcm_rate_distortion",
            says="DDCM needs fewer bits than JPEG at equal PSNR",
            source="arXiv 2502.01189",
            scope="published",
            scale_factor=1.2,
            verdict="contradicted",
            unit="%",
            estimate=12.3,
            ci95=[4.1, 20.5],
            df=23,
            published=-30,
            num_sizes=None,
            num_seeds=4,
            notes=[],
        ),
    ]


def suites() -> list[dict[str, Any]]:
    """Three suites with every figure kind between them, one of which has no data."""
    return [
        {
            "name": "muon_scaling",
            "title": "Muon against AdamW over model sizes",
            "profile": "cpu",
            "question": "Does Muon reach AdamW's loss with less compute, at equal tuning?",
            "workload": "language_model",
            "axes": {"size": {}},
            "tuning": {"space": {"optimizer.lr": {}}, "budget": 7, "metric": "validation_loss", "seeds": [1000]},
            "sources": ["arXiv 2502.16982", "arXiv 2509.02046"],
            "budget_minutes": 16,
            "scale": "13.8k to 98.3k parameters, Python sources",
            "note": "3 arms x 6 sizes x (7 LRs + 3 seeds) x 4 s",
            "figures": [
                {"kind": "loss_against_lr"},
                {"kind": "loss_against_flops"},
                {"kind": "step_time"},
                {"kind": "training_curves"},
                {"kind": "rank_over_training"},
                {"kind": "rank_heatmap"},
                {"kind": "spectra"},
                {"kind": "metric_by_arm", "metric": "test_bits_per_byte"},
                {"kind": "probe_over_training", "probe": "expert_load", "title": "Expert load"},
            ],
            "base": {"model": {"depth": 2}},
            "arms": {"adamw": {}, "muon": {}},
            "seeds": 3,
            "changed_claims": True,
        },
        {
            "name": "mup_transfer",
            "title": "Learning-rate transfer over width",
            "profile": "cpu",
            "question": "Does the optimal learning rate stay put as width grows?",
            "workload": "language_model",
            "axes": {"width": {}},
            "scale": "24.6k to 393k parameters, Python sources",
            "figures": [
                {"kind": "lr_transfer"},
                {"kind": "optimum_against_width"},
                {"kind": "coordinate_check"},
                {"kind": "metric_against_axis", "metric": "test_loss"},
            ],
        },
        {
            "name": "ddcm_rate_distortion",
            "title": "DDCM's rate and distortion",
            "profile": "cpu",
            "question": "How do DDCM's real bytes compare with JPEG's and WebP's?",
            "axes": {"quality": {}},
            "figures": [
                {
                    "kind": "metric_against_metric",
                    "x": "bits_per_pixel",
                    "y": "psnr",
                    "title": "Rate and distortion",
                },
            ],
        },
    ]


def provenance() -> dict[str, Any]:
    """As the lead's side gives it."""
    return {
        "git": {"sha": "0bf4801", "dirty": False},
        "device": "cpu",
        "threads": 1,
        "data": ["ab" * 32],
        "environments": [{"packages": {"torch": "2.13.0", "numpy": "2.3"}, "cpu": "Some CPU"}],
        "numerics_classes": {"torch 2.13.0, AVX512": 300},
        "fingerprint": {"baselines.optimizers.muon": ["ab12"]},
        "claims": {"muon_scaling": {"hash": "cd34", "changed after records exist": True}},
        "accepted as stale": 0,
        "not a number": math.nan,
        "last": "2026-01-02T03:04:05Z",
    }


def record_tables(frame: pd.DataFrame) -> pd.DataFrame:
    """Loads of experts over training, and a text with a number a character, of each evaluation trial."""
    rng, rows = np.random.default_rng(5), []
    kept = frame[(frame["suite"] == "muon_scaling") & (frame["role"] == "evaluation") & (frame["arm"] != "adamw")]
    for _, t in kept.iterrows():
        label = {k: t[k] for k in ("identity", "suite", "arm", "role", "seed", "size")}
        for step in (10, 20, 30):
            for expert in range(4):
                load = 1 + rng.normal(0, 3 / step) + 0.1 * expert
                rows.append({**label, "table": "loads", "step": step, "expert": expert, "load": load})
        for place, letter in enumerate("def f(x):\n\treturn x\n" * 3):
            own = {"place": place, "letter": letter, "experts": rng.uniform(0, 4)}
            rows.append({**label, "table": "letters", **own})
    return pd.DataFrame(rows)


def everything(seeds: int = 3) -> dict[str, Any]:
    """Keyword arguments of build_report."""
    frame = trials(seeds)
    noise = pd.DataFrame({"arm": ["adamw", "muon"], "size": ["d24", "d24"], "n": [3, 3], "sd": [0.03213, 0.00811]})
    return {
        "suites": suites(),
        "trials": frame,
        "curves": curves(frame),
        "probes": probes(frame),
        "claims": claims(),
        "provenance": provenance(),
        "tables": {"muon_scaling_noise": noise, "coverage": noise.head(1)},
        "record_tables": record_tables(frame),
    }
