"""SOAP beside its formulas; problems that are diagonal in some basis; the iteration that turns the bases."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from baselines.optimizers.adamw import AdamW
from baselines.optimizers.soap import SOAP, outer, turned
from harness.errors import HarnessError, PluginError
from harness.methods.construct import build
from harness.methods.optimizer import Optimizer
from harness.methods.parametrization import Scaling
from tests.baselines.optimizers import lockstep
from tests.baselines.optimizers.toys import (
    draw_gradients,
    hidden,
    make_groups,
    parameters,
    relative,
    side_by_side,
    values,
)

BASES = 1e-9
"""Float64. A basis hangs on rounding by the ratio of extreme eigenvalues of L and R, some 1e5 for the first
Gaussian matrices, and 20 steps carry it on: 20 * 1e5 * 1e-16 = 2e-10."""
HIDDEN = [entry for entry in lockstep.SMALL if entry[0] == "hidden"]


def gram_schmidt(S: Tensor) -> Tensor:
    """Orthonormal columns that span what the first columns of S span, one after another."""
    columns: list[Tensor] = []
    for s in S.T:
        for _ in range(2):
            for q in columns:
                s = s - (q @ s) * q
        columns.append(s / s.norm())
    return torch.stack(columns, 1)


class Plain:
    """One matrix by the paper's formulas. ``bases``: those of the first gradient, where it leaves them open."""

    def __init__(self, W: Tensor, method: SOAP, bases: tuple[Tensor, Tensor] | None = None) -> None:
        self.W, self.method, self.t = W.clone(), method, -1
        self.M, self.V = torch.zeros_like(W), torch.zeros_like(W)
        self.QL, self.QR = bases or (torch.eye(W.shape[0]).to(W), torch.eye(W.shape[1]).to(W))
        self.L, self.R = torch.zeros_like(self.QL), torch.zeros_like(self.QR)
        self.given = bases is not None

    def __call__(self, G: Tensor, lr: float) -> Tensor:
        m = self.method
        beta3 = m.beta2 if m.beta3 is None else m.beta3
        self.t += 1
        if self.t:
            self.M = m.beta1 * self.M + (1 - m.beta1) * G
            rotated = self.QL.T @ G @ self.QR
            self.V = m.beta2 * self.V + (1 - m.beta2) * rotated**2
            mean = self.QL.T @ self.M @ self.QR / (1 - m.beta1**self.t)
            N = mean / ((self.V / (1 - m.beta2**self.t)).sqrt() + m.eps)
            self.W = self.W - lr * (m.weight_decay * self.W + self.QL @ N @ self.QR.T)
        self.L = beta3 * self.L + (1 - beta3) * G @ G.T
        self.R = beta3 * self.R + (1 - beta3) * G.T @ G
        short = [side <= m.max_side for side in G.shape]
        if self.t == 0 and not self.given:
            self.QL = torch.linalg.eigh(self.L)[1].flip(1) if short[0] else self.QL
            self.QR = torch.linalg.eigh(self.R)[1].flip(1) if short[1] else self.QR
        if self.t and self.t % m.frequency == 0:
            if short[0]:
                order = torch.diag(self.QL.T @ self.L @ self.QL).argsort(descending=True)
                self.QL, self.V = gram_schmidt((self.L @ self.QL)[:, order]), self.V[order]
            if short[1]:
                order = torch.diag(self.QR.T @ self.R @ self.QR).argsort(descending=True)
                self.QR, self.V = gram_schmidt((self.R @ self.QR)[:, order]), self.V[:, order]
        return self.W


@pytest.mark.parametrize("fields", [{"frequency": 1}, {"frequency": 3, "beta3": 0.7}, {"frequency": 10}])
def test_twenty_steps_equal_a_plain_float64_loop(fields):
    """Sides above 6 keep their axes, so that every L and R has full rank and its eigenbasis is one."""
    method = SOAP(lr=0.01, weight_decay=0.3, beta1=0.8, beta2=0.9, eps=1e-3, max_side=6, **fields)
    found = lockstep.errors(method, lambda W, role: Plain(W, method), HIDDEN)
    assert max(found.values()) < BASES, found


@pytest.mark.parametrize("shape", [(4, 10), (10, 4), (5, 5)])
def test_a_matrix_turns_on_both_sides_from_the_eigenbases_of_its_first_gradient(shape):
    method = SOAP(lr=0.01, weight_decay=0.3, eps=1e-3, frequency=2)
    groups = lockstep.in_double(hidden(shape))
    (p,) = parameters(groups)
    optimizer, start = method.build(groups), p.detach().clone()
    for step in range(20):
        draw_gradients(groups, step)
        optimizer.step()
        if step == 0:
            assert torch.equal(p, start), "the first gradient moves nothing"
            state = optimizer.state[p]
            for Q, P in ((state["Q_L"], p.grad @ p.grad.T), (state["Q_R"], p.grad.T @ p.grad)):
                diagonal = Q.T @ P @ Q
                assert relative(torch.diag(diagonal.diagonal()), diagonal) < 1e-12
                assert (diagonal.diagonal().diff() < 1e-12 * diagonal.max()).all(), "eigenvalues do not fall"
                assert relative(Q @ Q.T, torch.eye(len(Q))) < 1e-12
            plain = Plain(start, method, (state["Q_L"].clone(), state["Q_R"].clone()))
        wanted = plain(p.grad, 0.01)
        if step:
            assert relative(p.detach() - start, wanted - start) < BASES


@pytest.mark.parametrize("rotate", [False, True])
def test_on_a_problem_that_is_diagonal_in_some_basis_it_is_adam_on_the_diagonal(rotate):
    """Gradients A diag(s) B^T with s whose order changes, so that axes change places while V follows them."""
    generator = torch.Generator().manual_seed(3)

    def basis() -> Tensor:
        X = torch.randn(6, 6, generator=generator, dtype=torch.float64)
        return torch.linalg.qr(X)[0] if rotate else torch.eye(6, dtype=torch.float64)

    A, B = basis(), basis()
    fields = {"lr": 0.01, "beta1": 0.9, "beta2": 0.7, "eps": 1e-4}
    matrix, vector = lockstep.in_double(hidden((6, 6))), lockstep.in_double(hidden((6,)))
    (W,), (w,) = parameters(matrix), parameters(vector)
    start = values(matrix)[0]
    before = w.detach().clone()
    soap = SOAP(weight_decay=0.0, frequency=1, **fields).build(matrix)
    adam = AdamW(weight_decay=0.0, **fields).build(vector)
    crossed = set()
    for step in range(12):
        s = (torch.arange(6) + 1.0 + step).double().roll(step) * (1.7 - step % 2)
        crossed.add(tuple(s.abs().argsort().tolist()))
        W.grad, w.grad = A @ torch.diag(s) @ B.T, s.clone()
        soap.step()
        if step:
            adam.step()
    assert len(crossed) > 3
    wanted = A @ torch.diag(w.detach() - before) @ B.T
    assert relative(W.detach() - start, wanted) < BASES


def test_without_bases_it_is_adamw_from_the_second_gradient_on():
    ours, theirs = hidden((3, 6, 6), (4, 8)), hidden((3, 6, 6), (4, 8))
    common = {"lr": 0.02, "weight_decay": 0.2, "beta1": 0.9, "beta2": 0.95}
    one, two = SOAP(max_side=1, **common).build(ours), AdamW(**common).build(theirs)
    one.step()
    for step in range(5):
        side_by_side(one, ours, two, theirs, step)
    for a, b in zip(parameters(ours), parameters(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_rotating_a_problem_rotates_its_solution():
    generator = torch.Generator().manual_seed(5)
    A, B = (torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64))[0] for _ in range(2))
    plain, rotated = lockstep.in_double(hidden((6, 6))), lockstep.in_double(hidden((6, 6)))
    (p,), (r,) = parameters(plain), parameters(rotated)
    r.data.copy_(A @ p.data @ B.T)
    start = p.detach().clone()
    method = SOAP(lr=0.01, frequency=2)
    one, two = method.build(plain), method.build(rotated)
    for step in range(8):
        draw_gradients(plain, step)
        r.grad = A @ p.grad @ B.T
        one.step()
        two.step()
    assert relative(A.T @ r.detach() @ B - start, p.detach() - start) < BASES


def test_turning_again_and_again_ends_at_the_eigenvectors_in_order():
    generator = torch.Generator().manual_seed(0)
    eigenvectors = torch.linalg.qr(torch.randn(2, 5, 5, generator=generator, dtype=torch.float64))[0]
    falling = torch.tensor([16.0, 8.0, 4.0, 2.0, 1.0], dtype=torch.float64)
    P = (eigenvectors * falling) @ eigenvectors.mT
    Q = torch.eye(5, dtype=torch.float64).expand(2, 5, 5)
    for _ in range(80):
        Q, _ = turned(P, Q)
    same, order = turned(P, eigenvectors.flip(-1))
    assert order.tolist() == [[4, 3, 2, 1, 0]] * 2
    # Up to the sign of each column.
    for found in (Q, same):
        overlap = (found.mT @ eigenvectors).abs()
        torch.testing.assert_close(overlap, torch.eye(5).to(P).expand_as(P), rtol=0, atol=1e-9)


def test_outer_products_are_of_rows_and_of_columns():
    G = torch.tensor([[[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]])
    assert outer(G, -2).tolist() == [[[14.0, 2.0], [2.0, 1.0]]]
    assert outer(G, -1).tolist() == [[[1.0, 2.0, 3.0], [2.0, 5.0, 6.0], [3.0, 6.0, 9.0]]]


def test_the_rest_is_adamws_bit_for_bit():
    ours, theirs = make_groups(), make_groups()
    one = SOAP(lr=0.02, adam_lr=0.003, eps=1e-6).build(ours)
    two = AdamW(lr=0.003, eps=1e-6).build(theirs)
    for step in range(3):
        side_by_side(one, ours, two, theirs, step)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.parameters[0], b.parameters[0]) == (a.role != "hidden")


def test_zero_gradients_leave_finite_weights_that_only_decay():
    groups = hidden((4, 6))
    optimizer = SOAP(lr=0.1, weight_decay=0.5, frequency=1).build(groups)
    before = values(groups)[0]
    for _ in range(3):
        parameters(groups)[0].grad = torch.zeros(4, 6)
        optimizer.step()
    torch.testing.assert_close(parameters(groups)[0].detach(), before * 0.95**2)


def test_multipliers_scale_lr_weight_decay_and_eps():
    scaling = Scaling(init_std=1.0, lr=0.5, weight_decay=4.0, eps=100.0)
    optimizer = SOAP(lr=0.02, weight_decay=0.1, eps=1e-8).build(make_groups(scaling=scaling))
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.01)
        assert group["weight_decay"] == (0.0 if group["role"] == "vector" else 0.4)
        assert group["eps"] == pytest.approx(1e-6)


def test_it_is_registered_and_counts_its_flops():
    method = build("optimizer", {"name": "soap", "lr": 0.01, "max_side": 6, "frequency": 3})
    assert isinstance(method, SOAP) and isinstance(method, Optimizer)
    assert {method.family(role) for role in ("embedding", "hidden", "readout", "vector")} == {"adam"}
    assert method.flops_per_step([("vector", (7,)), ("embedding", (3, 4))]) == 14 * 19
    one_sided = 14 * 40 + 8 * 4 * 40 + 3 * 16 + (14 / 3 * 64 + 2 * 16) / 3
    assert method.flops_per_step([("hidden", (2, 4, 10))]) == pytest.approx(2 * one_sided)
    both = 14 * 36 + 2 * (8 * 6 * 36 + 3 * 36 + (14 / 3 * 216 + 2 * 36) / 3)
    assert method.flops_per_step([("hidden", (6, 6))]) == pytest.approx(both)


def test_the_products_that_are_counted_are_those_that_are_done():
    groups = hidden((2, 4, 10))
    optimizer = SOAP(lr=0.01, frequency=2).build(groups)
    optimizer.step()
    done = []
    for _ in range(2):
        with FlopCounterMode(display=False) as counter:
            optimizer.step()
        done.append(counter.get_total_flops())
    rotations = 2 * 8 * (4 + 10) * 40
    assert done == [rotations, rotations + 2 * 2 * (4**3 + 10**3)]


def test_bad_values_are_named():
    for field, value in (("frequency", 0), ("max_side", 0), ("beta3", 1.0)):
        with pytest.raises(PluginError, match=rf"'soap', key '{field}'"):
            build("optimizer", {"name": "soap", "lr": 0.1, field: value})
    with pytest.raises(HarnessError, match=r"'w0' has role hidden and shape \(5,\); SOAP trains matrices"):
        SOAP(lr=0.1).build(hidden((5,)))
