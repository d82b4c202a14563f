import math

import numpy as np
import torch


class Book:
    def __init__(self, seed, size):
        self.seed, self.n = seed, size
        self.N = 1 << (size - 1).bit_length()
        self.reps = {}
    def _signs(self, step):
        bits = np.random.Philox(key=[self.seed, step]).random_raw(-(-2 * self.N // 64))
        b = np.unpackbits(bits.view(np.uint8))[: 2 * self.N].astype(np.float32)
        return torch.from_numpy(1 - 2 * b).view(2, self.N)
    def _H(self, x):
        B, N = x.shape
        h = 1
        while h < N:
            x = x.view(B, N // (2 * h), 2, h)
            x = torch.stack([x[:, :, 0] + x[:, :, 1], x[:, :, 0] - x[:, :, 1]], 2).reshape(B, N)
            h *= 2
        return x
    def project(self, step, r_BN, K):
        # row k of H D2 H D1 / sqrt N -> <row, r> = H D2 H D1 r
        out = []
        for b in range(-(-K // self.N)):
            D1, D2 = self._signs(step + (b << 40))
            x = torch.zeros(len(r_BN), self.N); x[:, : self.n] = r_BN
            out.append(self._H(D2 * self._H(D1 * x)) / math.sqrt(self.N))
        return torch.cat(out, 1)[:, :K]
    def combine(self, step, index_BM, sign_BM):
        total = 0
        for b in range(int(index_BM.max()) // self.N + 1):
            D1, D2 = self._signs(step + (b << 40))
            e = torch.zeros(len(index_BM), self.N)
            here = index_BM // self.N == b
            e.scatter_add_(1, index_BM % self.N, sign_BM * here)
            total = total + D1 * self._H(D2 * self._H(e))
        return (total / math.sqrt(self.N * index_BM.shape[1]))[:, : self.n]
