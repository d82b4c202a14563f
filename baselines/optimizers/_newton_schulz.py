"""Newton-Schulz orthogonalisation: maps a matrix U S V^T near to U V^T by products alone.

One step is X <- a X + (b A + c A^2) X with A = X X^T on the short side, so that a singular value s goes to
a s + b s^3 + c s^5 and the singular vectors stay. Pure functions of tensors; no optimizer here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

Triple = tuple[float, float, float]
Precision = Literal["bfloat16", "float32"]
EPS = 1e-7
"""Least norm that a matrix is divided by (as in the reference): a zero matrix stays zero."""
NOISE = 0.025
"""Largest share of a Gram matrix that rounding may take before it is formed anew."""
STRIPS = {"cpu": (512, 4)}
"""Device type -> (short side, number): from that side on, symmetric products are formed matrix by matrix in so
many strips of rows, right of the diagonal alone, and mirrored. Saves 3/8 of their FLOPs; below, and on GPUs,
more and smaller calls cost more than that (measured)."""


@dataclass(frozen=True)
class CoefficientSet:
    """The triples (a, b, c) of each step, in order, and what X is divided by before the first."""

    triples: tuple[Triple, ...]
    norm_factor: float = 1.0
    """X is divided by norm_factor * ||X||_F."""
    repeats: bool = False
    """One triple repeated, so that another number of steps makes sense."""

    def schedule(self, steps: int | None = None) -> tuple[Triple, ...]:
        """The triples of ``steps`` steps (None: the set's own number); ValueError if it has no such."""
        if steps is None or steps == len(self.triples):
            return self.triples
        if not self.repeats:
            raise ValueError(f"this coefficient set has {len(self.triples)} steps, not {steps}")
        return self.triples[:1] * steps

    def safe(self, factor: float) -> CoefficientSet:
        """The set on inputs that may reach ``factor``: a / f, b / f^3, c / f^5 on all steps but the last.

        A first step at its largest singular value, or rounding on the way, may leave the interval that the next
        triple was made for, beyond which it grows without bound (2505.16932, section 3.4).
        """
        scaled = tuple((a / factor, b / factor**3, c / factor**5) for a, b, c in self.triples[:-1])
        return CoefficientSet((*scaled, self.triples[-1]), norm_factor=factor)


_KELLER: Triple = (3.4445, -4.7750, 2.0315)
_EXACT: Triple = (2.0, -1.5, 0.5)

COEFFICIENTS: dict[str, CoefficientSet] = {
    # K. Jordan, Muon (2024): the largest slope at zero; never converges to 1.
    "keller": CoefficientSet((_KELLER,) * 5, repeats=True),
    # Polar Express, 2505.16932, in the 5-step form of nanochat and modded-nanogpt (safety 2e-2, cushion 2).
    "polar_express": CoefficientSet(
        (
            (8.156554524902461, -22.48329292557795, 15.878769915207462),
            (4.042929935166739, -2.808917465908714, 0.5000178451051316),
            (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
            (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
            (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
        ),
        norm_factor=1.02,
    ),
    # J. Su, kexue.fm 10922, five steps.
    "su": CoefficientSet(
        (
            (4.6182, -12.9582, 9.3299),
            (3.8496, -7.9585, 4.3052),
            (3.5204, -7.2918, 4.0606),
            (3.2067, -6.8243, 4.2802),
            (3.2978, -5.7848, 3.8917),
        )
    ),
    # J. You, six steps, quoted in kexue.fm 10922 as integers over 1024.
    "you": CoefficientSet(
        (
            (3955 / 1024, -8306 / 1024, 5008 / 1024),
            (3735 / 1024, -6681 / 1024, 3463 / 1024),
            (3799 / 1024, -6499 / 1024, 3211 / 1024),
            (4019 / 1024, -6385 / 1024, 2906 / 1024),
            (2677 / 1024, -3029 / 1024, 1162 / 1024),
            (2172 / 1024, -1833 / 1024, 682 / 1024),
        )
    ),
    # F. L. Cesista (leloykun), as in Emerging-Optimizers.
    "leloykun": CoefficientSet(
        (
            (4.0848, -6.8946, 2.9270),
            (3.9505, -6.3029, 2.6377),
            (3.7418, -5.5913, 2.3037),
            (2.8769, -3.1427, 1.2046),
            (2.8366, -3.0525, 1.2012),
        )
    ),
    # CANS, 2506.10935, as in Emerging-Optimizers, with Polar Express's safety: as printed, a singular
    # value of 1.005, which bfloat16 makes of 1, ends above 1e60.
    "cans": CoefficientSet(
        (
            (8.4703, -25.1081, 18.6293),
            (4.1828, -3.1087, 0.5806),
            (3.9619, -2.9541, 0.5630),
            (3.2866, -2.4647, 0.5074),
            (2.2737, -1.6447, 0.4162),
        )
    ).safe(1.02),
    # Eight of Keller's steps, then two that converge ("deepseekv4" in Emerging-Optimizers).
    "keller_then_exact": CoefficientSet((_KELLER,) * 8 + (_EXACT,) * 2),
    # Converges to U V^T wherever s is not tiny.
    "exact": CoefficientSet((_EXACT,) * 12, repeats=True),
}
"""Name -> coefficients (Newton-Schulz quintics)."""


def polynomial(s: Tensor, schedule: Sequence[Triple]) -> Tensor:
    """What the iteration makes of singular values ``s`` (any shape), step by step in their dtype."""
    for a, b, c in schedule:
        s2 = s * s
        s = s * (a + s2 * (b + c * s2))
    return s


def restarts(schedule: Sequence[Triple], precision: Precision, rows: int, columns: int) -> tuple[int, ...]:
    """How many steps share one Gram matrix, piece by piece; all ones: the plain iteration.

    A <- P A P follows X <- P X without touching the long side, which costs less than a new Gram matrix once
    the sides differ by more than 1.5. But rounding in the small eigenvalues of A grows by the squared slope
    a^2 a step, so a new one is formed before it exceeds NOISE: in bfloat16 every step, in float32 after
    several. (Without restarts bfloat16 returns singular values above 1,000 for ordinary spectra.)
    """
    short, long = sorted((rows, columns))
    if long <= 1.5 * short:
        return (1,) * len(schedule)
    eps = torch.finfo(getattr(torch, precision)).eps
    pieces: list[int] = []
    noise = 0.0
    for a, _, _ in schedule:
        if pieces and noise <= NOISE:
            pieces[-1] += 1
        else:
            pieces.append(1)
            noise = eps
        noise *= a * a
    return tuple(pieces)


class Scratch:
    """Buffers that outlive a call. On a CPU freshly allocated megabytes cost a page fault every 4 KiB."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, torch.dtype, torch.device], Tensor] = {}

    def take(self, name: str, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
        """An uninitialised tensor, valid until ``name`` is taken again."""
        size = math.prod(shape)
        buffer = self._buffers.get((name, dtype, device))
        if buffer is None or buffer.numel() < size:
            buffer = torch.empty(size, dtype=dtype, device=device)
            self._buffers[name, dtype, device] = buffer
        return buffer[:size].view(*shape)


def orthogonalize(
    X: Tensor, coefficients: CoefficientSet, *, steps: int | None = None, precision: Precision = "bfloat16"
) -> Tensor:
    """Newton-Schulz iteration on the last two dimensions; leading dimensions are a batch.

    X: (..., rows, columns), any floating dtype, left as it is. Returns the same shape in ``precision``. Each
    matrix is divided by its Frobenius norm (computed in float32 or wider) first. The Gram matrix is formed
    on the short side: X X^T for wide matrices, X^T X for tall ones. Source: K. Jordan, Muon (2024).
    """
    dtype = torch.promote_types(X.dtype, torch.float32)
    stack = X.reshape(-1, *X.shape[-2:]).to(dtype, copy=True)
    orthogonalize_(stack, coefficients, Scratch(), steps=steps, precision=precision)
    return stack.view(X.shape).to(getattr(torch, precision))


def orthogonalize_(
    stack: Tensor,
    coefficients: CoefficientSet,
    scratch: Scratch,
    *,
    steps: int | None = None,
    precision: Precision = "bfloat16",
) -> None:
    """``orthogonalize`` in place; stack: (batch, rows, columns) in float32 or wider."""
    if stack.numel() == 0:
        return
    schedule = coefficients.schedule(steps)
    norm = torch.linalg.vector_norm(stack, dim=(1, 2), keepdim=True)
    stack.mul_(norm.clamp_min_(EPS).mul_(coefficients.norm_factor).reciprocal_())
    dtype = getattr(torch, precision)
    X, Y = (scratch.take(name, stack.shape, dtype, stack.device) for name in "XY")
    X.copy_(stack)
    side = min(stack.shape[1:])
    A, B = (scratch.take(name, (len(stack), side, side), dtype, stack.device) for name in "AB")
    position = 0
    for length in restarts(schedule, precision, *stack.shape[1:]):
        piece = schedule[position : position + length]
        position += length
        _iterate(X, piece, Y, A, B)
        X, Y = Y, X
    stack.copy_(X)


def _iterate(X: Tensor, piece: Sequence[Triple], out: Tensor, A: Tensor, B: Tensor) -> None:
    """out <- the steps of ``piece``, on one Gram matrix, applied to X; both (batch, rows, columns).

    A, B: buffers of (batch, short side, short side).
    """
    tall = X.shape[1] > X.shape[2]
    side, strips = STRIPS.get(X.device.type, (math.inf, 1))
    if len(piece) == 1 and A.shape[1] >= side:
        a, b, c = piece[0]
        for x, y, gram, square in zip(X, out, A, B, strict=True):
            _symmetric_product(x.mT if tall else x, strips, gram)
            _symmetric_product(gram, strips, square, gram, b, c)
            torch.addmm(x, x, square, beta=a, out=y) if tall else torch.addmm(x, square, x, beta=a, out=y)
        return
    torch.bmm(X.mT, X, out=A) if tall else torch.bmm(X, X.mT, out=A)
    if len(piece) == 1:
        a, b, c = piece[0]
        torch.baddbmm(A, A, A, beta=b, alpha=c, out=B)
        torch.baddbmm(X, X, B, beta=a, out=out) if tall else torch.baddbmm(X, B, X, beta=a, out=out)
        return
    # X <- (P_k ... P_1) X, with A <- P A P between them.
    Q: Tensor | None = None
    for index, (a, b, c) in enumerate(piece):
        P = torch.baddbmm(A, A, A, beta=b, alpha=c)
        P.diagonal(dim1=1, dim2=2).add_(a)
        if index < len(piece) - 1:
            A = torch.bmm(torch.bmm(P, A), P)
        Q = P if Q is None else torch.bmm(P, Q)
    assert Q is not None
    torch.bmm(X, Q.mT, out=out) if tall else torch.bmm(Q, X, out=out)


def _symmetric_product(
    X: Tensor, strips: int, out: Tensor, add: Tensor | None = None, beta: float = 0.0, alpha: float = 1.0
) -> None:
    """out <- alpha X X^T + beta add, which is symmetric; X: (m, n), add: (m, m) symmetric or None."""
    m = len(X)
    edges = [m * i // strips for i in range(strips + 1)]
    for low, high in pairwise(edges):
        strip = out[low:high, low:]
        if add is None:
            torch.mm(X[low:high], X[low:].mT, out=strip)
        else:
            torch.addmm(add[low:high, low:], X[low:high], X[low:].mT, beta=beta, alpha=alpha, out=strip)
        out[high:, low:high] = strip[:, high - low :].mT


def newton_schulz_flops(
    rows: int, columns: int, schedule: Sequence[Triple], precision: Precision = "bfloat16"
) -> float:
    """FLOPs of the matrix products for one matrix, as ``orthogonalize`` does them.

    The plain iteration on m x n with m <= n takes 4 m^2 n + 2 m^3 a step; symmetric products count in full.
    """
    m, n = sorted((rows, columns))
    total = 0.0
    for length in restarts(schedule, precision, rows, columns):
        total += 4.0 * m * m * n + 2.0 * m**3 * length
        total += 6.0 * m**3 * (length - 1)
    return total


def overhead(rows: int, columns: int, tokens: int, steps: int = 5) -> float:
    """Plain Newton-Schulz FLOPs over the FLOPs of this matrix's forward and backward pass on ``tokens``.

    Those are 6 m n tokens, so the share is at most steps * m / tokens, m the short side (reached by squares).
    """
    m, n = sorted((rows, columns))
    return steps * (4.0 * m * m * n + 2.0 * m**3) / (6.0 * m * n * tokens)
