"""Rotary positions past the trained length, beside Hugging Face's numbers."""

import json
import math

import numpy as np
import pytest
import test_transformers as nets

import pyengine as pe
from pyengine import models
from pyengine.io import save_file
from pyengine.models.rope import RotaryPositions

# rope_parameters, for a net of 24 positions that reads 40 tokens; `wide` for heads of 64 features and real lengths
KINDS = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 24},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24, "beta_fast": 8.0},
    "deepseek": {"rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 24, "beta_fast": 8,
                 "mscale": 1.0, "mscale_all_dim": 0.5, "truncate": False},
}  # fmt: skip
SIZES = nets.DECODER | {"head_dim": 16, "max_position_embeddings": 24}
LONGEST = {"linear": 40, "llama3": 40}  # dynamic and yarn take factor times the trained length by themselves
IDS = np.arange(80).reshape(2, 40) * 7 % 60
# the last row's numbers by transformers 5.24 with torch 2.13: python tests/versus_torch/test_rope_torch.py
KNOWN = {
    "linear": [0.95248, -0.213879, -0.755421, 0.909892, -0.082914, -0.833498],
    "dynamic": [0.533857, -0.044301, -0.49304, 0.498567, 0.033682, -0.5296],
    "llama3": [0.868441, -0.170339, -0.711498, 0.825883, -0.049435, -0.780335],
    "yarn": [0.895581, -0.192001, -0.718679, 0.854162, -0.068309, -0.791225],
    "deepseek": [0.882538, -0.175442, -0.720893, 0.839642, -0.052717, -0.79107],
}


def filled(name, **more):
    sizes = {"max_position_embeddings": LONGEST.get(name, 24)}
    net = models.llama(**SIZES | sizes | {"rope_parameters": KINDS[name] | {"rope_theta": 1000.0}} | more).eval()
    net.load_state_dict({key: nets.number(key, value.shape) for key, value in net.state_dict().items()})
    return net


@pytest.mark.parametrize("name", KINDS)
def test_numbers_of_hugging_face(name, tmp_path):
    net = filled(name)
    found = nets.run("llama", net, IDS)
    assert np.abs(found[-1, -1, :6] - KNOWN[name]).max() < 1e-5 * np.abs(found).max()
    plain = filled(name, rope_parameters={"rope_theta": 1000.0}, max_position_embeddings=40)
    assert np.abs(nets.run("llama", plain, IDS) - found).max() > 1e-3 * np.abs(found).max(), "the scaling does nothing"
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    older = {"type" if key == "rope_type" else key: value for key, value in KINDS[name].items()}
    for rope in ({"rope_parameters": KINDS[name] | {"rope_theta": 1000.0}},
                 {"rope_scaling": older, "rope_theta": 1000.0}):  # fmt: skip
        config = SIZES | {"max_position_embeddings": LONGEST.get(name, 24)} | rope
        (tmp_path / "config.json").write_text(json.dumps(config))
        again = models.llama(tmp_path / "model.safetensors").eval()
        assert np.array_equal(nets.run("llama", again, IDS), found)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "dynamic"])
def test_a_cache_is_the_whole_sequence(name):
    net, ids = filled(name), pe.from_numpy(IDS)
    whole, cache = nets.run("llama", net, IDS), net.new_cache(2, 40)
    with pe.no_grad():
        cuts = (0, 23), (23, 30), (30, 31), (31, 40)
        parts = [net.reader()(ids[:, a:b], cache, last=False).numpy() for a, b in cuts]
    assert np.abs(np.concatenate(parts, 1) - whole).max() < 1e-5 * np.abs(whole).max()


def test_dynamic_grows_with_what_is_read():
    """Up to the trained length nothing changes; behind it a new token is turned by the length so far."""
    positions, plain = RotaryPositions(16, 1000.0, 24, KINDS["dynamic"]), RotaryPositions(16, 1000.0, 24)
    assert positions.longest == 96 and plain.longest == 24
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(positions(3, 24), plain(3, 24), strict=True))
    base = 1000.0 * (4 * 30 / 24 - 3) ** (16 / 14)
    for known, function in zip(positions(29, 30), (np.cos, np.sin), strict=True):
        assert np.abs(known.numpy()[0] - function(29 / base ** (np.arange(0, 16, 2) / 16))).max() < 1e-6


def test_a_net_takes_as_many_positions_as_its_scaling_reaches():
    assert [filled(name).longest for name in KINDS] == [40, 96, 40, 96, 960]
    with pytest.raises(ValueError, match="97 tokens, the net has 96 positions"):
        filled("dynamic")(pe.zeros(1, 97, dtype="int64"))


@pytest.mark.parametrize("wrong", [
    {"rope_type": "longrope"}, {"rope_type": ["yarn"]}, {"rope_type": "linear"}, {"rope_type": "linear", "factor": 0},
    {"rope_type": "linear", "factor": "4"}, {"rope_type": "linear", "factor": math.nan}, {"partial_rotary_factor": 0.5},
    {"rope_type": "dynamic", "factor": 0.5}, {"rope_type": "dynamic", "factor": math.inf}, {"rope_theta": -1.0},
    KINDS["llama3"] | {"low_freq_factor": 4.0}, KINDS["llama3"] | {"high_freq_factor": None},
    KINDS["llama3"] | {"original_max_position_embeddings": 0}, KINDS["yarn"] | {"beta_fast": -8},
    KINDS["yarn"] | {"rope_theta": 1.0}, KINDS["yarn"] | {"attention_factor": True},
    KINDS["yarn"] | {"mscale": "1", "mscale_all_dim": 1.0},
], ids=str)  # fmt: skip
def test_what_is_refused(wrong):
    with pytest.raises(ValueError, match=r"rope_type|rotary positions scaled|turned in part"):
        RotaryPositions(16, 1000.0, 24, wrong)
