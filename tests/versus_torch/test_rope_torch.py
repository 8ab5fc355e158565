"""Scaled rotary positions beside Hugging Face's: tables of real sizes, and whole nets.

    python tests/versus_torch/test_rope_torch.py    prints test_rope.KNOWN
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import test_rope as ours
import test_transformers as nets
from require import require

from pyengine.models.rope import RotaryPositions

# theta, max_position_embeddings, rope_parameters of published nets (and of one that is read past its length)
PUBLISHED = {
    "Llama 3.1": (500000.0, 131072, {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                     "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}),
    "Qwen 2.5": (1e6, 131072, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}),
    "attention_factor": (1e4, 4096, {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 4096,
                                     "attention_factor": 1.25, "beta_slow": 2.0}),
    "linear": (1e4, 16384, {"rope_type": "linear", "factor": 4.0}),
    "dynamic": (1e4, 1000, {"rope_type": "dynamic", "factor": 2.0}),
}  # fmt: skip


def theirs(name):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = ours.SIZES | {"max_position_embeddings": ours.LONGEST.get(name, 24)}
    net = LlamaForCausalLM(LlamaConfig(**sizes, rope_parameters=ours.KINDS[name] | {"rope_theta": 1000.0})).eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            value.copy_(torch.from_numpy(nets.number(key, tuple(value.shape))))
        return net(torch.from_numpy(ours.IDS)).logits.numpy()


@pytest.mark.parametrize("name", ours.KINDS)
def test_same_numbers(name):
    require("transformers", importlib.util.find_spec("transformers"), "transformers is not installed")
    expected = theirs(name)
    assert np.abs(nets.run("llama", ours.filled(name), ours.IDS) - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", PUBLISHED)
def test_same_angles(name):
    """Frequencies and attention factor, in float32 there."""
    require("transformers", importlib.util.find_spec("transformers"), "transformers is not installed")
    import torch
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    theta, longest, parameters = PUBLISHED[name]
    config = LlamaConfig(hidden_size=512, num_attention_heads=8, max_position_embeddings=longest,
                         rope_parameters=parameters | {"rope_theta": theta})  # fmt: skip
    length = 1500  # more than dynamic's
    known = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.arange(length)[None])
    found = RotaryPositions(64, theta, longest, parameters)(0, length)
    for mine, other in zip(found, known, strict=True):
        # theirs are products in float32 of positions up to 1500: half a unit in the last place of an angle is 6e-5
        assert np.abs(mine.numpy() - other[0, :, :32].numpy()).max() < 2e-4
        assert np.abs(mine.numpy()[:64] - other[0, :64, :32].numpy()).max() < 1e-5


if __name__ == "__main__":
    for title in ours.KINDS:
        print(f'    "{title}": {[round(float(x), 6) for x in theirs(title)[-1, -1, :6]]},')
