"""Transformers beside Hugging Face's with the same weights, and files that they wrote.

    python tests/versus_torch/test_transformers_torch.py    prints test_transformers.KNOWN
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import test_transformers as ours
from require import require

EXTRA = {
    "tied": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    "llama": {"rope_parameters": {"rope_type": "default", "rope_theta": 5000.0}},
    "gated": {"tie_word_embeddings": False},
}
CLASSES = {
    "bert": ("BertConfig", "BertModel"), "llama": ("LlamaConfig", "LlamaForCausalLM"),
    "tied": ("LlamaConfig", "LlamaForCausalLM"), "mistral": ("MistralConfig", "MistralForCausalLM"),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"), "qwen3": ("Qwen3Config", "Qwen3ForCausalLM"),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel"), "t5": ("T5Config", "T5ForConditionalGeneration"),
    "gated": ("T5Config", "T5ForConditionalGeneration"),
}  # fmt: skip
OURS_ALONE = ("rope_theta", "rope_scale", "attention_bias", "qk_norm", "scale_decoder_outputs")


def theirs(name):
    import torch
    import transformers

    config, kind = (getattr(transformers, part) for part in CLASSES[name])
    sizes = {key: value for key, value in ours.NETS[name][1].items() if key not in OURS_ALONE}
    net = kind(config(**sizes, **EXTRA.get(name, {}))).eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            value.copy_(torch.from_numpy(ours.number(key, tuple(value.shape))))
    return net


def run(name, net):
    import torch

    ids, mask = torch.from_numpy(ours.IDS), torch.from_numpy(ours.MASK)
    with torch.no_grad():
        if name == "bert":
            return net(ids, attention_mask=mask, token_type_ids=ids % 2).last_hidden_state.numpy()
        if name in ("t5", "gated"):
            written = torch.from_numpy(ours.WRITTEN)
            return net(ids, attention_mask=mask, decoder_input_ids=written).logits.numpy()
        return net(ids).logits.numpy()


@pytest.mark.parametrize("name", CLASSES)
def test_same_numbers_and_files(name, tmp_path):
    require("transformers", importlib.util.find_spec("transformers"), "transformers is not installed")
    net = theirs(name)
    expected = run(name, net)
    near = 1e-5 * np.abs(expected).max()
    assert np.abs(ours.run(name, ours.filled(name)) - expected).max() < near
    net.save_pretrained(tmp_path)
    again = getattr(ours.models, ours.NETS[name][0])(tmp_path / "model.safetensors").eval()
    assert np.abs(ours.run(name, again) - expected).max() < near


if __name__ == "__main__":
    for title in CLASSES:
        print(f'    "{title}": {[round(float(x), 6) for x in run(title, theirs(title))[-1, -1, :6]]},')
