"""Every group of operators beside its reference implementation, as ``harness bench-check`` measures it.

    pytest tests/benchmarks/bench_operators.py --benchmark-enable -o python_files='bench_*.py' -s

Prints a table a case, with ratios, bytes, FLOPs and shares of the ceiling; nothing is judged. A part that cannot
run here, as a compiled one without a compiler, is skipped with its reason. BENCH_DEVICE=cuda for a GPU.
"""

from __future__ import annotations

import os

import pytest

from harness.benchmarks import alone, judging
from harness.benchmarks.samples import CaseSamples
from harness.commands._bench_output import tables
from harness.environment import missing_device

DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "15"))


@pytest.mark.skipif(bool(missing_device(DEVICE)), reason=missing_device(DEVICE) or "it is here")
@pytest.mark.parametrize(
    ("group", "part"), [(name, part) for name in alone.group_names() for part in alone.group(name).PARTS]
)
def test_operators(benchmark, group: str, part: str) -> None:
    found, why = benchmark.pedantic(alone.measured, (group, part, DEVICE, ROUNDS), rounds=1)
    if why:
        pytest.skip(why)
    cases = [CaseSamples.model_validate(case) for case in found]
    rows = [judging.described(case, form) for case in cases for form in case.compared]
    benchmark.extra_info.update({f"{r.case}: {r.form}": r.ratio for r in rows})
    print("\n" + "\n".join(tables(rows)))
