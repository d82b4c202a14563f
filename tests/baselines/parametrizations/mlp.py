"""A multilayer perceptron in fp64 that applies a parametrization by hand: the tests' own implementation."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.methods.parametrization import ParameterShape, Parametrization, Scaling
from harness.methods.roles import Family

VOCABULARY, CLASSES, BASE = 16, 4, 32


def shapes(width: int, *, zero_readout: bool = False) -> dict[str, ParameterShape]:
    """Embedding, two hidden matrices with a bias vector between, readout."""

    def shape(role: str, i: int, o: int, bi: int, bo: int, **more: bool) -> ParameterShape:
        return ParameterShape(
            role=role, fan_in=i, fan_out=o, base_fan_in=bi, base_fan_out=bo, **more  # type: ignore[arg-type]
        )

    return {
        "embedding": shape("embedding", VOCABULARY, width, VOCABULARY, BASE),
        "hidden1": shape("hidden", width, 2 * width, BASE, 2 * BASE),
        "bias": shape("vector", 1, 2 * width, 1, 2 * BASE),
        "hidden2": shape("hidden", 2 * width, width, 2 * BASE, BASE),
        "readout": shape("readout", width, CLASSES, BASE, CLASSES, zero_init=zero_readout),
    }


def unit_normals(width: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = {
        "embedding": (VOCABULARY, width),
        "hidden1": (2 * width, width),
        "bias": (2 * width,),
        "hidden2": (width, 2 * width),
        "readout": (CLASSES, width),
    }
    return {k: torch.randn(v, generator=generator, dtype=torch.float64) for k, v in sizes.items()}


class Run:
    """Trains on one fixed batch; ``losses``, and weights before (``first``) and now (``weights``)."""

    def __init__(
        self, parametrization: Parametrization, family: Family, width: int, *, seed: int = 0,
        zero_readout: bool = False,
    ) -> None:
        self.family = family
        places = shapes(width, zero_readout=zero_readout)
        self.scalings: dict[str, Scaling] = {
            k: parametrization.scaling(s, "adam" if family == "muon" and s.role == "vector" else family)
            for k, s in places.items()
        }
        self.weights = {
            k: (self.scalings[k].init_std * x).requires_grad_() for k, x in unit_normals(width, seed).items()
        }
        self.first = {k: w.detach().clone() for k, w in self.weights.items()}
        generator = torch.Generator().manual_seed(77)
        self.tokens = torch.randint(VOCABULARY, (64,), generator=generator)
        self.targets = torch.randint(CLASSES, (64,), generator=generator)
        self.state: dict[str, tuple[Tensor, Tensor]] = {}
        self.losses: list[float] = []
        self.step_number = 0

    def forward(self) -> dict[str, Tensor]:
        w, s = self.weights, self.scalings
        x0 = w["embedding"][self.tokens] * s["embedding"].forward
        x1 = torch.relu(x0 @ w["hidden1"].T * s["hidden1"].forward + w["bias"])
        x2 = x1 @ w["hidden2"].T * s["hidden2"].forward
        logits = (x0 + x2) @ w["readout"].T * s["readout"].forward
        return {"embedding": x0, "hidden1": x1, "hidden2": x2, "logits": logits}

    def train(self, steps: int, lr: float, weight_decay: float = 0.0, eps: float = 1e-30) -> Run:
        for _ in range(steps):
            loss = torch.nn.functional.cross_entropy(self.forward()["logits"], self.targets)
            self.losses.append(loss.item())
            gradients = torch.autograd.grad(loss, list(self.weights.values()))
            self.step_number += 1
            with torch.no_grad():
                for (name, w), g in zip(self.weights.items(), gradients, strict=True):
                    s = self.scalings[name]
                    w *= 1.0 - lr * s.lr * weight_decay * s.weight_decay
                    w -= lr * s.lr * self._direction(name, w, g, eps * s.eps)
        return self

    def _direction(self, name: str, w: Tensor, g: Tensor, eps: float) -> Tensor:
        if self.family == "sgd":
            return g
        if self.family == "muon" and w.ndim == 2:
            left, s, right = torch.linalg.svd(g, full_matrices=False)
            kept = s > 1e-10 * s[0]  # the gradient's null space has no direction of its own
            out, into = (w.shape[1], w.shape[0]) if name == "embedding" else w.shape
            return (out / into) ** 0.5 * left[:, kept] @ right[kept]
        first, second = self.state.get(name, (torch.zeros_like(w), torch.zeros_like(w)))
        first, second = 0.9 * first + 0.1 * g, 0.95 * second + 0.05 * g * g
        self.state[name] = (first, second)
        t = self.step_number
        return first / (1 - 0.9**t) / ((second / (1 - 0.95**t)).sqrt() + eps)
