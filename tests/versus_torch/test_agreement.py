"""Torch's own samples, forward and backward: the shares that must agree. What is outside is in left_out.py."""

import importlib.util
import warnings

import pytest
from agreement import modules, operations
from require import require


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    require("torch", importlib.util.find_spec("expecttest"), "torch's samples need expecttest (pip install expecttest)")
    import torch

    torch.manual_seed(0)
    return torch


@pytest.mark.parametrize("table, least, samples", [(operations, 0.97, 11_000), (modules, 0.98, 2_000)])
def test_share_of_samples(torch, table, least, samples):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = table(torch)
    report = "\n".join(found.lines())
    assert sum(found.counts.values()) > samples, report
    assert found.share >= least, report
