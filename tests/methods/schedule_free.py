"""Schedule-free gradient descent (2405.15682, equations 1 to 3), which evaluates other weights than it trains.

    z <- z - lr gradient(y),   x <- (1 - 1/t) x + z/t,   y <- (1 - beta) z + beta x

Parameters hold y in training and x in evaluation; only z is stored, so each switch rounds.
"""

from __future__ import annotations

from typing import Any

import torch


class ScheduleFree(torch.optim.Optimizer):
    def __init__(self, parameters: Any, lr: float, beta: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "beta": beta})
        self.training = False

    def _each(self) -> Any:
        return ((g, p, self.state[p]) for g in self.param_groups for p in g["params"])

    @torch.no_grad()
    def eval(self) -> None:
        assert self.training
        self.training = False
        for group, p, state in self._each():
            if "z" in state:
                p.sub_(state["z"], alpha=1 - group["beta"]).div_(group["beta"])

    @torch.no_grad()
    def train(self) -> None:
        for group, p, state in self._each():
            if "z" in state and not self.training:
                p.mul_(group["beta"]).add_(state["z"], alpha=1 - group["beta"])
        self.training = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        assert self.training, "train() was not called"
        for group, p, state in self._each():
            beta = group["beta"]
            if "z" not in state:
                state["z"], state["t"] = p.clone(), 0
            x = (p - (1 - beta) * state["z"]) / beta
            state["t"] += 1
            state["z"].sub_(p.grad, alpha=group["lr"])
            x.lerp_(state["z"], 1 / state["t"])
            p.copy_((1 - beta) * state["z"] + beta * x)
