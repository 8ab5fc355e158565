"""Ragged groups and mixtures of experts: against loops over groups and tokens, in float64 and bit for bit."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pyengine as pe
from pyengine import nn
from pyengine.autograd import gradcheck
from pyengine.nn import functional as F

rng = np.random.default_rng(5)


def normal(*shape):
    return rng.normal(size=shape).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(1, 70), st.integers(1, 70))
def test_groups_are_products_one_by_one(sizes, k, n):
    ends = np.cumsum(sizes)
    a, b, c = normal(ends[-1], k), normal(len(sizes), k, n), normal(ends[-1], n)
    offs = pe.tensor(ends)
    rows = F.grouped_mm(pe.tensor(a), pe.tensor(b), offs=offs).numpy()
    parts = F.grouped_mm(pe.tensor(a).transpose(0, 1), pe.tensor(c), offs=offs.to("int32")).numpy()
    for i, end in enumerate(ends):
        of = slice(end - sizes[i], end)
        if sizes[i]:
            np.testing.assert_array_equal(rows[of], (pe.tensor(a[of]) @ pe.tensor(b[i])).numpy())
        np.testing.assert_allclose(parts[i], a[of].T.astype(float) @ c[of], rtol=1e-4, atol=1e-4)


def test_grouped_gradients():
    offs = pe.tensor([2, 2, 5])
    a, b, c = (pe.tensor(normal(*shape), requires_grad=True) for shape in ((5, 3), (3, 3, 4), (5, 4)))
    assert gradcheck(lambda a, b: F.grouped_mm(a, b, offs=offs).square(), (a, b))
    assert gradcheck(lambda a, c: F.grouped_mm(a.transpose(0, 1), c, offs=offs).square(), (a, c))
    F.grouped_mm(a, b, offs=offs).sum().backward()
    first = b.grad.numpy().copy()
    F.grouped_mm(a, b, offs=offs).sum().backward()  # straight onto .grad
    np.testing.assert_allclose(b.grad.numpy(), 2 * first, rtol=1e-6, atol=1e-6)  # its chains start at .grad
    assert not first[1].any()


def by_token(layer, x):
    """The formula in float64, token by token."""

    def value(p):
        return p.detach().numpy().astype(np.float64)

    def net(x, gate, up, down):
        hidden = x @ gate
        return (hidden / (1 + np.exp(-hidden)) * (x @ up)) @ down

    gate, experts, shared = layer.gate, layer.experts, layer.shared_experts
    out = np.zeros(x.shape, np.float64)
    for t, row in enumerate(x.astype(np.float64)):
        logits = value(gate.weight) @ row
        scores = 1 / (1 + np.exp(-logits))
        if gate.scoring_func == "softmax":
            scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        bias = 0 if gate.e_score_correction_bias is None else value(gate.e_score_correction_bias)
        chosen = np.argsort(-(scores + bias), kind="stable")[: gate.top_k]
        weights = scores[chosen] / (scores[chosen].sum() if gate.norm_topk_prob else 1) * gate.routed_scaling_factor
        for e, weight in zip(chosen, weights, strict=True):
            own = [value(p)[e] for p in (experts.gate_proj, experts.up_proj, experts.down_proj)]
            out[t] += weight * net(row, *own)
        if shared is not None:
            out[t] += net(row, *[value(m.weight).T for m in (shared.gate_proj, shared.up_proj, shared.down_proj)])
    return out


KINDS = [
    {}, {"top_k": 1, "norm_topk_prob": False}, {"top_k": 3, "scoring_func": "sigmoid", "routed_scaling_factor": 2.5},
    {"shared_dim": 24, "scoring_func": "sigmoid", "bias_update_rate": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("options", KINDS)
def test_is_a_loop_over_tokens(options):
    layer = nn.MixtureOfExperts(16, 20, 6, **options)
    x = normal(50, 16)
    if layer.gate.e_score_correction_bias is not None:
        layer.gate.e_score_correction_bias.copy_(pe.tensor([9.0, 0, 0, -9, 0, 0]))
    expected = by_token(layer, x)
    np.testing.assert_allclose(layer(pe.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    whole = layer(pe.tensor(x.reshape(5, 10, 16)))
    assert whole.shape == (5, 10, 16)
    alone = np.stack([layer(pe.tensor(row)).detach().numpy() for row in x])  # whatever the other tokens are
    np.testing.assert_allclose(whole.detach().numpy().reshape(50, 16), alone, rtol=1e-6, atol=1e-7)


def test_gradients_are_those_of_the_loop():
    layer = nn.MixtureOfExperts(6, 5, 4, 2, shared_dim=3)
    x = pe.tensor(normal(7, 6), requires_grad=True)
    names = [name for name, _ in layer.named_parameters()]

    def function(x, *values):
        return nn.utils.stateless.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert gradcheck(function, (x, *layer.parameters()), eps=1e-3, atol=2e-3, rtol=2e-2)
    layer(x).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_bits_and_routing_do_not_depend_on_threads():
    layer = nn.MixtureOfExperts(64, 96, 24, 4, scoring_func="sigmoid")
    x, results = pe.tensor(normal(700, 64), requires_grad=True), []
    for threads in (1, 2, 3):
        with pe.num_threads(threads):
            layer.zero_grad()
            x.grad = None
            out = layer(x)
            (out.square().sum() + layer.aux_loss).backward()
            results.append([out.detach().numpy(), x.grad.numpy(), *(p.grad.numpy() for p in layer.parameters())])
    for result in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_experts_without_tokens():
    layer = nn.MixtureOfExperts(8, 8, 5, 1, norm_topk_prob=False)
    with pe.no_grad():
        layer.gate.weight.copy_(pe.zeros(5, 8))  # all alike: the first is chosen
    layer(pe.tensor(normal(9, 8))).sum().backward()
    assert layer.load.tolist() == [9, 0, 0, 0, 0]
    grad = layer.experts.gate_proj.grad.numpy()
    assert grad[0].any() and not grad[1:].any()
    assert layer(pe.zeros(0, 8)).shape == (0, 8)


def test_balance_by_loss():
    pe.manual_seed(0)
    layer = nn.MixtureOfExperts(8, 8, 4, 2)
    x = pe.tensor(normal(200, 8) + 1)
    optimizer, before = pe.optim.AdamW(layer.gate.parameters(), lr=0.05), None
    for _ in range(60):
        layer.load = None
        layer(x)
        before = layer.aux_loss.item() if before is None else before
        optimizer.zero_grad()
        layer.aux_loss.backward()
        optimizer.step()
    scores = F.softmax(F.linear(x, layer.gate.weight), 1).detach().numpy()
    layer.load = None
    layer(x)
    shares = layer.load.numpy() / 400
    np.testing.assert_allclose(layer.aux_loss.item(), 4 * (shares * scores.mean(0)).sum(), rtol=1e-5)
    assert layer.aux_loss.item() < before and layer.aux_loss.item() < 1.1


def test_balance_by_bias():
    pe.manual_seed(0)
    layer = nn.MixtureOfExperts(8, 8, 8, 2, scoring_func="sigmoid", bias_update_rate=0.005)
    x = pe.tensor(normal(400, 8) + 1)
    loads = []
    for _ in range(250):
        layer(x)
        loads.append(layer.load.numpy())
        layer.update_bias()
        assert layer.load is None
    assert loads[-1].max() < 1.3 * 100 < loads[0].max()
    assert "gate.e_score_correction_bias" in layer.state_dict()
    other = copy.deepcopy(layer)  # with a loss on its tape
    assert other.aux_loss is None
    np.testing.assert_array_equal(other.eval()(x).detach().numpy(), layer.eval()(x).detach().numpy())


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: nn.MixtureOfExperts(4, 4, 3, 4), ValueError, "top_k"),
        (lambda: nn.MixtureOfExperts(4, 4, 3, scoring_func="tanh"), ValueError, "scoring_func"),
        (lambda: nn.MixtureOfExperts(4, 4, 3)(pe.zeros(2, 5)), ValueError, r"\(2, 5\).*4"),
        (lambda: nn.MixtureOfExperts(4, 4, 3)(pe.tensor([[0.0] * 4, [float("nan")] * 4])), ValueError, "token 1.*NaN"),
        (lambda: F.grouped_mm(pe.zeros(3, 2), pe.zeros(2, 2, 2), offs=pe.tensor([1, 2])), ValueError, "2 of 3"),
        (lambda: F.grouped_mm(pe.zeros(3, 2), pe.zeros(2, 2, 2), offs=pe.tensor([4, 3])), ValueError, "4"),
        (lambda: F.grouped_mm(pe.zeros(3, 2), pe.zeros(2, 3, 2), offs=pe.tensor([1, 3])), ValueError, "fit"),
        (lambda: F.grouped_mm(pe.zeros(3, 2), pe.zeros(2, 2), offs=pe.tensor([1.0])), TypeError, "offs"),
    ],
)
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
