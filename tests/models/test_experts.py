"""The mixture of experts against loops over tokens, dense networks, and its own counts."""

import pytest
import torch

from baselines.routers.bias_threshold import BiasThreshold
from baselines.routers.loss_free import LossFree
from baselines.routers.top_k import TopK
from harness.methods.router import Routing
from harness.models.blocks import BlockArchitecture, Relu2, SwiGLU
from harness.models.experts import MixtureArchitecture, MixtureOfExperts, combine, combine_by_tokens, dispatch

D, E, H = 16, 8, 24


def layer(router=None, *, feed_forward="relu2", dtype=torch.float64, active=2.0, zero=False, **fields):
    a = BlockArchitecture(width=D, depth=1, head_width=8, feed_forward=feed_forward, zero_residual=zero)
    mixture = MixtureArchitecture(number=E, width=H, active=active, **fields)
    module = MixtureOfExperts(a, mixture, router or TopK())
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        p.data = (torch.randn(p.shape, generator=generator, dtype=torch.float64) / p.shape[-1] ** 0.5).to(dtype)
    return module


def inputs(dtype=torch.float64, B=3, T=10):
    return torch.randn(B, T, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def by_hand(module, x):
    """Token by token, expert by expert."""
    routing = module.router.route(module.scores(x), module.state.values(), module.mixture.active)
    out = []
    for n, token in enumerate(x.flatten(0, 1)):
        total = torch.zeros(D, dtype=x.dtype)
        for e in routing.chosen_NE[n].nonzero().flatten():
            hidden = module.up.weight[e] @ token
            hidden = (
                torch.nn.functional.silu(module.gate.weight[e] @ token) * hidden
                if module.gated
                else hidden.relu() ** 2
            )
            total = total + routing.gates_NE[n, e] * (module.down.weight[e] @ hidden)
        out.append(total)
    return torch.stack(out).view(x.shape)


class Given:
    """Chooses what a test says."""

    def __init__(self, chosen, fixed=False):
        self.chosen, self.fixed = chosen, fixed

    def init(self, num_experts, active, logit_std):
        return {}

    def route(self, logits_BTE, state, active):
        gates = logits_BTE.flatten(0, 1).exp()
        return Routing(chosen_NE=self.chosen, gates_NE=gates, sums={"counts": self.chosen.sum(0)})

    def update(self, state, sums, num_tokens, active):
        return {}


ODD = torch.rand(30, E, generator=torch.Generator().manual_seed(2)) < 0.3
ODD[:, 3], ODD[7] = False, False  # an expert without tokens, a token without experts


@pytest.mark.parametrize("feed_forward", ["relu2", "swiglu"])
@pytest.mark.parametrize("router", [TopK(), BiasThreshold(), Given(ODD)])
def test_values_and_gradients_are_those_of_a_loop(router, feed_forward):
    module, x = layer(router, feed_forward=feed_forward), inputs().requires_grad_()
    found, expected = module(x), by_hand(module, x)
    assert torch.allclose(found, expected, atol=1e-12)
    weights = [x, *(p for p in module.parameters() if p is not module.scores.weight)]
    probe = torch.randn(x.shape, generator=torch.Generator().manual_seed(3), dtype=x.dtype)
    for a, b in zip(
        torch.autograd.grad((found * probe).sum(), weights, allow_unused=True),
        torch.autograd.grad((expected * probe).sum(), weights, allow_unused=True),
        strict=True,
    ):
        a, b = (torch.zeros(()) if g is None else g for g in (a, b))
        assert torch.allclose(a, b, atol=1e-11)


@pytest.mark.parametrize("router", [TopK(), BiasThreshold(), Given(ODD)])
def test_grouped_products_equal_the_loop_over_experts(router):
    exact, fast = layer(router), layer(router, dtype=torch.float32)
    x = inputs()
    assert torch.allclose(fast(x.float()), exact(x).float(), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_without_any_pair_is_zero_and_its_gradients_too(dtype):
    module, x = layer(Given(torch.zeros_like(ODD)), dtype=dtype), inputs(dtype).requires_grad_()
    y = module(x)
    assert not y.any()
    y.sum().backward()
    assert not module.up.weight.grad.any() and not x.grad.any()


def test_all_experts_at_equal_gates_are_the_dense_network():
    """Columns of up and rows of down, cut in E: a mixture with k = E and gates of one."""

    class All(TopK):
        def route(self, logits_BTE, state, active):
            found = super().route(logits_BTE, state, active)
            return Routing(chosen_NE=found.chosen_NE, gates_NE=torch.ones_like(found.gates_NE), sums=found.sums)

    for feed_forward, dense in (("relu2", Relu2(D, E * H, False)), ("swiglu", SwiGLU(D, E * H, False))):
        module, x = layer(All(), feed_forward=feed_forward, active=float(E)), inputs()
        dense = dense.double()
        up = module.up.weight.reshape(E * H, D)
        if feed_forward == "swiglu":
            dense.gate_up.weight.data = torch.stack((module.gate.weight.reshape(E * H, D), up)).detach()
        else:
            dense.up.weight.data = up.detach()
        dense.down.weight.data = module.down.weight.permute(1, 0, 2).reshape(D, E * H).detach()
        assert torch.allclose(module(x), dense(x), atol=1e-12)


def test_shared_experts_run_on_every_token_and_the_scale_is_the_routed_ones():
    module, x = layer(shared=2, output_scale=3.0), inputs()
    plain = layer(output_scale=1.0)
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if not k.startswith("shared")})
    assert torch.allclose(module(x), 3.0 * plain(x) + module.shared(x), atol=1e-12)


def test_geometric_experts_have_unit_rms_before_their_gate():
    module, x = layer(TopK(), active=1.0, form="geometric"), inputs()
    seen = []
    module.listen = seen.append
    y = module(x).flatten(0, 1)
    gate = seen[0].gates_NE[seen[0].chosen_NE]
    assert torch.allclose(y.square().mean(1).sqrt(), gate, rtol=1e-4)


def test_dispatch_and_combine_undo_each_other():
    order = dispatch(ODD)
    assert order.ends_E.tolist() == ODD.sum(0).cumsum(0).tolist()
    experts = torch.repeat_interleave(torch.arange(E), ODD.sum(0))
    assert torch.equal(ODD.t().nonzero()[:, 0], experts) and torch.equal(ODD.t().nonzero()[:, 1], order.token_P)
    tokens = order.token_P.double()[:, None]
    back = combine(tokens, torch.ones(ODD.shape, dtype=torch.float64), ODD, order, None)
    assert torch.equal(back[:, 0], ODD.sum(1) * torch.arange(30.0, dtype=torch.float64))


@pytest.mark.parametrize("each", [2, None])
@pytest.mark.parametrize("threads", [1, 2])
def test_both_orders_of_combining_add_to_the_same_bits(each, threads):
    """So that a CPU may take the faster form; sums of up to 6 terms, whose bits hang on their order."""
    draw, before = torch.Generator().manual_seed(0), torch.get_num_threads()
    scores = torch.rand(500, 6, generator=draw)
    chosen = scores > 0.4 if each is None else torch.zeros_like(scores).scatter(1, scores.topk(each).indices, 1) > 0
    order = dispatch(chosen)
    y = torch.randn(len(order.token_P), 24, generator=draw).requires_grad_()
    gates = torch.rand(scores.shape, generator=draw).requires_grad_()
    torch.set_num_threads(threads)
    try:
        found = [f(y, gates, chosen, order, each) for f in (combine, combine_by_tokens)]
        out = torch.randn(found[0].shape, generator=draw)
        gradients = [torch.autograd.grad(z, (y, gates), out) for z in found]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found) and all(map(torch.equal, *gradients))


def test_a_sequence_gives_the_same_alone_and_in_a_batch():
    module, x = layer(BiasThreshold(), dtype=torch.float32).eval(), inputs(torch.float32)
    assert torch.allclose(module(x)[1:2], module(x[1:2]), atol=1e-6)


def test_counts_add_over_parts_and_in_training_alone():
    module, x = layer(LossFree(), dtype=torch.float32), inputs(torch.float32, B=4)
    module(x)
    whole = module.sums["counts"].clone()
    module.sums = {}
    for part in x.chunk(4):
        module(part)
    assert torch.equal(module.sums["counts"], whole) and whole.sum() == 2 * 40
    module.eval()
    module(x)
    assert torch.equal(module.sums["counts"], whole), "evaluation is no data for the balancer"


def test_the_update_is_the_routers_and_starts_the_next_step_from_nothing():
    module, x = layer(LossFree(), dtype=torch.float32), inputs(torch.float32)
    module(x)
    expected = module.router.update({"bias": torch.zeros(E)}, module.sums, 30, 2.0)["bias"]
    bias = module.state.bias
    counts = module.update(30)
    assert counts.sum() == 60 and module.sums == {} and module.loss is None
    assert torch.equal(bias, expected) and module.state.bias is bias, "in place: optimizers and checkpoints hold it"


def test_a_state_that_lost_its_precision_is_refused():
    module = layer(LossFree(), dtype=torch.float32)
    module(inputs(torch.float32))
    module.state.bfloat16()
    with pytest.raises(AssertionError, match=r"'bias' is torch.bfloat16"):
        module.update(30)


def test_scores_are_float32_under_autocast_and_the_output_keeps_its_type():
    module, x = layer(dtype=torch.float32), inputs(torch.float32)
    seen = []
    module.listen = seen.append
    with torch.autocast("cpu", torch.bfloat16):
        low = module(x)
    assert seen[0].gates_NE.dtype == torch.float32
    full = module(x)
    assert torch.equal(seen[0].chosen_NE, seen[1].chosen_NE)
    assert torch.allclose(low.float(), full, atol=0.1) and not torch.equal(low.float(), full)


def test_the_routers_weights_are_a_readout_and_the_experts_stacks_of_matrices():
    module = layer()
    places = {name: p.place for name, p in module.named_parameters()}
    assert places["scores.weight"].role == "readout" and places["scores.weight"].fan_in == D
    assert places["up.weight"].role == "hidden" and (places["up.weight"].fan_out, places["up.weight"].fan_in) == (
        H,
        D,
    )
    assert (places["down.weight"].fan_out, places["down.weight"].fan_in) == (D, H)
