"""The one training loop: schedule, clipping, evaluation, probes, checkpoints, divergence, clocks.

A workload hands over a task (model, optimizer, batches, loss, evaluation); the loop knows nothing of what is
learned. Steps count from 0 inside; curves count updates done, so their last point is ``steps``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from harness import probes
from harness.files import move, open_sealed_file, sealed_file
from harness.methods.modes import evaluating
from harness.methods.optimizer import ParameterGroup
from harness.outcome import Curve, Table, finite
from harness.workload import Context, Outcome
from harness.workloads._sections import Training

CURVE_POINTS = 100
"""Most points of the curves that average every step (training loss, gradient norm)."""
FINAL_SHARE = 0.1
"""Share of the last steps whose mean is the final training loss."""
CHECK_EVERY = {"cpu": 1, "cuda": 25}
"""Steps between looks at the losses: a look makes the host wait for a GPU."""
CHECKPOINT = "checkpoint.pt"
NOTE_CHARACTERS = 500
"""Longest note of what was wrong with a checkpoint."""


class Task(Protocol):
    """What is trained. Also serves probes (see harness.probes.ProbedTask)."""

    device: torch.device
    steps: int
    trivial_loss: float
    """Loss of the best constant prediction that knows nothing, e.g. ln of the vocabulary."""
    torch_seed: int
    """Seeds torch's generators, for methods that draw numbers in training; one on a CPU takes its low 32 bits."""
    optimizer: torch.optim.Optimizer

    @property
    def model(self) -> nn.Module: ...

    @property
    def groups(self) -> Sequence[ParameterGroup]: ...

    def batch(self, step: int, part: int) -> Any:
        """Part ``part`` of the step's batch: a function of seed, size and step only."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """Mean loss of a part, to be differentiated; its autocast and compilation are the task's affair."""
        ...

    def evaluate(self, split: str) -> float:
        """Loss on the fixed windows of ``validation`` or ``test``; draws nothing, changes nothing.

        Model and optimizer are in evaluation mode inside (harness.methods.modes), and as before when it returns.
        """
        ...

    def test(self) -> tuple[float, Mapping[str, Table]]:
        """``evaluate("test")``, with what the record keeps of it in more detail."""
        ...

    def after_step(self, step: int) -> None:
        """Called after each update (a router updates its state here)."""
        ...

    def probe_batch(self, size: int) -> Any: ...

    def forward(self, inputs: Any) -> Tensor: ...


def lr_factor(step: int, steps: int, schedule: str, warmup_share: float, end_lr_share: float) -> float:
    """Learning rate at a step over its peak.

    Warm-up over w = round(warmup_share * steps) steps: (step + 1) / w. Then, with p = (step - w) / (steps - w):
    linear 1 - (1 - end) p, cosine end + (1 - end) (1 + cos(pi p)) / 2. The end is reached after the last step,
    so that no step is spent at a rate of zero.
    """
    warmup = round(warmup_share * steps)
    if step < warmup:
        return (step + 1) / warmup
    p = (step - warmup) / max(1, steps - warmup)
    if schedule == "cosine":
        return end_lr_share + (1 - end_lr_share) * 0.5 * (1 + math.cos(math.pi * p))
    return 1 - (1 - end_lr_share) * p


class Clocks:
    """Seconds by purpose; exactly one clock runs at a time."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.running = ""
        self._since = 0.0

    def switch(self, name: str) -> None:
        """Stop the running clock and start another; waits for the GPU, whose work belongs to the former."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        if self.running:
            self.seconds[self.running] = self.seconds.get(self.running, 0.0) + now - self._since
        self.running, self._since = name, now

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Another clock runs inside."""
        before = self.running
        self.switch(name)
        try:
            yield
        finally:
            self.switch(before)


@contextmanager
def _undisturbed(task: Task) -> Iterator[None]:
    """For probes: modules in evaluation mode, the trained weights as they are; modes and generators put back."""
    devices = [task.device] if task.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), evaluating(task.model):
        yield


class Loop:
    """State of one training run. Use :func:`train`."""

    def __init__(self, task: Task, training: Training, context: Context, identity: str) -> None:
        self.task, self.training, self.context = task, training, context
        self.token = f"{identity} {context.checkpoint_token}"
        self.step = 0
        """Updates done."""
        self.clocks = Clocks(task.device)
        self.losses = torch.zeros(task.steps, device=task.device)
        self.norms = torch.zeros(task.steps, device=task.device)
        self.validation: dict[int, float] = {}
        self.checked = 0
        """Steps whose loss and gradient norm were found finite."""
        self.diverged_step: int | None = None
        self.reason = ""
        self.resumed = 0
        self.tables: Mapping[str, Table] = {}
        """Of the test split, once it was read."""
        self.notes: list[str] = []
        self.peaks = [float(group["lr"]) for group in task.optimizer.param_groups]
        self.probes = {name: probes.build(name, s) for name, s in context.probes.items()}
        last = task.steps
        self.evaluation_steps = {
            math.ceil(last * i / training.evaluations) for i in range(1, training.evaluations + 1)
        }

    # --- one step --------------------------------------------------------------------------------------

    def _factor(self, step: int) -> float:
        t = self.training
        return lr_factor(step, self.task.steps, t.schedule, t.warmup_share, t.end_lr_share)

    def _set_lr(self, step: int) -> None:
        factor = self._factor(step)
        for group, peak in zip(self.task.optimizer.param_groups, self.peaks, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(peak * factor)
            else:
                group["lr"] = peak * factor

    def _gradients(self, step: int) -> None:
        task, parts = self.task, self.training.gradient_accumulation
        total: Tensor | None = None
        for part in range(parts):
            loss = task.loss(task.batch(step, part))
            if parts > 1:
                loss = loss / parts
            loss.backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        with torch.no_grad():
            gradients = [p.grad for g in task.groups for p in g.parameters if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            if self.training.clip_norm is not None:
                # By the norm that is there already; the factor is 1 below the limit.
                torch._foreach_mul_(gradients, (self.training.clip_norm / (norm + 1e-6)).clamp(max=1.0))
            self.losses[step] = total
            self.norms[step] = norm

    def _wanting(self, step: int) -> list[probes.Probe]:
        return [probe for probe in self.probes.values() if probe.wants(step)]

    def _call_probes(self, method: str, step: int) -> None:
        if wanting := self._wanting(step):
            with self.clocks.during("probes"), _undisturbed(self.task):
                for probe in wanting:
                    getattr(probe, method)(step)

    def _look(self, upto: int) -> bool:
        """Whether the run is still sound before step ``upto``; else sets the step of divergence."""
        losses, norms = self.losses[self.checked : upto].tolist(), self.norms[self.checked : upto].tolist()
        limit = self.training.divergence_factor * self.task.trivial_loss
        for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), self.checked):
            what = ""
            if not math.isfinite(loss):
                what = f"training loss {loss}"
            elif not math.isfinite(norm):
                what = f"gradient norm {norm}"
            elif loss > limit:
                what = f"training loss {loss:.4g}, above {limit:.4g}"
            if what:
                self.diverged_step, self.reason = step, f"diverged at step {step}: {what}"
                return False
        self.checked = upto
        return True

    def run(self) -> None:
        """Steps from where the run stands to its end, or to divergence."""
        task = self.task
        every = CHECK_EVERY.get(task.device.type, 1)
        saved = told = time.monotonic()
        self.clocks.switch("training")
        while self.step < task.steps:
            step = self.step
            self._set_lr(step)
            self._gradients(step)
            # A probe never sees what comes after a divergence.
            looks = (step + 1) % every == 0 or self._wanting(step)
            if looks and not self._look(step + 1):
                break
            self._call_probes("before_step", step)
            task.optimizer.step()
            self._call_probes("after_step", step)
            task.optimizer.zero_grad(set_to_none=True)
            task.after_step(step)
            self.step = step + 1
            now = time.monotonic()
            evaluates = self.step in self.evaluation_steps
            saves = now - saved >= self.context.checkpoint_seconds and self.step < task.steps
            if (evaluates or saves) and not self._look(self.step):
                break
            if evaluates:
                with self.clocks.during("evaluation"):
                    self.validation[self.step] = task.evaluate("validation")
            if now - told >= 0.5:
                self.context.on_progress(self.step / task.steps)
                told = now
            if saves:
                with self.clocks.during("checkpoints"):
                    self.save()
                saved = time.monotonic()
        self.clocks.switch("")

    # --- checkpoints -----------------------------------------------------------------------------------

    @property
    def _file(self) -> Path:
        return self.context.work_folder / CHECKPOINT

    def save(self) -> None:
        """Write all that the rest of the run depends on; a kill leaves the former checkpoint or this one."""
        cuda = self.task.device.type == "cuda"
        state = {
            "step": self.step,
            "model": self.task.model.state_dict(),
            # Hyperparameters come from the config; only the state is kept.
            "optimizer": self.task.optimizer.state_dict()["state"],
            "losses": self.losses,
            "norms": self.norms,
            "validation": self.validation,
            "checked": self.checked,
            "resumed": self.resumed,
            "seconds": dict(self.clocks.seconds),
            "generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state(self.task.device) if cuda else None,
            "probes": {name: probe.state_dict() for name, probe in self.probes.items()},
        }
        with sealed_file(self._file, self.token) as out:
            torch.save(state, out)

    def resume(self) -> bool:
        """Go on from the checkpoint, if there is one of this very code and class of numerics."""
        try:
            with open_sealed_file(self._file) as (token, content):
                if token != self.token:
                    return False
                state = torch.load(content, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return False
        except Exception as error:  # altered, cut off, of another torch
            move(self._file, self._file.with_suffix(".damaged"))
            self.notes.append(f"damaged checkpoint put aside, the run started over: {error}"[:NOTE_CHARACTERS])
            return False
        if set(state["probes"]) != set(self.probes):
            return False
        self.step, self.checked = state["step"], state["checked"]
        self.task.model.load_state_dict(state["model"])
        whole = self.task.optimizer.state_dict()
        self.task.optimizer.load_state_dict({**whole, "state": state["optimizer"]})
        self.losses.copy_(state["losses"])
        self.norms.copy_(state["norms"])
        self.validation = dict(state["validation"])
        self.resumed = state["resumed"] + 1
        for name, seconds in state["seconds"].items():
            self.clocks.seconds[name] = self.clocks.seconds.get(name, 0.0) + seconds
        torch.set_rng_state(state["generator"])
        if state["cuda_generator"] is not None:
            torch.cuda.set_rng_state(state["cuda_generator"], self.task.device)
        for name, probe in self.probes.items():
            probe.load_state_dict(state["probes"][name])
        return True

    # --- what it leaves --------------------------------------------------------------------------------

    def curves(self) -> dict[str, Curve]:
        """training loss and gradient norm (means over intervals), learning-rate factor, validation loss."""
        done = self.step if self.diverged_step is None else min(self.step, self.diverged_step)
        count = min(CURVE_POINTS, done)
        ends = [round(done * i / count) for i in range(1, count + 1)]
        starts = [0, *ends][: len(ends)]

        def means(values: Tensor) -> Curve:
            host = values.double().cpu()
            pairs = zip(starts, ends, strict=True)
            return Curve(steps=ends, values=[finite(host[a:b].mean().item()) for a, b in pairs])

        points = sorted(self.validation)
        return {
            "train_loss": means(self.losses),
            "gradient_norm": means(self.norms),
            "lr_factor": Curve(steps=ends, values=[self._factor(e - 1) for e in ends]),
            "validation_loss": Curve(steps=points, values=[finite(self.validation[p]) for p in points]),
        }

    def final_losses(self) -> dict[str, float | None]:
        """Training (mean of the last tenth), validation and test loss; all None for a diverged run."""
        names = ("train_loss_final", "validation_loss", "test_loss")
        if self.diverged_step is not None:
            return dict.fromkeys(names)
        with self.clocks.during("evaluation"):
            test, tables = self.task.test()
        last = max(1, round(FINAL_SHARE * self.task.steps))
        values = (self.losses[-last:].double().mean().item(), self.validation[self.task.steps], test)
        if not all(math.isfinite(v) for v in values):
            self.diverged_step = self.task.steps
            self.reason = "diverged: a loss after the last step is not finite"
            return dict.fromkeys(names)
        self.tables = tables
        return dict(zip(names, values, strict=True))


def train(
    task: Task,
    training: Training,
    context: Context,
    *,
    identity: str = "",
    setup_seconds: float = 0.0,
    metrics: Mapping[str, float | None] | None = None,
) -> Outcome:
    """Train a task to the end of its schedule and evaluate it.

    ``identity`` is the trial's, so that a checkpoint of another trial is never resumed; ``metrics`` are the
    workload's own, put beside train_loss_final, validation_loss, test_loss (as the task gives them),
    trivial_loss, steps and seconds_training. A run that diverges has no losses and tables, and its
    ``diverged_step``: the step (from 0) whose loss or gradient norm was not finite, or whose loss was above
    ``training.divergence_factor`` times the trivial loss.
    """
    torch.manual_seed(task.torch_seed)
    loop = Loop(task, training, context, identity)
    loop.clocks.seconds["setup"] = setup_seconds
    with loop.clocks.during("probes"), _undisturbed(task):
        for probe in loop.probes.values():
            probe.start(task.model, task.groups, task.optimizer, task)
    loop.resume()
    loop.run()
    losses = loop.final_losses()
    with loop.clocks.during("probes"):
        probed = {name: probe.finish() for name, probe in loop.probes.items()}
    seconds = {"evaluation": 0.0, "probes": 0.0, **loop.clocks.seconds}
    return Outcome(
        metrics={
            **losses,
            "trivial_loss": task.trivial_loss,
            "steps": float(task.steps),
            "seconds_training": seconds.get("training", 0.0),
            **(metrics or {}),
        },
        curves=loop.curves(),
        probes=probed,
        tables=dict(loop.tables),
        seconds=seconds,
        diverged_step=loop.diverged_step,
        reason=loop.reason,
        resumed=loop.resumed,
        notes=loop.notes,
    )
