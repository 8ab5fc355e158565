"""Schedules against closed forms written here, their states, and what they refuse."""

import math

import pytest

import pyengine as pe
from pyengine.optim import lr_scheduler as s

STEPS = 60


def optimizer(lr=0.5, groups=1, **options):
    params = [{"params": [pe.nn.Parameter(pe.zeros(1))]} for _ in range(groups)]
    return pe.optim.SGD(params, lr=lr, **options)


def cosine(t, start, end, length):
    return end + (start - end) * (1 + math.cos(math.pi * t / length)) / 2


def triangle(t, up, down):
    x = t % (up + down)
    return x / up if x <= up else 1 - (x - up) / down


def restarts(t, first, growth):
    length = first
    while t >= length:
        t, length = t - length, length * growth
    return cosine(t, 0.5, 0.1, length)


def one_cycle(t):
    rise, last = 0.3 * 61 - 1, 60
    start = 0.3 / 25
    return cosine(t, start, 0.3, rise) if t <= rise else cosine(t - rise, 0.3, start / 1e4, last - rise)


# a schedule of the rate 0.5, and the rate at epoch t
CASES = {
    "LambdaLR": (lambda o: s.LambdaLR(o, lambda t: 1 / (1 + t)), lambda t: 0.5 / (1 + t)),
    "MultiplicativeLR": (lambda o: s.MultiplicativeLR(o, lambda t: 0.9), lambda t: 0.5 * 0.9**t),
    "StepLR": (lambda o: s.StepLR(o, 7), lambda t: 0.5 * 0.1 ** (t // 7)),
    "MultiStepLR": (lambda o: s.MultiStepLR(o, [3, 10, 10], 0.5), lambda t: 0.5 ** (1 + (t >= 3) + 2 * (t >= 10))),
    "ConstantLR": (lambda o: s.ConstantLR(o, 0.25, 9), lambda t: 0.125 if t < 9 else 0.5),
    "LinearLR": (lambda o: s.LinearLR(o, 0.2, 0.8, 12), lambda t: 0.1 + 0.3 * min(t, 12) / 12),
    "ExponentialLR": (lambda o: s.ExponentialLR(o, 0.9), lambda t: 0.5 * 0.9**t),
    "PolynomialLR": (lambda o: s.PolynomialLR(o, 40, 1.5), lambda t: 0.5 * (1 - min(t, 40) / 40) ** 1.5),
    "CosineAnnealingLR": (lambda o: s.CosineAnnealingLR(o, 13, 0.1), lambda t: cosine(t, 0.5, 0.1, 13)),
    "WarmRestarts": (lambda o: s.CosineAnnealingWarmRestarts(o, 5, 2, 0.1), lambda t: restarts(t, 5, 2)),
    "CyclicLR": (lambda o: s.CyclicLR(o, 0.1, 0.5, 7, 3, cycle_momentum=False),
                 lambda t: 0.1 + 0.4 * triangle(t, 7, 3)),
    "CyclicLR, triangular2": (lambda o: s.CyclicLR(o, 0.1, 0.5, 4, mode="triangular2", cycle_momentum=False),
                              lambda t: 0.1 + 0.4 * triangle(t, 4, 4) / 2 ** (t // 8)),
    "CyclicLR, exp_range": (lambda o: s.CyclicLR(o, 0.1, 0.5, 4, mode="exp_range", gamma=0.9, cycle_momentum=False),
                            lambda t: 0.1 + 0.4 * triangle(t, 4, 4) * 0.9**t),
    "OneCycleLR": (lambda o: s.OneCycleLR(o, 0.3, total_steps=61, cycle_momentum=False), one_cycle),
    "ChainedScheduler": (lambda o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 20), s.ExponentialLR(o, 0.9)]),
                         lambda t: 0.5 * 0.9**t * (0.1 if t < 20 else 1)),
    "SequentialLR": (lambda o: s.SequentialLR(o, [s.LinearLR(o, 0.1, total_iters=10), s.ExponentialLR(o, 0.9)], [10]),
                     lambda t: 0.05 + 0.45 * t / 10 if t < 10 else 0.5 * 0.9 ** (t - 10)),
}  # fmt: skip


@pytest.mark.parametrize("make, rate", CASES.values(), ids=CASES)
def test_rates(make, rate):
    o = optimizer()
    schedule = make(o)
    for t in range(STEPS):
        assert o.param_groups[0]["lr"] == pytest.approx(rate(t), rel=1e-9, abs=1e-15), t
        assert schedule.get_last_lr() == [o.param_groups[0]["lr"]]
        o.step()
        schedule.step()


@pytest.mark.parametrize("make", [make for make, _ in CASES.values()], ids=CASES)
def test_states_go_on(make):
    """A schedule and optimizer loaded in the middle go on as the first would have."""
    o, other = optimizer(), optimizer(lr=0.5)
    schedule, twin = make(o), make(other)
    for _ in range(17):
        schedule.step()
    twin.load_state_dict(schedule.state_dict())
    other.load_state_dict(o.state_dict())
    for _ in range(20):
        schedule.step()
        twin.step()
        assert twin.get_last_lr() == schedule.get_last_lr()


@pytest.mark.parametrize("name", ["StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR", "PolynomialLR",
                                  "CosineAnnealingLR", "WarmRestarts"])  # fmt: skip
def test_a_step_to_an_epoch(name):
    make, rate = CASES[name]
    schedule = make(optimizer())
    for t in (30, 4, 11):
        schedule.step(t)
        assert schedule.get_last_lr()[0] == pytest.approx(rate(t), rel=1e-9)


def test_going_on_from_an_epoch():
    o = optimizer()
    with pytest.raises(KeyError, match="initial_lr"):
        s.ExponentialLR(o, 0.9, last_epoch=4)
    o.param_groups[0].update(initial_lr=0.5, lr=0.5 * 0.9**4)
    schedule = s.CosineAnnealingLR(o, 13, last_epoch=4)
    assert schedule.last_epoch == 5


@pytest.mark.parametrize("kind, key", [(pe.optim.SGD, "momentum"), (pe.optim.AdamW, "betas")])
def test_momentum_moves_against_the_rate(kind, key):
    o = kind([pe.nn.Parameter(pe.zeros(1))], lr=0.1)
    schedule = s.OneCycleLR(o, 1.0, total_steps=11)
    seen = []
    for _ in range(10):
        value = o.param_groups[0][key]
        seen.append(value[0] if key == "betas" else value)
        schedule.step()
    assert seen[0] == pytest.approx(0.95) and min(seen) == pytest.approx(0.85, abs=0.01)
    assert seen.index(min(seen)) in (2, 3)


def test_groups_have_rates_of_their_own():
    o = optimizer(groups=2)
    schedule = s.LambdaLR(o, [lambda t: 1.0, lambda t: 0.5**t])
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 0.25]


def test_plateau():
    o = optimizer(lr=1.0)
    schedule = s.ReduceLROnPlateau(o, factor=0.5, patience=1, cooldown=2, min_lr=0.2)
    rates = []
    for loss in (3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0):
        schedule.step(loss)
        rates += schedule.get_last_lr()
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    twin = s.ReduceLROnPlateau(optimizer(lr=1.0), patience=1)
    twin.load_state_dict(schedule.state_dict())
    assert twin.best == 2.0 and twin.factor == 0.5


def test_swalr():
    o = optimizer()
    schedule = pe.optim.swa_utils.SWALR(o, 0.1, anneal_epochs=4, anneal_strategy="linear")
    seen = []
    for _ in range(6):
        seen += schedule.get_last_lr()
        schedule.step()
    assert seen == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])


def test_refusals():
    o, other = optimizer(), optimizer()
    step = s.StepLR(o, 2)
    cases = [
        (TypeError, "is not an Optimizer", lambda: s.StepLR(3, 1)),
        (ValueError, "Expected 1 lr_lambdas", lambda: s.LambdaLR(o, [abs, abs])),
        (TypeError, "should be a function", lambda: s.MultiplicativeLR(o, 0.9)),
        (ValueError, "factor must be", lambda: s.ConstantLR(o, 1.5)),
        (ValueError, "start_factor", lambda: s.LinearLR(o, 0.0)),
        (ValueError, "end_factor", lambda: s.LinearLR(o, 0.5, 1.5)),
        (ValueError, "positive integer T_0", lambda: s.CosineAnnealingWarmRestarts(o, 0)),
        (ValueError, "T_mult >= 1", lambda: s.CosineAnnealingWarmRestarts(o, 1, 0)),
        (ValueError, "mode 'other'", lambda: s.CyclicLR(o, 0.1, 0.2, mode="other")),
        (ValueError, "must support momentum", lambda: s.CyclicLR(pe.optim.Adagrad([pe.zeros(1)]), 0.1, 0.2)),
        (ValueError, "must define either", lambda: s.OneCycleLR(o, 0.1)),
        (ValueError, "total_steps", lambda: s.OneCycleLR(o, 0.1, total_steps=0)),
        (ValueError, "pct_start", lambda: s.OneCycleLR(o, 0.1, total_steps=9, pct_start=2.0)),
        (ValueError, "anneal_strategy", lambda: s.OneCycleLR(o, 0.1, total_steps=9, anneal_strategy="no")),
        (ValueError, "at least one", lambda: s.ChainedScheduler([])),
        (ValueError, "another optimizer", lambda: s.ChainedScheduler([step], other)),
        (ValueError, "needs a metric", lambda: s.SequentialLR(o, [step, s.ReduceLROnPlateau(o)], [1])),
        (ValueError, "need 1 milestones", lambda: s.SequentialLR(o, [step, s.StepLR(o, 2)], [])),
        (ValueError, "factor must be below 1", lambda: s.ReduceLROnPlateau(o, factor=1.0)),
        (ValueError, "mode other", lambda: s.ReduceLROnPlateau(o, mode="other")),
        (ValueError, "2 values for 1", lambda: s.ReduceLROnPlateau(o, min_lr=[0.1, 0.2])),
        (ValueError, "anneal_epochs", lambda: pe.optim.swa_utils.SWALR(o, 0.1, -1)),
    ]
    for kind, text, make in cases:
        with pytest.raises(kind, match=text):
            make()
    ended = s.OneCycleLR(optimizer(momentum=0.9), 0.1, total_steps=2)
    ended.step()
    ended.step()
    with pytest.raises(ValueError, match="Tried to step 3 times"):
        ended.step()
