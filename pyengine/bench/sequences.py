"""Cases of transformers as wholes: sentence encoders in inference, a small GPT in training."""

from typing import Any

import pyengine as pe
from pyengine import models
from pyengine.bench.cases import Case
from pyengine.train.text_model import PRESETS

# sentence-transformers/all-MiniLM-L6-v2
MINILM = {"vocab_size": 30522, "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
          "intermediate_size": 1536, "max_position_embeddings": 512, "add_pooling_layer": False}  # fmt: skip
SENTENCES = ((1, 32), (1, 128), (32, 128))  # texts, tokens
CHARACTERS, GPT_BATCH = 96, 4


def text_network(what: str, network: str, options: dict[str, Any], shape: tuple[int, int], causal: bool = False,
                 training: bool = False) -> Case:  # fmt: skip
    """A transformer on ids (B, T); training is a step of AdamW. Looking up rows is no arithmetic."""
    with pe.no_grad():
        model = getattr(models, network)(**options)
    batch, tokens = shape
    layers, width = (options[name] for name in (("n_layer", "n_embd") if causal else
                                                ("num_hidden_layers", "hidden_size")))  # fmt: skip
    tables = {id(m.weight): m.weight.numel() for m in model.modules() if isinstance(m, pe.nn.Embedding)}
    head = id(model.lm_head.weight) if causal else None  # the table of tokens again, as a product
    products = sum(p.numel() for p in model.parameters() if p.ndim == 2 and (id(p) not in tables or id(p) == head))
    attention = 4 * layers * batch * tokens * tokens * width / (2 if causal else 1)
    operations = (2 * batch * tokens * products + attention) * (3 if training else 1)
    weights = 4 * sum(p.numel() for p in model.parameters())
    params = {"network": network, "options": options, "shape": list(shape)}
    name = f"{what} of {tokens} tokens b{batch} {'training' if training else 'inference'}"
    if training:  # weights, gradients and both moments
        return Case(name, "text_network_train", params, "fp32", operations, 7 * weights, 4 * weights, agree=0.02,
                    group="training")  # fmt: skip
    return Case(name, "text_network", params, "fp32", operations, weights, weights, agree=1e-3, group="inference")


def sequence_cases() -> list[Case]:
    small = PRESETS["small"]
    gpt = {"vocab_size": CHARACTERS, "n_positions": small["context"], "n_embd": small["width"],
           "n_layer": small["layers"], "n_head": small["heads"], "dropout": 0.0}  # fmt: skip
    return [
        *(text_network("MiniLM", "bert", MINILM, shape) for shape in SENTENCES),
        text_network("GPT", "gpt2", gpt, (GPT_BATCH, int(small["context"])), causal=True, training=True),
    ]
