"""Transformers: what they compute beside Hugging Face's, caches, and the tokens that they go on with."""

import zlib
from itertools import pairwise

import numpy as np
import pytest

import pyengine as pe
from pyengine import models, nn
from pyengine.io import save_file
from pyengine.models import KVCache, Sampler, generate, generate_text, stream
from pyengine.models.generation import held_back
from pyengine.models.transformer_blocks import causal_attention

DECODER = {
    "vocab_size": 60, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": 64,
}  # fmt: skip
T5 = {
    "vocab_size": 60, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 3,
    "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12,
}  # fmt: skip
GPT2 = {"vocab_size": 60, "n_positions": 64, "n_embd": 24, "n_layer": 2, "n_head": 3}
BERT = {
    "vocab_size": 60, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
    "max_position_embeddings": 30,
}  # fmt: skip
# kind -> function, sizes; tests/versus_torch/test_transformers_torch.py makes the same ones of Hugging Face's classes
NETS = {
    "bert": ("bert", BERT),
    "llama": ("llama", DECODER | {"rope_theta": 5000.0, "rms_norm_eps": 1e-5}),
    "tied": ("llama", DECODER | {"tie_word_embeddings": True, "head_dim": 8, "rope_scale": 4.0}),
    "mistral": ("llama", DECODER | {"sliding_window": 4}),
    "qwen2": ("llama", DECODER | {"attention_bias": True}),
    "qwen3": ("llama", DECODER | {"head_dim": 8, "qk_norm": True}),
    "gpt2": ("gpt2", GPT2),
    "t5": ("t5", T5),
    "gated": ("t5", T5 | {"feed_forward_proj": "gated-gelu", "scale_decoder_outputs": False}),
}
# numbers of the last row by transformers 5.24 with torch 2.13, from weights as `number` has them
KNOWN = {
    "bert": [-1.22685, 1.079866, -0.543397, 0.430531, 0.212217, 0.45756],
    "llama": [1.52146, -0.788183, -0.795262, 1.520903, -0.606033, -0.96253],
    "tied": [-0.228787, 1.042669, -0.731884, -0.368343, 1.071259, -0.618669],
    "mistral": [0.818465, -0.391695, -0.457573, 0.813284, -0.291751, -0.544476],
    "qwen2": [1.396484, -0.725046, -0.728458, 1.396215, -0.557955, -0.882139],
    "qwen3": [1.403313, -0.638917, -0.814642, 1.389493, -0.465577, -0.96053],
    "gpt2": [-1.519087, -2.127852, 3.479599, -1.078101, -2.486283, 3.368856],
    "t5": [-0.370378, 0.408625, -0.006112, -0.402994, 0.377413, 0.055262],
    "gated": [-2.056736, 2.19698, 0.032533, -2.226954, 2.019287, 0.366469],
}
DECODERS = [name for name, (kind, _) in NETS.items() if kind in ("llama", "gpt2")]


def number(name, shape):
    """What every weight is here: numbers that its name decides."""
    start = zlib.crc32(name.encode()) % 1000
    wave = np.sin(np.arange(np.prod(shape)) * 0.7 + start) * (0.3 if len(shape) > 1 else 0.5)
    return (wave + (name.endswith(("norm.weight", "LayerNorm.weight")) or (".ln_" in name and "weight" in name))) \
        .astype("f4").reshape(shape)  # fmt: skip


def filled(name, **more):
    kind, sizes = NETS[name]
    net = getattr(models, kind)(**sizes, **more).eval()
    net.load_state_dict({key: number(key, value.shape) for key, value in net.state_dict().items()})
    return net


IDS = np.arange(18).reshape(2, 9) * 7 % 60
MASK = np.array([[1] * 9, [1] * 6 + [0] * 3])
WRITTEN = np.arange(2 * 16).reshape(2, 16) * 11 % 60


def run(name, net, ids=IDS):
    ids = pe.from_numpy(np.ascontiguousarray(ids))
    with pe.no_grad():
        if name == "bert":
            return net(ids, pe.from_numpy(MASK), pe.from_numpy(IDS % 2)).numpy()
        if name in ("t5", "gated"):
            return net(ids, pe.from_numpy(WRITTEN), pe.from_numpy(MASK)).numpy()
        return net(ids).numpy()


@pytest.mark.parametrize("name", NETS)
def test_numbers_of_hugging_face(name):
    found = run(name, filled(name))[-1, -1, :6]
    assert np.abs(found - KNOWN[name]).max() < 2e-5 * np.abs(KNOWN[name]).max()


@pytest.mark.parametrize("name", DECODERS)
def test_a_cache_is_the_whole_sequence(name):
    """In any pieces, through the modules and through the short way; a later token changes nothing before it."""
    net = filled(name)
    whole = run(name, net)
    ids = pe.from_numpy(IDS)
    for way in (net, net.reader() if hasattr(net, "reader") else net):
        for cuts in ((0, 9), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (0, 3, 4, 5, 9), (0, 5, 6, 7, 8, 9), (0, 2, 8, 9)):
            cache = net.new_cache(2, 9)
            with pe.no_grad():
                parts = [way(ids[:, a:b], cache, last=False).numpy() for a, b in pairwise(cuts)]
            assert cache.length == 9
            assert np.abs(np.concatenate(parts, 1) - whole).max() < 1e-5 * np.abs(whole).max(), cuts
    changed = IDS.copy()
    changed[:, 6] += 1
    assert np.array_equal(run(name, net, changed)[:, :6], whole[:, :6])


def test_t5_with_a_cache():
    net = filled("t5")
    whole, ids = run("t5", net), pe.from_numpy(WRITTEN)
    with pe.no_grad():
        reading = net.read(pe.from_numpy(IDS), pe.from_numpy(MASK))
        cache = reading.new_cache(2, 16)
        parts = [reading(ids[:, a:b], cache).numpy() for a, b in ((0, 3), (3, 4), (4, 15), (15, 16))]
    assert np.abs(np.concatenate(parts, 1) - whole).max() < 1e-5 * np.abs(whole).max()
    assert len(generate(net.read(pe.from_numpy(IDS[:1])), [0], 5)) == 5


def test_the_short_way_is_taken_only_where_nothing_can_tell():
    net = filled("llama")
    assert net.reader() is not net
    handle = net.model.layers[1].mlp.up_proj.register_forward_hook(lambda *_: None)
    assert net.reader() is net
    handle.remove()
    ids = pe.from_numpy(IDS[:1])

    def last(way):
        with pe.no_grad():
            return way(ids, net.new_cache(1, 9)).numpy()[0, -1]

    assert np.array_equal(last(net.reader()), run("llama", net)[0, -1])
    with pe.no_grad():
        net.model.layers[0].self_attn.k_proj.weight.mul_(2.0)  # written in place: still side by side
    assert net.reader() is not net and np.array_equal(last(net.reader()), run("llama", net)[0, -1])
    net.model.layers[0].self_attn.k_proj.weight = nn.Parameter(pe.randn(8, 24))
    assert net.reader() is net
    net.model.layers[0].self_attn.together.gather()
    assert net.reader() is not net and np.array_equal(last(net.reader()), run("llama", net)[0, -1])


def test_files_with_other_names(tmp_path):
    """With and without the prefixes, position_ids and masks that published files have."""
    kinds = ("bert", "bert.", "embeddings.position_ids"), ("gpt2", "transformer.", "h.0.attn.bias")
    for name, prefix, extra in kinds:
        kind, sizes = NETS[name]
        net = filled(name)
        state = {key.removeprefix(prefix): value for key, value in net.state_dict().items() if "lm_head" not in key}
        state[extra] = pe.arange(30).reshape(1, 30)
        for folder, files in (("plain", state), ("prefixed", {prefix + key: value for key, value in state.items()})):
            path = tmp_path / f"{name}-{folder}.safetensors"
            save_file(files, path)
            again = getattr(models, kind)(path, **sizes).eval()
            assert np.array_equal(run(name, again), run(name, net))


def test_sizes_beside_the_weights(tmp_path):
    net = filled("qwen2")
    save_file(net.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        '{"vocab_size": 60, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads":'
        '6, "num_key_value_heads": 2, "model_type": "qwen2", "rope_parameters": {"rope_theta": 10000.0}, "torch": []}'
    )
    again = models.llama(tmp_path / "model.safetensors").eval()
    assert np.array_equal(run("qwen2", again), run("qwen2", net))
    with pytest.raises(RuntimeError, match=r"(?s)model.safetensors: .*missing keys: model.layers.2"):
        models.llama(tmp_path / "model.safetensors", num_hidden_layers=3)
    for content in ("[", '{"rope_scaling": {"rope_type": "yarn"}}', "[1]", "[" * 100000):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=r"config.json: no configuration of Llama"):
            models.llama(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", NETS)
def test_every_parameter_learns(name):
    net = filled(name)
    ids = pe.from_numpy(IDS)
    out = net(ids, pe.from_numpy(WRITTEN)) if name in ("t5", "gated") else net(ids)
    out.square().sum().backward()
    for key, parameter in net.named_parameters():
        if not key.startswith("pooler"):
            assert parameter.grad is not None and np.abs(parameter.grad.numpy()).max() > 0, key


# ---- caches ----


def test_a_full_cache_says_so():
    net = filled("llama")
    cache = net.new_cache(1, 4)
    assert cache.nbytes == 2 * 2 * 2 * 4 * 4 * 4
    ids = pe.from_numpy(IDS[:1])
    with pytest.raises(ValueError, match="KVCache: full: 0 of 4 tokens are used, 5 more do not fit"):
        net(ids[:, :5], cache)
    with pe.no_grad():
        net(ids[:, :3], cache)
        first = net(ids[:, 3:4], cache).numpy()
        with pytest.raises(ValueError, match="full: 4 of 4"):
            net(ids[:, 4:5], cache)
        cache.truncate(3)
        assert np.array_equal(net(ids[:, 3:4], cache).numpy(), first)
    with pytest.raises(ValueError, match="cannot be cut to 5"):
        cache.truncate(5)
    with pytest.raises(ValueError, match=r"needed|do not fit a cache"):
        cache.append(0, pe.zeros(2, 2, 1, 4), pe.zeros(2, 2, 1, 4))
    with pytest.raises(ValueError, match="full"):
        stream(net, [1, 2, 3], 4, cache=net.new_cache(1, 5))
    for bad in ({"capacity": 0}, {"heads": 1.5}, {"window": 0}):
        with pytest.raises(ValueError, match="must be a positive integer"):
            KVCache(**({"layers": 1, "batch": 1, "heads": 1, "capacity": 4, "head_dim": 8} | bad))


def test_views_of_a_cache_are_its_memory():
    cache = KVCache(1, 1, 2, 8, 4)
    k, v = cache.append(0, pe.ones(1, 2, 3, 4), pe.ones(1, 2, 3, 4))
    assert k.data_ptr == cache.keys[0].data_ptr and v.data_ptr == cache.values[0].data_ptr
    assert k.shape == (1, 2, 3, 4) and k.stride() == (64, 32, 4, 1)


def test_windows_see_so_many():
    pe.manual_seed(0)
    q, k, v = (pe.randn(1, heads, 7, 4) for heads in (4, 2, 2))
    for window in (1, 3, 7, 20):
        seen = causal_attention(q, k, v, 0, window).numpy()
        for i in range(7):
            low = max(0, i + 1 - window)
            one = causal_attention(q[:, :, i : i + 1], k[:, :, low : i + 1], v[:, :, low : i + 1], i - low).numpy()
            assert np.allclose(seen[:, :, i], one[:, :, 0], atol=1e-6)


# ---- choosing tokens ----

LOGITS = np.random.default_rng(0).normal(size=50).astype("f4") * 3


def test_greedy_is_what_narrow_choices_are():
    best = int(LOGITS.argmax())
    for options in ({}, {"top_k": 1, "temperature": 5.0}, {"top_p": 0.0, "temperature": 5.0},
                    {"min_p": 1.0, "temperature": 5.0}, {"temperature": 1e-4}):  # fmt: skip
        assert all(Sampler(seed=1, **options).choose(LOGITS) == best for _ in range(5)), options
    assert Sampler().choose(np.zeros(4, "f4")) == 0 and Sampler(top_k=2, temperature=1.0, seed=3).choose(
        np.zeros(4, "f4")
    ) in (0, 1)


def test_choices_follow_the_probabilities():
    p = np.exp(LOGITS - LOGITS.max())
    p /= p.sum()
    order = np.argsort(-p)
    nucleus = order[: np.searchsorted(np.cumsum(p[order]), 0.8) + 1]
    for options, allowed in (({}, order), ({"top_k": 5}, order[:5]), ({"top_p": 0.8}, nucleus),
                             ({"min_p": 0.3}, np.flatnonzero(p >= 0.3 * p.max()))):  # fmt: skip
        sampler = Sampler(temperature=1.0, seed=7, **options)
        drawn = np.bincount([sampler.choose(LOGITS) for _ in range(3000)], minlength=50) / 3000
        expected = np.where(np.isin(np.arange(50), allowed), p, 0)
        assert np.abs(drawn - expected / expected.sum()).max() < 0.04, options
        assert not drawn[~np.isin(np.arange(50), allowed)].any()


def test_penalties_and_seeds():
    best = int(LOGITS.argmax())
    assert Sampler(repetition_penalty=10.0).choose(LOGITS, [best]) != best
    assert Sampler(repetition_penalty=10.0).choose(LOGITS, [(best + 1) % 50]) == best
    assert Sampler(repetition_penalty=2.0).choose(np.array([-1.0, -1.5], "f4"), [0]) == 1
    net = filled("llama")
    same = [generate(net, [1, 2], 8, temperature=2.0, seed=5) for _ in range(2)]
    assert same[0] == same[1] != generate(net, [1, 2], 8, temperature=2.0, seed=6)
    pe.manual_seed(3)
    free = generate(net, [1, 2], 8, temperature=2.0)
    pe.manual_seed(3)
    assert free == generate(net, [1, 2], 8, temperature=2.0)


def test_options_out_of_range():
    for bad in ({"temperature": -1.0}, {"temperature": float("nan")}, {"top_k": 0}, {"top_k": 1.5}, {"top_p": 1.1},
                {"min_p": -0.1}, {"repetition_penalty": 0.0}):  # fmt: skip
        with pytest.raises(ValueError, match=f"generate: {next(iter(bad))} must be"):
            Sampler(**bad)
    net = filled("llama")
    for prompt, options in (([], {}), ([1], {"max_new_tokens": -1}), ([1], {"stop": [()]})):
        with pytest.raises(ValueError, match="generate: a prompt"):
            stream(net, prompt, **options)
    with pytest.raises((ValueError, IndexError), match=r"60|range"):
        generate(net, [60], 1)
    for bad in (pe.zeros(1, 3), pe.tensor([1, 2]), pe.zeros(1, 0).long(), [[1]]):
        with pytest.raises(ValueError, match="Llama: "):
            net(bad)
    with pytest.raises(ValueError, match="Llama: 65 tokens, the net has 64 positions"):
        net(pe.zeros(1, 65).long())
    for sizes in ({"num_attention_heads": 5}, {"num_key_value_heads": 4}):
        with pytest.raises(ValueError, match="heads"):
            models.llama(**(DECODER | sizes))


def test_stop_sequences_never_leak():
    net = filled("gpt2")
    tokens = generate(net, [1, 2, 3], 12)
    stop = tuple(tokens[5:7])
    at = next(i for i in range(11) if tuple(tokens[i : i + 2]) == stop)
    assert generate(net, [1, 2, 3], 12, stop=[stop]) == tokens[:at]
    assert generate(net, [1, 2, 3], 12, stop=[tokens[0]]) == []
    assert generate(net, [1, 2, 3], 12, stop=[(tokens[-1], 61)]) == tokens
    assert generate(net, [1, 2, 3], 0) == []


def test_what_is_held_back():
    def told(pieces, ends):
        return list(held_back(iter(pieces), ends, whole=True))

    assert told(["ab", "c", "STO", "P", "rest"], ("STOP",)) == ["ab", "c"]
    assert told(["xST", "ay"], ("STOP",)) == ["x", "STay"]
    assert told(["S", "ST", "OPS"], ("STOP",)) == ["S"]
    assert told(["aST"], ("STOP", "T")) == ["aS"]
    assert told(["aaab"], ("aab",)) == ["a"]
    assert list(held_back(iter([(1,), (2,), (3,), (4,)]), [(3, 9), (4,)])) == [1, 2, 3]


class Letters:
    """A tokenizer of bytes."""

    class Spelled:
        def __init__(self, ids):
            self.ids = ids

    def encode(self, text):
        return self.Spelled(list(text.encode()))

    def decode(self, ids):
        return bytes(ids).decode(errors="replace")


def test_texts_come_whole():
    """Characters of several tokens are given out once they are complete, and stop texts end them."""
    spoken = "héllo wörld €"

    class Recites:
        longest = 64

        def new_cache(self, batch, capacity):
            return KVCache(1, 1, 1, capacity, 1)

        def __call__(self, ids, cache, last=False):
            cache.advance(ids.shape[1])
            logits = np.zeros((1, 1, 256), "f4")
            logits[0, 0, spoken.encode()[cache.length - 1]] = 1
            return pe.from_numpy(logits)

    size = len(spoken.encode())
    assert list(models.stream_text(Recites(), Letters(), "x", size)) == list(spoken)
    assert generate_text(Recites(), Letters(), "x", size, stop="wör") == "héllo "
    assert generate_text(Recites(), Letters(), "x", 2) == "h\N{REPLACEMENT CHARACTER}"
    with pytest.raises(ValueError, match="a stop text is empty"):
        generate_text(Recites(), Letters(), "x", size, stop=[""])


def test_vision_transformers():
    net = models.vit_b_16()
    assert sum(parameter.numel() for parameter in net.parameters()) == 86_567_656
    keys = "class_token conv_proj.weight encoder.pos_embedding"
    keys += " encoder.layers.encoder_layer_11.self_attention.in_proj_weight"
    more = "encoder.layers.encoder_layer_0.mlp.3.bias encoder.ln.weight heads.head.bias"
    assert {*keys.split(), *more.split()} <= set(net.state_dict())
    small = models.vit_b_16(num_classes=5, image_size=32, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32).eval()
    nn.init.normal_(small.heads.head.weight)
    x = pe.randn(2, 3, 32, 32)
    with pe.no_grad():
        assert np.array_equal(small(x)[1:].numpy(), small(x[1:]).numpy())
    with pytest.raises(ValueError, match=r"pictures \(N, 3, 32, 32\) are needed"):
        small(pe.zeros(1, 3, 16, 16))
    with pytest.raises(ValueError, match="no multiple of patch_size"):
        models.vit_b_16(image_size=30)
