"""Parameter groups, LoRA adapters, and what `pyengine inspect` tells."""

import numpy as np
import pytest

import pyengine as pe
from pyengine import nn, optim
from pyengine.cli import main
from pyengine.io import save_file
from pyengine.io.inspect import inspect_file
from pyengine.nn.utils.lora import LoRALinear, add_lora, lora_state_dict, merge_lora, unmerge_lora


def network():
    pe.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))


def test_rates_fall_with_depth_and_frozen_weights_are_left_out():
    net = network()
    groups = optim.decay_groups(net, 0.1, lr=1.0, depth_factor=0.5)
    told = {group["param_names"][0]: (group["lr"], group["weight_decay"]) for group in optim.AdamW(groups).param_groups}
    assert told == {"3.weight": (1.0, 0.1), "3.bias": (1.0, 0.0), "1.weight": (0.5, 0.0), "0.weight": (0.25, 0.1),
                    "0.bias": (0.25, 0.0)}  # fmt: skip
    net[0].requires_grad_(False)
    net[1].requires_grad_(False)
    assert [name for group in optim.decay_groups(net) for name, _ in group["params"]] == ["3.weight", "3.bias"]
    with pytest.raises(ValueError, match="no parameter of Sequential"):
        optim.decay_groups(net.requires_grad_(False))
    with pytest.raises(ValueError, match="come together"):
        optim.decay_groups(network(), lr=1.0)


def test_adapters_learn_merge_and_unmerge_exactly():
    x, net = pe.randn(20, 6), network()
    before, first = net(x).tolist(), {name: t.clone() for name, t in net.state_dict().items()}
    add_lora(net, rank=2, targets=lambda name: name == "0")
    assert net(x).tolist() == before, "nothing changes at first"
    optimizer = optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), pe.arange(20) % 3)
        loss.backward()
        optimizer.step()
    assert isinstance(net[0], LoRALinear) and net[0].base.weight.grad is None
    learned = net(x).detach()
    assert abs(learned.numpy() - np.array(before)).max() > 0.1
    merge_lora(merge_lora(net))
    assert np.allclose(net(x).detach().numpy(), learned.numpy(), atol=1e-5)
    assert net[0].base.weight.tolist() != first["0.weight"].tolist() and "merged=True" in repr(net)
    unmerge_lora(unmerge_lora(net))
    assert net[0].base.weight.tolist() == first["0.weight"].tolist() and net(x).tolist() == learned.tolist()
    other = add_lora(network(), rank=2, targets=lambda name: name == "0")
    assert other.load_state_dict(lora_state_dict(net), strict=False).unexpected_keys == []
    assert other(x).tolist() == learned.tolist()


def test_adapters_that_cannot_be():
    with pytest.raises(ValueError, match="rank 7 for a weight of shape"):
        add_lora(network(), rank=7)
    with pytest.raises(ValueError, match="no Linear of Sequential was chosen"):
        add_lora(network(), targets=lambda name: False)


def test_inspect(tmp_path, capsys):
    path, low = tmp_path / "net.safetensors", np.outer(np.arange(1, 5), np.ones(3)).astype("float32")
    sparse = np.zeros(100, "float32")
    sparse[7] = 50.0
    tensors = {"a": low, "b": low, "sparse": sparse, "bad": np.array([np.nan, 1, np.inf], "float32"),
               "half": pe.eye(3).to(pe.bfloat16), "none": np.zeros((0, 2), "int64"), "one": np.array(3)}  # fmt: skip
    save_file(tensors, path)
    found = {info.name: info for info in inspect_file(path)}
    assert found["a"].rank == 1 and found["a"].twin is None and found["b"].twin == "a"
    assert found["a"].least == 1 and found["a"].most == 4 and found["half"].rank == 3
    assert np.isclose(found["a"].norm, np.linalg.norm(low)) and found["half"].dtype == "bfloat16"
    assert found["sparse"].zeros == 0.99 and found["sparse"].outliers == 1
    assert found["bad"].bad == 2 and found["bad"].most == 1 and found["one"].shape == ()
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "1 of 3" in out and "same as a" in out and "2 NaN or infinite" in out and "7 tensors, 137 numbers" in out
    assert main(["inspect", str(tmp_path / "missing")]) == 1
