"""Every optimizer beside torch's: 100 steps of torch's own option samples and of more, states loaded both ways,
schedules rate by rate."""

import importlib.util
import warnings

import numpy as np
import pytest
from require import require

import pyengine as pe

STEPS = 100
SHAPES = [(7,), (20, 30), (1,), (2, 3, 4)]

CASES = [
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True, "fused": None, "foreach": False}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01, "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-4}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.01, "momentum_decay": 6e-3, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("NAdam", {"betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    ("RAdam", {"lr": 0.01}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.99)}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "maximize": True}),
    ("Adamax", {"lr": 0.01}),
    ("Adamax", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.5, 0.9), "maximize": True}),
    ("Adagrad", {"lr": 0.1}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "alpha": 0.9, "eps": 1e-3}),
    ("RMSprop", {"centered": True, "momentum": 0.5, "maximize": True, "eps": 1e-3}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.05, "etas": (0.4, 1.3), "step_sizes": (1e-3, 0.2), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.05, "lambd": 0.01, "alpha": 0.5, "t0": 10, "weight_decay": 0.1}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.1, "weight_decay": 0.1, "maximize": True, "d": 1.5, "beta2_decay": -0.5}),
    ("Muon", {}),
    ("Muon", {"lr": 0.01, "nesterov": False, "momentum": 0.9, "adjust_lr_fn": "match_rms_adamw"}),
]
IDS = [f"{name}-{options}" for name, options in CASES]


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


def shapes_of(name):
    return [s for s in SHAPES if name != "Muon" or len(s) == 2] + [(3, 1)]


def draw(rng, shapes):
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


class Pair:
    """The same parameters under an optimizer of ours and one of torch's."""

    def __init__(self, torch, name, options, seed=0):
        self.torch, self.rng, self.shapes = torch, np.random.default_rng(seed), shapes_of(name)
        start = draw(self.rng, self.shapes)
        self.ours = [pe.nn.Parameter(pe.tensor(value)) for value in start]
        self.theirs = [torch.nn.Parameter(torch.tensor(value)) for value in start]
        own = {key: pe.tensor(value.numpy()) if torch.is_tensor(value) else value for key, value in options.items()}
        self.optimizer = getattr(pe.optim, name)(self.ours, **own)
        self.rival = getattr(torch.optim, name)(self.theirs, **options)

    def gradients(self):
        """The next ones: those of |p - 0.3|^2 / 2 with noise, taken at torch's parameters."""
        for our, their, noise in zip(self.ours, self.theirs, draw(self.rng, self.shapes), strict=True):
            gradient = their.detach().numpy() - np.float32(0.3) + np.float32(0.5) * noise
            our.grad, their.grad = pe.tensor(gradient), self.torch.tensor(gradient)

    def step(self):
        self.gradients()
        self.optimizer.step()
        self.rival.step()

    def agree(self):
        # Muon is held in bfloat16: where the last bit of a sum falls otherwise, a direction moves by 2^-8
        rtol = 1e-5 if "ns_steps" not in self.optimizer.defaults else 2e-4
        for our, their in zip(self.ours, self.theirs, strict=True):
            a, b = our.detach().numpy(), their.detach().numpy()
            assert np.abs(a - b).max() <= rtol * np.abs(b).max(), np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_100_steps(torch, name, options):
    pair = Pair(torch, name, options)
    for _ in range(STEPS):
        pair.step()
    pair.agree()


def samples():
    """torch's own option samples, where its test helpers can be imported (they need expecttest)."""
    try:
        import torch
        from torch.testing._internal.common_optimizers import optim_db
    except ImportError:
        return []
    return [
        pytest.param(info.optim_cls.__name__, dict(sample.kwargs), id=f"{info.optim_cls.__name__}-{sample.desc}")
        for info in optim_db
        if info.optim_cls.__name__ not in ("SparseAdam", "LBFGS")  # no sparse gradients here; LBFGS takes a closure
        for sample in info.optim_inputs_func(device="cpu", dtype=torch.float32)
        if not sample.kwargs.get("differentiable")
    ]


@pytest.mark.parametrize("name, options", samples())
def test_torchs_own_samples(torch, name, options):
    pair = Pair(torch, name, options)
    for _ in range(STEPS):
        pair.step()
    pair.agree()


def as_torch(torch, state):
    """A state_dict of ours with tensors of torch's."""
    if isinstance(state, pe.Tensor):
        return torch.from_numpy(state.numpy().copy())
    if isinstance(state, dict):
        return {key: as_torch(torch, value) for key, value in state.items()}
    return [as_torch(torch, item) for item in state] if isinstance(state, list) else state


@pytest.mark.parametrize("name, options", CASES, ids=IDS)
def test_states_load_both_ways(torch, name, options):
    pair = Pair(torch, name, options)
    for _ in range(5):
        pair.step()
    keys = {key: sorted(entry) for key, entry in pair.rival.state_dict()["state"].items()}
    counted = {key: sorted(set(entry) - {"step"}) for key, entry in pair.optimizer.state_dict()["state"].items()}
    assert counted == {key: [name for name in entry if name != "step"] for key, entry in keys.items()}
    groups = [set(g) for g in (pair.rival.param_groups[0], pair.optimizer.param_groups[0])]
    assert groups[0] - groups[1] == set()

    ours, theirs = pair.optimizer.state_dict(), pair.rival.state_dict()
    pair.optimizer = getattr(pe.optim, name)(pair.ours, lr=3.0)
    pair.optimizer.load_state_dict(theirs)
    pair.rival = getattr(torch.optim, name)(pair.theirs, lr=3.0)
    pair.rival.load_state_dict(as_torch(torch, ours))
    for _ in range(5):
        pair.step()
    pair.agree()


def rosenbrock(x):
    return sum((1 - x[i]) ** 2 + 100 * (x[i + 1] - x[i] ** 2) ** 2 for i in range(3))


def bowl(x):
    return ((x - 0.5) ** 2).sum() + ((x * x) ** 2).sum() * 0.25


@pytest.mark.parametrize("loss", [rosenbrock, bowl])
@pytest.mark.parametrize("options", [{"line_search_fn": "strong_wolfe"}, {"lr": 0.02, "history_size": 3},
                                     {"line_search_fn": "strong_wolfe", "max_iter": 4, "history_size": 2}])  # fmt: skip
def test_lbfgs(torch, loss, options):
    if loss is rosenbrock and "line_search_fn" not in options:
        options = {**options, "lr": 1e-3}
    start = np.array([-1.0, 0.5, 0.8, -0.4], np.float32)
    our, their = pe.nn.Parameter(pe.tensor(start)), torch.nn.Parameter(torch.tensor(start))
    optimizers = pe.optim.LBFGS([our], **options), torch.optim.LBFGS([their], **options)

    def closure(optimizer, x):
        def run():
            optimizer.zero_grad()
            value = loss(x)
            value.backward()
            return value

        return run

    for step in range(6):
        values = [o.step(closure(o, x)).item() for o, x in zip(optimizers, (our, their), strict=True)]
        if step < 2:  # later on roundings decide which way a valley is gone down
            np.testing.assert_allclose(our.detach().numpy(), their.detach().numpy(), rtol=2e-3, atol=2e-4)
            assert values[0] == pytest.approx(values[1], rel=2e-3, abs=1e-5)
    assert loss(our).item() <= loss(their).item() * 1.1 + 1e-6
    fresh = pe.optim.LBFGS([our], **options)
    fresh.load_state_dict(optimizers[1].state_dict())
    assert fresh.state[our]["n_iter"] == optimizers[1].state[their]["n_iter"]


# ---- schedules ----


SCHEDULES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, lambda t: 0.95**t),
    "LambdaLR of two": lambda s, o: s.LambdaLR(o, [lambda t: 0.95**t, lambda t: 1 / (1 + t)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda t: 0.95),
    "StepLR": lambda s, o: s.StepLR(o, 7, gamma=0.5),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, [3, 10, 10, 40], gamma=0.5),
    "ConstantLR": lambda s, o: s.ConstantLR(o, factor=0.25, total_iters=9),
    "LinearLR": lambda s, o: s.LinearLR(o, start_factor=0.1, end_factor=0.8, total_iters=12),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, total_iters=40, power=1.5),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, 13, eta_min=0.01),
    "WarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 7, T_mult=2, eta_min=0.001),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=7, step_size_down=5),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, 0.01, [0.1, 0.2], step_size_up=7, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=7, mode="exp_range", gamma=0.97),
    "CyclicLR of a function": lambda s, o: s.CyclicLR(o, 0.01, 0.1, step_size_up=7, scale_fn=lambda x: 1 / x),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, 0.3, total_steps=61),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(o, [0.3, 0.1], epochs=7, steps_per_epoch=10, three_phase=True,
                                                   anneal_strategy="linear", pct_start=0.2),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9)]),
    "SequentialLR": lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=10), s.CosineAnnealingLR(o, 40),
                                                    s.ExponentialLR(o, 0.9)], milestones=[10, 45]),
    "Sequential of chained": lambda s, o: s.SequentialLR(
        o, [s.ChainedScheduler([s.ConstantLR(o, 0.5, 4), s.ExponentialLR(o, 0.9)]), s.StepLR(o, 5)], milestones=[12]),
}  # fmt: skip


def optimizers(torch):
    pairs = []
    for nn, optim, tensor in ((pe.nn, pe.optim, pe.tensor), (torch.nn, torch.optim, torch.tensor)):
        params = [nn.Parameter(tensor([1.0])) for _ in range(2)]
        pairs.append(optim.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.02}], lr=0.1, momentum=0.9))
    return pairs


@pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)
def test_schedules(torch, make):
    warnings.simplefilter("ignore")
    ours, theirs = optimizers(torch)
    schedule, rival = make(pe.optim.lr_scheduler, ours), make(torch.optim.lr_scheduler, theirs)
    for step in range(60):
        assert schedule.get_last_lr() == pytest.approx(rival.get_last_lr(), rel=1e-12, abs=1e-18), step
        for our, their in zip(ours.param_groups, theirs.param_groups, strict=True):
            assert our["lr"] == pytest.approx(their["lr"], rel=1e-12, abs=1e-18), step
            assert our["momentum"] == pytest.approx(their["momentum"], rel=1e-12), step
        for optimizer, s in ((ours, schedule), (theirs, rival)):
            optimizer.step()
            s.step()


@pytest.mark.parametrize("options", [
    {}, {"patience": 2, "cooldown": 3, "factor": 0.5}, {"mode": "max", "patience": 1},
    {"threshold": 0.05, "threshold_mode": "abs", "patience": 0, "min_lr": [0.001, 0.01]}])  # fmt: skip
def test_plateau(torch, options):
    ours, theirs = optimizers(torch)
    schedule = pe.optim.lr_scheduler.ReduceLROnPlateau(ours, **options)
    rival = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    rng = np.random.default_rng(0)
    for t in range(60):
        metric = float(1 / (1 + t) + 0.2 * rng.random())
        schedule.step(metric)
        rival.step(metric)
        assert schedule.get_last_lr() == pytest.approx(rival.get_last_lr(), rel=1e-12)


@pytest.mark.parametrize("strategy, epochs", [("cos", 10), ("linear", 7), ("cos", 0)])
def test_swalr(torch, strategy, epochs):
    warnings.simplefilter("ignore")
    ours, theirs = optimizers(torch)
    schedule = pe.optim.swa_utils.SWALR(ours, 0.05, epochs, strategy)
    rival = torch.optim.swa_utils.SWALR(theirs, 0.05, epochs, strategy)
    for _ in range(20):
        assert schedule.get_last_lr() == pytest.approx(rival.get_last_lr(), rel=1e-12)
        schedule.step()
        rival.step()


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_averaged_models(torch, kind):
    rng, models = np.random.default_rng(0), [pe.nn.Linear(5, 3), torch.nn.Linear(5, 3)]
    averages = []
    for model, utils in zip(models, (pe.optim.swa_utils, torch.optim.swa_utils), strict=True):
        options = {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)} if kind == "ema" else {}
        averages.append(utils.AveragedModel(model, **options))
    for _ in range(10):
        weight = rng.standard_normal((3, 5)).astype(np.float32)
        models[0].weight.detach().copy_(pe.tensor(weight))
        models[1].weight.detach().copy_(torch.tensor(weight))
        for average, model in zip(averages, models, strict=True):
            average.update_parameters(model)
    a, b = (average.module.weight.detach().numpy() for average in averages)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert sorted(averages[0].state_dict()) == sorted(averages[1].state_dict())


# ---- clipping ----


@pytest.mark.parametrize("norm", [2.0, 1.0, 3.0, float("inf"), 0.0, -float("inf"), 0.5])
@pytest.mark.parametrize("most", [0.5, 1e6])
def test_clip_grad_norm(torch, norm, most):
    rng = np.random.default_rng(0)
    gradients = draw(rng, [(3,), (40, 50), (1,), (20_000,)])
    ours = [pe.nn.Parameter(pe.zeros(g.shape)) for g in gradients]
    theirs = [torch.nn.Parameter(torch.zeros(g.shape)) for g in gradients]
    for our, their, g in zip(ours, theirs, gradients, strict=True):
        our.grad, their.grad = pe.tensor(g), torch.tensor(g)
    total = pe.nn.utils.clip_grad_norm_(ours, most, norm)
    assert total.item() == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, most, norm).item(), rel=1e-5)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.grad.numpy(), their.grad.numpy(), rtol=1e-5)
    pe.nn.utils.clip_grad_value_(ours, 1e-3)
    torch.nn.utils.clip_grad_value_(theirs, 1e-3)
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.grad.numpy(), their.grad.numpy(), rtol=1e-5)
