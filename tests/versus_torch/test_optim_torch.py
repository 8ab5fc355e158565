"""Optimizers and layers beside torch: the same updates, state_dicts that load both ways, the same text."""

import importlib.util

import numpy as np
import pytest
from require import require

import pyengine as pe

CASES = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"lr": 0.01}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("AdamW", {"lr": 0.01}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5}),
]
SHAPES = [(3,), (40, 50), (1,)]


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


def draw(rng):
    return [rng.standard_normal(shape).astype(np.float32) for shape in SHAPES]


@pytest.mark.parametrize("name, options", CASES, ids=[f"{name}-{options}" for name, options in CASES])
def test_updates(torch, name, options):
    rng = np.random.default_rng(0)
    start = draw(rng)
    ours = [pe.nn.Parameter(pe.tensor(value)) for value in start]
    theirs = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    optimizer, rival = getattr(pe.optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(10):
        for our, their, gradient in zip(ours, theirs, draw(rng), strict=True):
            our.grad, their.grad = pe.tensor(gradient), torch.tensor(gradient)
        if step == 5:  # go on from torch's own state
            optimizer = getattr(pe.optim, name)(ours, lr=3.0)
            optimizer.load_state_dict(rival.state_dict())
        optimizer.step()
        rival.step()
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our.detach().numpy(), their.detach().numpy(), rtol=2e-6, atol=2e-6)


def network(nn):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.GELU(), nn.Linear(8, 6), nn.SiLU(),
        nn.Linear(6, 5), nn.Softplus(), nn.LeakyReLU(), nn.ELU(), nn.Sigmoid(), nn.Linear(5, 4), nn.Tanh(),
    )  # fmt: skip


def test_a_torch_state_dict_loads_as_it_is(torch):
    theirs, ours = network(torch.nn), network(pe.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    x, labels = np.random.default_rng(1).standard_normal((7, 3, 4)).astype(np.float32), np.arange(7) % 4
    loss = pe.nn.CrossEntropyLoss(label_smoothing=0.1)(ours(pe.from_numpy(x)), pe.from_numpy(labels))
    rival = torch.nn.CrossEntropyLoss(label_smoothing=0.1)(theirs(torch.tensor(x)), torch.tensor(labels))
    loss.backward()
    rival.backward()
    assert loss.item() == pytest.approx(rival.item(), rel=1e-6)
    for our, their in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(our.grad.numpy(), their.grad.numpy(), rtol=1e-4, atol=1e-7)
    theirs.load_state_dict({name: torch.from_numpy(t.numpy()) for name, t in ours.state_dict().items()})


def test_the_same_text(torch):
    def text(nn):
        inner = nn.Sequential(nn.Linear(8, 8, bias=False), nn.GELU("tanh"), nn.Softmax(dim=1), nn.LogSoftmax(dim=-1))
        return repr(nn.Sequential(nn.Flatten(), nn.Linear(12, 8), inner, nn.Tanh(), nn.Softplus(), nn.LeakyReLU(),
                                  nn.ELU(), nn.ModuleList([nn.Identity(), nn.MSELoss()])))  # fmt: skip

    assert text(pe.nn) == text(torch.nn)
