"""Optimizers against their formulas in float64, step by step; groups, states, refusals, bits."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import _core, optim

# small, empty, without axes, and across the chunks of 16,384 elements
SHAPES = [(3,), (4, 5), (), (0, 2), (129, 257)]
STEPS = 5


def sgd(p, g, s, t, lr, momentum=0, dampening=0, weight_decay=0, nesterov=False, maximize=False):
    g = (-g if maximize else g) + weight_decay * p
    if momentum:
        s["b"] = g if t == 1 else momentum * s["b"] + (1 - dampening) * g
        g = g + momentum * s["b"] if nesterov else s["b"]
    return p - lr * g


def adam(p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, maximize=False, decoupled=False):
    g = -g if maximize else g
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    return p - lr * (s["m"] / (1 - betas[0] ** t)) / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps)


def adamw(p, g, s, t, lr, weight_decay=1e-2, **named):
    return adam(p, g, s, t, lr, weight_decay=weight_decay, decoupled=True, **named)


def lion(p, g, s, t, lr, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
    g, m = (-g if maximize else g), s.get("m", 0)
    s["m"] = betas[1] * m + (1 - betas[1]) * g
    return p * (1 - lr * weight_decay) - lr * np.sign(betas[0] * m + (1 - betas[0]) * g)


CASES = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    (optim.Adam, adam, {"lr": 0.01}),
    (optim.Adam, adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    (optim.AdamW, adamw, {"lr": 0.01}),
    (optim.AdamW, adamw, {"lr": 0.1, "betas": (0.0, 0.9), "weight_decay": 0.5}),
    (optim.Lion, lion, {"lr": 0.01}),
    (optim.Lion, lion, {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.3, "maximize": True}),
]


def draw(rng, shape):
    return rng.standard_normal(shape).astype(np.float32)


def set_gradients(params, gradients):
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = None if gradient is None else pe.tensor(gradient)


def parameters(seed=0, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return [pe.nn.Parameter(pe.tensor(draw(rng, shape))) for shape in shapes]


@pytest.mark.parametrize("kind, formula, options", CASES, ids=[f"{k.__name__}-{o}" for k, _, o in CASES])
def test_formula(kind, formula, options):
    params, rng = parameters(), np.random.default_rng(1)
    expected = [param.detach().double().numpy() for param in params]
    states = [{} for _ in params]
    optimizer = kind(params, **options)
    for t in range(1, STEPS + 1):
        gradients = [draw(rng, param.shape) for param in params]
        set_gradients(params, gradients)
        optimizer.step()
        for i, gradient in enumerate(gradients):
            expected[i] = formula(expected[i], gradient.astype(np.float64), states[i], t, **options)
    for param, value in zip(params, expected, strict=True):
        np.testing.assert_allclose(param.detach().numpy(), value, rtol=3e-6, atol=3e-6)


def test_lion_stands_still_without_gradient():
    p = pe.nn.Parameter(pe.tensor([1.0, 2.0]))
    p.grad = pe.zeros(2)
    optim.Lion([p], lr=0.1).step()
    assert p.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.Lion])
def test_nan_gradients_are_seen(kind):
    p = pe.nn.Parameter(pe.ones(20))
    p.grad = pe.tensor([float("nan")] * 20)
    kind([p]).step()
    assert np.isnan(p.detach().numpy()).all()


def test_one_call_a_group(monkeypatch):
    calls, step = [], _core.optim_step
    monkeypatch.setattr(_core, "optim_step", lambda *call: calls.append(call) or step(*call))
    params = parameters()
    optimizer = optim.AdamW([{"params": params[:2]}, {"params": params[2:], "lr": 0.5, "weight_decay": 0.0}], lr=0.1)
    set_gradients(params, [np.ones(shape, np.float32) for shape in SHAPES])
    optimizer.step()
    assert [(rule, len(chosen), hyper[0], hyper[4]) for rule, chosen, _, _, hyper, _ in calls] == [
        ("adam", 2, 0.1, 0.01),
        ("adam", 3, 0.5, 0.0),
    ]


@pytest.mark.parametrize("kind, formula, options", [CASES[3], CASES[5]], ids=["sgd", "adam"])
def test_parameters_without_gradient_wait(kind, formula, options):
    """A parameter whose gradient comes later starts its own count of steps then."""
    params, rng = parameters(shapes=[(3,), (3,)]), np.random.default_rng(2)
    before = params[1].tolist()
    optimizer = kind(params, **options)
    expected, state = params[1].detach().double().numpy(), {}
    for t in range(4):
        late = draw(rng, (3,)) if t >= 2 else None
        set_gradients(params, [draw(rng, (3,)), late])
        optimizer.step()
        if late is None:
            assert params[1].tolist() == before and params[1] not in optimizer.state
        else:
            expected = formula(expected, late.astype(np.float64), state, t - 1, **options)
    np.testing.assert_allclose(params[1].detach().numpy(), expected, rtol=3e-6)


@pytest.mark.parametrize("kind, formula, options", CASES, ids=[f"{k.__name__}-{o}" for k, _, o in CASES])
def test_state_dict_continues_bit_for_bit(kind, formula, options):
    params, rng = parameters(), np.random.default_rng(3)
    twins = [pe.nn.Parameter(p.detach().clone()) for p in params]
    optimizer, other = kind(params, **options), kind(twins, lr=7.0)
    gradients = [[draw(rng, shape) for shape in SHAPES] for _ in range(4)]
    for t in range(4):
        if t == 2:
            with pe.no_grad():
                for twin, param in zip(twins, params, strict=True):
                    twin.copy_(param)
            other.load_state_dict(optimizer.state_dict())
        set_gradients(params, gradients[t])
        optimizer.step()
        if t >= 2:
            set_gradients(twins, gradients[t])
            other.step()
    for twin, param in zip(twins, params, strict=True):
        assert twin.tolist() == param.tolist()


def test_state_dict_of_another_model_is_refused():
    params = parameters(shapes=[(3,), (4,)])
    optimizer = optim.Adam(params, lr=0.5)
    set_gradients(params, [np.ones(3, np.float32), np.ones(4, np.float32)])
    optimizer.step()
    state = optimizer.state_dict()
    assert sorted(state["state"]) == [0, 1] and state["param_groups"][0]["params"] == [0, 1]
    fewer = optim.Adam(parameters(shapes=[(3,)]))
    with pytest.raises(ValueError, match=r"groups of \[2\] parameters.*\[1\]"):
        fewer.load_state_dict(state)
    other = optim.Adam(parameters(shapes=[(4,), (3,)]), lr=0.25)
    with pytest.raises(ValueError, match=r"exp_avg of parameter 0 has shape \(3,\), the parameter \(4,\)"):
        other.load_state_dict(state)
    assert other.state == {} and other.param_groups[0]["lr"] == 0.25


def test_step_and_zero_grad():
    p = pe.nn.Parameter(pe.tensor([3.0]))
    optimizer = optim.SGD([p], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with pe.no_grad():
        assert optimizer.step(closure).item() == 9.0
    assert p.item() == 1.5 and p.requires_grad
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.item() == 0.0
    optimizer.zero_grad()
    assert p.grad is None
    optimizer.step()  # nothing to do
    assert "lr: 0.25" in repr(optimizer)


def test_refusals():
    p = pe.nn.Parameter(pe.ones(2))
    cases = [
        (TypeError, "iterable", lambda: optim.SGD(p)),
        (ValueError, "no parameters", lambda: optim.Adam([])),
        (TypeError, "parameter 1 is no Tensor but int", lambda: optim.Adam([p, 3])),
        (ValueError, "parameter 1 of shape .* twice", lambda: optim.Adam([p, p])),
        (ValueError, "no leaf", lambda: optim.Adam([p * 2])),
        (ValueError, "lr must be", lambda: optim.SGD([p], lr=-1)),
        (ValueError, "lr must be", lambda: optim.SGD([p], lr=float("nan"))),
        (ValueError, r"betas\[1\]", lambda: optim.Lion([p], betas=(0.9, 1.0))),
        (ValueError, "eps must be", lambda: optim.Adam([p], eps=-1)),
        (ValueError, "momentum must be", lambda: optim.SGD([p], momentum=-1)),
        (ValueError, "nesterov needs", lambda: optim.SGD([p], nesterov=True)),
        (ValueError, "no rate", lambda: optim.SGD([{"params": [p], "rate": 1}])),
        (TypeError, "'params'", lambda: optim.SGD([{"lr": 1}])),
    ]
    for kind, text, make in cases:
        with pytest.raises(kind, match=text):
            make()
    frozen = np.ones(2, np.float32)
    frozen.setflags(write=False)
    locked = pe.nn.Parameter(pe.from_numpy(frozen))
    locked.grad = pe.ones(2)
    with pytest.raises(ValueError, match="read-only"):
        optim.SGD([locked], lr=1.0).step()


def test_the_tape_sees_the_step():
    """A step between forward and backward is an in-place write: an error, not a wrong gradient."""
    p = pe.nn.Parameter(pe.ones(2))
    loss = (p * p).sum()
    p.grad = pe.ones(2)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.Lion])
def test_same_bits_for_any_number_of_threads(kind):
    shapes, results = [(300, 1001), (7,), (100_003,)], []
    for threads in (1, 2, 3, 8):
        with pe.num_threads(threads):
            params = parameters(5, shapes)
            optimizer = kind(params, lr=0.01)
            before = pe.pool_stats()["worker_chunks"]
            for t in range(40):
                waves = [np.cos(t + np.arange(p.numel(), dtype=np.float32)).reshape(p.shape) for p in params]
                set_gradients(params, waves)
                optimizer.step()
            if threads > 1:
                assert pe.pool_stats()["worker_chunks"] > before, "no other thread took a chunk"
            results.append([p.detach().numpy().tobytes() for p in params])
    assert all(result == results[0] for result in results)
