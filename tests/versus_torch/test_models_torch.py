"""The networks beside torchvision's with the same weights, and files that torch itself wrote."""

import importlib.util
import warnings

import numpy as np
import pytest
from beside import agree, pair
from require import require
from visions import torchvision_part

import pyengine as pe
from pyengine import models
from pyengine.io import load_torch

NETS = {"resnet18": 64, "resnet34": 64, "resnet50": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64,
        "mobilenet_v3_large": 64}  # fmt: skip


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


@pytest.fixture(scope="module")
def published(torch):
    """torchvision.models."""
    return torchvision_part("models")


def same_net(torch, published, name, **options):
    """The net here and there, with the same random weights and statistics."""
    torch.manual_seed(0)
    theirs = getattr(published, name)(weights=None, num_classes=10)
    for key, value in theirs.state_dict().items():
        if key.endswith("running_mean"):
            value.normal_(0.0, 0.1)
        elif key.endswith("running_var"):
            value.uniform_(0.2, 1.0)
    ours = getattr(models, name)(num_classes=10, **options)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({key: pe.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    return ours, theirs


@pytest.mark.parametrize("name", NETS)
def test_nets(torch, published, name):
    ours, theirs = same_net(torch, published, name)
    a, b = pair(torch, (2, 3, NETS[name], NETS[name] - 3), grad=False)
    with pe.no_grad(), torch.no_grad():
        x, y = ours.eval()(a).numpy(), theirs.eval()(b).numpy()
    assert np.abs(x - y).max() <= 1e-4 * np.abs(y).max()


def test_blocks_learn_alike(torch, published):
    """Values, gradients and running statistics of one block in training."""
    ours, theirs = same_net(torch, published, "mobilenet_v3_small")
    a, b = pair(torch, (4, 24, 6, 6))
    one, other = ours.features[4].train(), theirs.features[4].train()  # squeeze and excitation, hard swish, stride 2
    leaves = [(a, b), *zip(one.parameters(), other.parameters(), strict=True)]
    agree(one(a), other(b), leaves, 1e-4)
    for x, y in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), 1e-4, 1e-5)


@pytest.mark.parametrize("protocol", (2, 3, 4, 5))
@pytest.mark.parametrize("archive", (True, False))
def test_files_of_torch(torch, tmp_path, archive, protocol):
    base = torch.arange(12.0).reshape(3, 4)
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    saved = {
        "state": layer.state_dict(), "optimizer": optimizer.state_dict(), "base": base, "turned": base.t(),
        "part": base[1:, ::2], "bfloat16": base.bfloat16(), "half": base.half(), "truth": base > 5,
        "scalar": torch.tensor(3), "none": torch.zeros(0, 3), "parameter": torch.nn.Parameter(base), "epoch": 3,
        "list": [1, 2.5, None, "ä", (torch.Size([2, 3]),)], "big": 1 << 40, 7: -1,
    }  # fmt: skip
    path = tmp_path / "saved.pt"
    torch.save(saved, path, _use_new_zipfile_serialization=archive, pickle_protocol=protocol)
    same(torch, load_torch(path), saved)
    found = load_torch(path)
    with pe.no_grad():
        found["base"][1, 0] = 99.0
    assert found["turned"].tolist()[0][1] == 99.0


def same(torch, ours, theirs):
    if isinstance(theirs, torch.Tensor):
        assert ours.dtype.name == str(theirs.dtype).removeprefix("torch.") and ours.shape == tuple(theirs.shape)
        assert ours.double().tolist() == theirs.double().tolist()
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(torch, ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for pair_ in zip(ours, theirs, strict=True):
            same(torch, *pair_)
    else:
        assert ours == theirs and type(ours) is type(theirs)


def test_what_torch_loads_as_code_is_refused(torch, tmp_path):
    path = tmp_path / "net.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(ValueError, match=r"net\.pt: .*'torch\.nn\.modules\.linear\.Linear' is no part"):
        load_torch(path)
    torch.save({"a": torch.zeros(2, dtype=torch.complex64)}, path)
    with pytest.raises(ValueError, match="ComplexFloatStorage"):
        load_torch(path)
    torch.save({"a": torch.zeros(1).expand(5)}, path)
    with pytest.raises(ValueError, match="share memory"):
        load_torch(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    with pytest.raises(ValueError, match="TorchScript's programs are not read"):
        load_torch(path)
