"""The family of optimizers against their formulas in float64, step by step; hooks, names, averages, clipping."""

import math

import numpy as np
import pytest

import pyengine as pe
from pyengine import _core, optim

SHAPES = [(3,), (4, 5), (), (0, 2), (129, 257)]
STEPS = 12


def turned(p, g, o):
    return (-g if o.get("maximize") else g) + o.get("weight_decay", 0) * p


def moments(g, s, betas):
    s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
    s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
    return s["m"], s["v"]


def amsgrad(p, g, s, t, lr, betas=(0.9, 0.999), eps=1e-8, **o):
    m, v = moments(turned(p, g, o), s, betas)
    s["most"] = np.maximum(s.get("most", 0), v)
    return p - lr * m / (1 - betas[0] ** t) / (np.sqrt(s["most"] / (1 - betas[1] ** t)) + eps)


def nadam(p, g, s, t, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, momentum_decay=4e-3, **o):
    m, v = moments(turned(p, g, o), s, betas)
    mu, following = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
    s["product"] = s.get("product", 1) * mu
    root = np.sqrt(v / (1 - betas[1] ** t)) + eps
    g = turned(p, g, o)
    return p - lr * ((1 - mu) / (1 - s["product"]) * g + following / (1 - s["product"] * following) * m) / root


def radam(p, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, **o):
    m, v = moments(turned(p, g, o), s, betas)
    limit = 2 / (1 - betas[1]) - 1
    rho = limit - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
    m = m / (1 - betas[0] ** t)
    if rho <= 5:
        return p - lr * m
    r = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    return p - lr * r * m * math.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)


def adamax(p, g, s, t, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, **o):
    g = turned(p, g, o)
    m, _ = moments(g, s, betas)
    s["u"] = np.maximum(betas[1] * s.get("u", 0), np.abs(g) + eps)
    return p - lr / (1 - betas[0] ** t) * m / s["u"]


def adagrad(p, g, s, t, lr=1e-2, lr_decay=0, initial_accumulator_value=0, eps=1e-10, **o):
    g = turned(p, g, o)
    s["sum"] = s.get("sum", initial_accumulator_value) + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)


def adadelta(p, g, s, t, lr=1.0, rho=0.9, eps=1e-6, **o):
    g = turned(p, g, o)
    s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
    delta = np.sqrt(s.get("a", 0) + eps) / np.sqrt(s["v"] + eps) * g
    s["a"] = rho * s.get("a", 0) + (1 - rho) * delta**2
    return p - lr * delta


def rmsprop(p, g, s, t, lr=1e-2, alpha=0.99, eps=1e-8, momentum=0, centered=False, **o):
    g = turned(p, g, o)
    s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
    s["m"] = alpha * s.get("m", 0) + (1 - alpha) * g
    step = g / (np.sqrt(s["v"] - s["m"] ** 2 if centered else s["v"]) + eps)
    s["b"] = momentum * s.get("b", 0) + step
    return p - lr * s["b"]


def rprop(p, g, s, t, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), **o):
    g = turned(p, g, o)
    same = g * s.get("prev", 0)
    factor = np.where(same > 0, etas[1], np.where(same < 0, etas[0], 1))
    s["size"] = np.clip(s.get("size", lr) * factor, *step_sizes)
    s["prev"] = np.where(same < 0, 0, g)
    return p - np.sign(s["prev"]) * s["size"]


def asgd(p, g, s, t, lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, **o):
    g = turned(p, g, o)
    p = p * (1 - lambd * s.get("eta", lr)) - s.get("eta", lr) * g
    s["eta"] = lr / (1 + lambd * lr * t) ** alpha
    return p


def lamb(p, g, s, t, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0, **o):
    m, v = moments(turned(p, g, o), s, betas)
    u = m / (1 - betas[0] ** t) / (np.sqrt(v / (1 - betas[1] ** t)) + eps) + weight_decay * p
    sizes = np.linalg.norm(p), np.linalg.norm(u)
    return p - lr * (sizes[0] / sizes[1] if min(sizes) > 0 else 1) * u


CASES = [
    (optim.Adam, amsgrad, {"lr": 0.01, "amsgrad": True}),
    (optim.Adam, amsgrad, {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1, "maximize": True}),
    (optim.NAdam, nadam, {}),
    (optim.NAdam, nadam, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "momentum_decay": 0.01}),
    (optim.RAdam, radam, {"lr": 0.01}),
    (optim.RAdam, radam, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "maximize": True}),
    (optim.Adamax, adamax, {}),
    (optim.Adamax, adamax, {"betas": (0.5, 0.8), "weight_decay": 0.1, "eps": 1e-3}),
    (optim.Adagrad, adagrad, {}),
    (optim.Adagrad, adagrad, {"lr_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True}),
    (optim.Adadelta, adadelta, {}),
    (optim.Adadelta, adadelta, {"rho": 0.5, "eps": 1e-2, "weight_decay": 0.1}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"momentum": 0.9, "weight_decay": 0.1}),
    (optim.RMSprop, rmsprop, {"centered": True, "eps": 1e-2}),
    (optim.RMSprop, rmsprop, {"centered": True, "momentum": 0.5, "eps": 1e-2, "maximize": True}),
    (optim.Rprop, rprop, {}),
    (optim.Rprop, rprop, {"lr": 0.1, "etas": (0.3, 2.0), "step_sizes": (0.05, 0.3), "maximize": True}),
    (optim.ASGD, asgd, {}),
    (optim.ASGD, asgd, {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "weight_decay": 0.1}),
    (optim.LAMB, lamb, {"lr": 0.01}),
    (optim.LAMB, lamb, {"lr": 0.01, "weight_decay": 0.1, "betas": (0.5, 0.9)}),
]
IDS = [f"{kind.__name__}-{options}" for kind, _, options in CASES]


def draw(rng, shape):
    return rng.standard_normal(shape).astype(np.float32)


def parameters(seed=0, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return [pe.nn.Parameter(pe.tensor(draw(rng, shape))) for shape in shapes]


@pytest.mark.parametrize("kind, formula, options", CASES, ids=IDS)
def test_formula(kind, formula, options):
    params, rng = parameters(), np.random.default_rng(1)
    expected = [param.detach().double().numpy() for param in params]
    states = [{} for _ in params]
    optimizer = kind(params, **options)
    for t in range(1, STEPS + 1):
        for i, param in enumerate(params):
            gradient = draw(rng, param.shape)
            param.grad = pe.tensor(gradient)
            expected[i] = formula(expected[i], gradient.astype(np.float64), states[i], t, **options)
        optimizer.step()
    for param, value in zip(params, expected, strict=True):
        np.testing.assert_allclose(param.detach().numpy(), value, rtol=1e-5, atol=1e-5)


ALL = [(kind, options) for kind, _, options in CASES] + [
    (optim.Adafactor, {}),
    (optim.Adafactor, {"lr": 0.1, "weight_decay": 0.1, "eps": (1e-6, 1e-2), "maximize": True}),
    (optim.Muon, {"lr": 0.01}),
    (optim.Muon, {"nesterov": False, "adjust_lr_fn": "match_rms_adamw"}),
]


@pytest.mark.parametrize("kind, options", ALL, ids=[f"{k.__name__}-{o}" for k, o in ALL])
def test_state_dict_continues_bit_for_bit(kind, options):
    shapes = [(4, 5), (30, 7)] if kind is optim.Muon else [*SHAPES[:2], (2, 3, 4)]
    params, rng = parameters(shapes=shapes), np.random.default_rng(3)
    twins = [pe.nn.Parameter(p.detach().clone()) for p in params]
    optimizer, other = kind(params, **options), kind(twins)
    for t in range(6):
        if t == 3:
            for twin, param in zip(twins, params, strict=True):
                twin.detach().copy_(param.detach())
            other.load_state_dict(optimizer.state_dict())
        for twin, param in zip(twins, params, strict=True):
            param.grad = pe.tensor(draw(rng, param.shape))
            twin.grad = param.grad.clone()
        optimizer.step()
        if t >= 3:
            other.step()
    assert [twin.tolist() for twin in twins] == [param.tolist() for param in params]


@pytest.mark.parametrize("kind, options", ALL, ids=[f"{k.__name__}-{o}" for k, o in ALL])
def test_it_learns(kind, options):
    """Every optimizer gets below half of where it began on a bowl, with rates that suit it."""
    rates = {optim.Adadelta: 10.0, optim.Adafactor: 0.3, optim.RAdam: 0.1, optim.Muon: 0.1, optim.Adagrad: 0.5}
    options = {**options, "lr": rates.get(kind, 0.05), "maximize": False, "weight_decay": 0.0}
    for name in ("maximize", "weight_decay"):
        if name not in kind([pe.nn.Parameter(pe.ones(1, 1))]).defaults:
            del options[name]
    param = pe.nn.Parameter(pe.tensor(draw(np.random.default_rng(0), (6, 5))))
    optimizer, first = kind([param], **options), None
    for _ in range(150):
        optimizer.zero_grad()
        loss = (param * param).mean()
        loss.backward()
        optimizer.step()
        first = loss.item() if first is None else first
    assert loss.item() < 0.5 * first


def test_muon_directions_are_orthogonal():
    for shape in [(8, 8), (5, 12), (12, 5)]:
        x = optim.muon.orthogonal(pe.tensor(draw(np.random.default_rng(0), shape)))
        singular = np.linalg.svd(x.numpy(), compute_uv=False)
        assert singular.min() > 0.5 and singular.max() < 1.3, singular


def test_adafactor_keeps_rows_and_columns():
    param = pe.nn.Parameter(pe.ones(6, 5))
    param.grad = pe.ones(6, 5)
    optimizer = optim.Adafactor([param])
    optimizer.step()
    assert optimizer.state[param]["row_var"].shape == (6, 1) and optimizer.state[param]["col_var"].shape == (1, 5)


@pytest.mark.parametrize("line_search", [None, "strong_wolfe"])
def test_lbfgs_solves_a_quadratic(line_search):
    rng = np.random.default_rng(0)
    a = draw(rng, (6, 6))
    a = pe.tensor(a @ a.T + np.eye(6, dtype=np.float32))
    params = [pe.nn.Parameter(pe.tensor(draw(rng, (4,)))), pe.nn.Parameter(pe.tensor(draw(rng, (2, 1))))]
    optimizer = optim.LBFGS(params, lr=1 if line_search else 0.5, max_iter=60, line_search_fn=line_search)
    calls = []

    def closure():
        optimizer.zero_grad()
        x = pe.cat([p.reshape(-1) for p in params], 0)
        loss = (pe.matmul(a, x) * x).sum()
        loss.backward()
        calls.append(loss.item())
        return loss

    assert optimizer.step(closure).item() == calls[0]
    assert calls[-1] < 1e-5 * calls[0]
    assert optimizer.state[params[0]]["func_evals"] == len(calls)
    twin = optim.LBFGS([pe.nn.Parameter(p.detach().clone()) for p in params])
    twin.load_state_dict(optimizer.state_dict())
    assert twin.state[twin.param_groups[0]["params"][0]]["d"].tolist() == optimizer.state[params[0]]["d"].tolist()


@pytest.mark.parametrize("kind", [optim.NAdam, optim.RAdam, optim.Adamax, optim.Adagrad, optim.Adadelta, optim.RMSprop,
                                  optim.Rprop, optim.ASGD, optim.Adafactor, optim.LAMB])  # fmt: skip
def test_nan_gradients_are_seen(kind):
    p = pe.nn.Parameter(pe.ones(20))
    p.grad = pe.tensor([float("nan")] * 20)
    kind([p]).step()
    assert np.isnan(p.detach().numpy()).all()


@pytest.mark.parametrize("kind", [optim.NAdam, optim.RAdam, optim.RMSprop, optim.Rprop, optim.ASGD])
def test_one_call_a_step(monkeypatch, kind):
    calls, step = [], _core.optim_step
    monkeypatch.setattr(_core, "optim_step", lambda *call: calls.append(len(call[1])) or step(*call))
    params = parameters()
    optimizer = kind(params)
    for _ in range(2):
        for param in params:
            param.grad = pe.ones(param.shape)
        optimizer.step()
    assert calls == [len(params)] * 2


def test_hooks():
    p, seen = pe.nn.Parameter(pe.ones(1)), []
    optimizer = optim.SGD([p], lr=0.5)
    p.grad = pe.ones(1)
    before = optimizer.register_step_pre_hook(lambda o, args, kwargs: seen.append(("before", p.item())))
    optimizer.register_step_post_hook(lambda o, args, kwargs: seen.append(("after", p.item())))
    optimizer.step()
    before.remove()
    optimizer.step()
    assert seen == [("before", 1.0), ("after", 0.5), ("after", 0.0)]


def test_named_parameters_and_rates_as_tensors():
    layer = pe.nn.Linear(2, 3)
    optimizer = optim.Adam(layer.named_parameters(), lr=pe.tensor(0.5))
    group = optimizer.param_groups[0]
    assert group["param_names"] == ["weight", "bias"] and group["lr"] == 0.5
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


def test_refusals():
    p = pe.nn.Parameter(pe.ones(2))
    cases = [
        (ValueError, "no matrix", lambda: optim.Muon([p])),
        (ValueError, "adjust_lr_fn", lambda: optim.Muon([pe.nn.Parameter(pe.ones(2, 2))], adjust_lr_fn="other")),
        (ValueError, "rho must be", lambda: optim.Adadelta([p], rho=1.5)),
        (ValueError, "momentum must be", lambda: optim.RMSprop([p], momentum=-1)),
        (ValueError, "lr_decay must be", lambda: optim.Adagrad([p], lr_decay=-1)),
        (ValueError, "momentum_decay must be", lambda: optim.NAdam([p], momentum_decay=-1)),
        (ValueError, "etas must be", lambda: optim.Rprop([p], etas=(1.5, 1.2))),
        (ValueError, "d must be", lambda: optim.Adafactor([p], d=0.5)),
        (ValueError, "eps must be", lambda: optim.Adafactor([p], eps=(None, -1))),
        (ValueError, "one group", lambda: optim.LBFGS([{"params": [p]}, {"params": [pe.nn.Parameter(pe.ones(1))]}])),
        (RuntimeError, "strong_wolfe", lambda: optim.LBFGS([p], line_search_fn="other")),
        (NotImplementedError, "not recorded", lambda: optim.Adam([p], differentiable=True)),
        (ValueError, "one element|1 element", lambda: optim.Adam([p], lr=pe.ones(2))),
    ]
    for kind, text, make in cases:
        with pytest.raises(kind, match=text):
            make()


# ---- clipping and averages ----


def test_norms_against_numpy():
    rng = np.random.default_rng(0)
    arrays = [draw(rng, shape) for shape in [(3,), (), (0, 4), (40, 50), (70_001,)]]
    tensors = [pe.tensor(a) for a in arrays]
    flat = np.concatenate([a.ravel() for a in arrays]).astype(np.float64)
    for p in (1, 2, 3, math.inf, 0.5):
        total = pe.nn.utils.get_total_norm(tensors, p).item()
        assert total == pytest.approx(np.linalg.norm(flat, p), rel=1e-6), p
    assert pe.nn.utils.get_total_norm(tensors, 0).item() == 4.0  # as torch: tensors that are not zero
    strided = [pe.tensor(arrays[3]).t()[::2], pe.tensor(arrays[3])[:, 3]]
    together = np.sqrt(sum((a.numpy().astype(np.float64) ** 2).sum() for a in strided))
    assert pe.nn.utils.get_total_norm(strided).item() == pytest.approx(together, rel=1e-6)
    assert pe.nn.utils.get_total_norm([]).item() == 0.0


def test_norm_has_the_same_bits_for_any_number_of_threads():
    tensors, results = [pe.tensor(draw(np.random.default_rng(0), (n,))) for n in (1_000_003, 7, 300_000)], set()
    for threads in (1, 2, 3, 8):
        with pe.num_threads(threads):
            results.add((_core.norm2(tensors), *_core.norms(tensors)))
    assert len(results) == 1
    for norm, tensor in zip(results.pop()[1:], tensors, strict=True):
        assert norm == _core.norm2([tensor]) == pytest.approx(np.linalg.norm(tensor.numpy().astype("f8")), rel=1e-6)
    assert _core.norms([]) == [] and _core.norms([pe.zeros(0), pe.ones(4)]) == [0, 2]
    with pytest.raises(ValueError, match="norm2: tensor 1 has shape"):
        _core.norms([pe.ones(1), pe.ones(2).double()])


def test_clipping():
    params = parameters(shapes=[(3,), (40, 50)])
    for param in params:
        param.grad = pe.full(param.shape, 2.0)
    before = [param.grad.version for param in params]
    total = pe.nn.utils.clip_grad_norm_(iter(params), 1.0)
    assert total.item() == pytest.approx(2 * math.sqrt(2003))
    assert pe.nn.utils.get_total_norm([p.grad for p in params]).item() == pytest.approx(1.0, rel=1e-5)
    assert [param.grad.version for param in params] == [version + 1 for version in before]
    pe.nn.utils.clip_grad_norm_(params, 5.0)
    assert pe.nn.utils.get_total_norm([p.grad for p in params]).item() == pytest.approx(1.0, rel=1e-5)
    pe.nn.utils.clip_grad_value_(params, 1e-3)
    assert params[1].grad.amax().item() == pytest.approx(1e-3)
    params[0].grad = pe.tensor([math.nan, 1.0, math.inf])
    with pytest.raises(RuntimeError, match="non-finite"):
        pe.nn.utils.clip_grad_norm_(params, 1.0, error_if_nonfinite=True)
    pe.nn.utils.clip_grad_norm_(params, 1.0)
    assert np.isnan(params[0].grad.numpy()).all() and np.isnan(params[1].grad.numpy()).all()
    assert pe.nn.utils.clip_grad_norm_([], 1.0).item() == 0.0


def test_parameters_as_a_vector():
    params = parameters(shapes=[(3,), (2, 2)])
    vector = pe.nn.utils.parameters_to_vector(params)
    assert vector.shape == (7,) and vector.requires_grad
    pe.nn.utils.vector_to_parameters(pe.arange(7).float(), params)
    assert params[0].tolist() == [0, 1, 2] and params[1].tolist() == [[3, 4], [5, 6]]
    with pytest.raises(RuntimeError, match="7 elements"):
        pe.nn.utils.vector_to_parameters(pe.ones(6), params)


@pytest.mark.parametrize("make", [
    lambda u, m: u.AveragedModel(m), lambda u, m: u.AveragedModel(m, avg_fn=u.get_swa_avg_fn()),
    lambda u, m: u.AveragedModel(m, multi_avg_fn=u.get_ema_multi_avg_fn(0.75), use_buffers=True),
    lambda u, m: u.AveragedModel(m, avg_fn=u.get_ema_avg_fn(0.75))])  # fmt: skip
def test_averaged_models(make):
    model = pe.nn.Linear(3, 2)
    model.register_buffer("seen", pe.zeros(2))
    average = make(optim.swa_utils, model)
    ema = "ema" in str((average.avg_fn or average.multi_avg_fn or len).__qualname__)
    expected = None
    for k in range(1, 6):
        model.weight.detach().fill_(float(k))
        average.update_parameters(model)
        if expected is None:
            expected = float(k)
        else:
            expected = 0.75 * expected + 0.25 * k if ema else expected + (k - expected) / k
    assert average.module.weight.tolist() == pytest.approx(np.full((2, 3), expected))
    assert int(average.n_averaged.item()) == 5
    assert average(pe.ones(1, 3)).shape == (1, 2)
    with pytest.raises(ValueError, match="Invalid decay"):
        optim.swa_utils.get_ema_multi_avg_fn(1.5)
