"""A workload that counts slowly, checkpoints, and misbehaves on demand. Adds a line to its ledger per step."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from harness.outcome import Curve
from harness.workload import Cost, Outcome

METHODS = {"rank": "rank"}
HARMLESS = ("", "lie", "no weights", "evaluation dies")
"""Faults that show only when the total is recomputed."""


class Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int = 3
    pause: float = 0.0
    """Seconds a step."""
    fault: str = ""
    at: int = 1
    """Step at which the fault happens."""
    ledger: str = ""
    """File that gets one line a step and one at the start."""
    long: int = 0
    """Extra curve points: a large record."""
    rank: dict[str, Any] = {"name": "test_rank"}


def data_spec(config):
    return None


def cost(config):
    return Cost(flops=float(config.steps))


def run(trial, config, context):
    checkpoint = context.work_folder / "checkpoint.json"
    state = {"step": 0, "total": 0.0, "resumed": 0}
    if checkpoint.is_file():
        saved = json.loads(checkpoint.read_text())
        if saved.pop("token") == context.checkpoint_token:
            state = {**saved, "resumed": saved["resumed"] + 1}
    note(config, f"begin {trial.seed} {os.getpid()} {state['step']}")
    while state["step"] < config.steps:
        if config.fault not in HARMLESS and state["step"] == config.at:
            outcome = misbehave(config)
            if outcome:
                return outcome
        time.sleep(config.pause)
        state["total"] += (trial.seed + 1) / (state["step"] + 1)
        state["step"] += 1
        note(config, f"step {trial.seed} {os.getpid()} {state['step']}")
        new = checkpoint.with_suffix(".new")
        new.write_text(json.dumps({**state, "token": context.checkpoint_token}))
        new.replace(checkpoint)
        context.on_progress(state["step"] / config.steps)
    if context.weights_file:
        context.weights_file.write_text(repr(state["total"]))
    if config.fault == "lie":
        state["total"] -= 1
    if config.fault == "no weights":
        context.weights_file.unlink()
    (context.artifact_folder / "total.txt").write_text(repr(state["total"]))
    import torch

    return Outcome(
        metrics={
            "total": state["total"], "bad": float("inf"), "threads": torch.get_num_threads(),
            "affinity": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        },
        curves={"count": Curve(steps=list(range(config.long)), values=[0.5] * config.long)},
        resumed=state["resumed"],
    )


def evaluate(trial, config, context):
    if config.fault == "evaluation dies":
        os._exit(7)
    return Outcome(metrics={"total": float(context.weights_file.read_text())})


def note(config, text):
    if config.ledger:
        with Path(config.ledger).open("a") as out:
            out.write(f"{text} {time.monotonic()}\n")


def misbehave(config):
    fault = config.fault
    if fault == "raise":
        raise ValueError("the trial's own mistake")
    if fault == "unpicklable":

        class LocalError(Exception):
            def __reduce__(self):
                raise TypeError("cannot be pickled")

        raise LocalError("unpicklable trouble")
    if fault == "memory":
        raise MemoryError("no more")
    if fault == "allocator":
        import torch

        torch.empty(2**60, dtype=torch.uint8)
    if fault == "sys.exit":
        sys.exit(3)
    if fault == "diverge":
        return Outcome(diverged_step=7, reason="loss not finite", metrics={"loss": float("nan")})
    print("last words", file=sys.stderr, flush=True)
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.startswith("exit"):
        os._exit(int(fault[4:]))
    if fault == "segfault":
        ctypes.string_at(0)
    if fault == "chatter":
        line = "x" * 999 + "\n"
        for _ in range(30_000):
            os.write(2, line.encode())
        return None
    if fault == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        note(config, f"child 0 {child.pid} 0")
    if fault in ("hang", "child"):
        time.sleep(600)
    return None
