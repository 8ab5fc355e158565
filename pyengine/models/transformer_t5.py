"""T5: an encoder that reads a text and a decoder that writes another."""

import math

import pyengine as pe
from pyengine import nn
from pyengine.nn import functional as F

from .cache import KVCache
from .transformer_blocks import activation_name, built, check_ids, check_tokens, merge_heads, split_heads

LONGEST = 1 << 16  # positions are relative: a cache's capacity and memory are the only limits below this


class Attention(nn.Module):
    """Attention without scale or biases, with a learned number for each distance in buckets."""

    def __init__(self, width, heads, size, buckets):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, heads * size, False) for _ in range(3))
        self.o = nn.Linear(heads * size, width, False)
        if buckets:
            self.relative_attention_bias = nn.Embedding(buckets, heads)
        self.heads = heads

    def keys(self, x):
        """Keys and values of x."""
        return split_heads(self.k(x), self.heads), split_heads(self.v(x), self.heads)

    def forward(self, x, key, value, mask):
        q = split_heads(self.q(x), self.heads)
        return self.o(merge_heads(F.scaled_dot_product_attention(q, key, value, mask, scale=1.0)))

    def distances(self, places, known, far, both_ways):
        """The learned numbers (1, heads, T, S) for queries at these places and all keys up to known."""
        import numpy

        table = self.relative_attention_bias.weight
        apart = numpy.arange(known)[None] - numpy.asarray(places)[:, None]
        rows = pe.from_numpy(buckets(apart, table.shape[0], far, both_ways).reshape(-1))
        return F.embedding(rows, table).reshape(len(places), known, -1).permute(2, 0, 1)[None]


def buckets(apart, count, far, both_ways):
    """Which bucket each distance key - query falls into: one each while near, then ever wider ones up to far."""
    import numpy

    half = count // 2 if both_ways else count
    start = numpy.where(apart > 0, half, 0) if both_ways else 0
    distance = numpy.abs(apart) if both_ways else -numpy.minimum(apart, 0)
    exact = half // 2
    ratio = numpy.log(numpy.maximum(distance, 1).astype("f4") / numpy.float32(exact)) / math.log(far / exact)
    wide = exact + (ratio.astype("f4") * numpy.float32(half - exact)).astype("i8")
    return start + numpy.where(distance < exact, distance, numpy.minimum(wide, half - 1))


class FeedForward(nn.Module):
    """wo(act(wi x)), or gated wo(act(wi_0 x) * (wi_1 x))."""

    def __init__(self, width, hidden, activation, gated):
        super().__init__()
        for name in ("wi_0", "wi_1") if gated else ("wi",):
            setattr(self, name, nn.Linear(width, hidden, False))
        self.wo = nn.Linear(hidden, width, False)
        self.activation, self.gated = activation, gated

    def forward(self, x):
        first = self.wi_0 if self.gated else self.wi
        inner = pe.linear(x, first.weight, None, self.activation)
        return self.wo(inner * self.wi_1(x) if self.gated else inner)


class Sublayer(nn.Module):
    """One layer behind its norm, under the name that the files give it."""

    def __init__(self, name, layer, width, eps):
        super().__init__()
        self.add_module(name, layer)
        self.layer_norm = nn.RMSNorm(width, eps)


class Stack(nn.Module):
    """Encoder or decoder."""

    def __init__(self, o, shared, layers, decoder):
        super().__init__()
        self.embed_tokens, self.far, self.decoder, self.dropout = shared, o["far"], decoder, o["dropout"]
        self.block = nn.ModuleList(self._block(o, number == 0) for number in range(layers))
        self.final_layer_norm = nn.RMSNorm(o["width"], o["eps"])

    def _block(self, o, first):
        def attention(buckets):
            return Attention(o["width"], o["heads"], o["size"], buckets)

        parts = [("SelfAttention", attention(o["buckets"] if first else 0))]
        parts += [("EncDecAttention", attention(0))] if self.decoder else []
        parts += [("DenseReluDense", FeedForward(o["width"], o["hidden"], o["activation"], o["gated"]))]
        block = nn.Module()
        block.layer = nn.ModuleList(Sublayer(*part, o["width"], o["eps"]) for part in parts)
        return block

    def _mask(self, start, steps, shown):
        """What is added to the scores: distances, -inf where a key is later or is padding."""
        first = self.block[0].layer[0].SelfAttention
        known = start + steps
        mask = first.distances(range(start, known), known, self.far, not self.decoder)
        if self.decoder and steps > 1:
            later = pe.arange(known) > pe.arange(start, known).reshape(-1, 1)
            mask = pe.where(later, float("-inf"), mask)
        return mask if shown is None else pe.where(shown, mask, float("-inf"))

    def forward(self, ids, shown=None, memory=None, memory_shown=None, cache=None):
        p = self.dropout if self.training else 0.0
        start = 0 if cache is None else cache.length
        x, mask = pe.dropout(self.embed_tokens(ids), p), self._mask(start, ids.shape[1], shown)
        for number, block in enumerate(self.block):
            own, *cross, last = block.layer
            inner = own.layer_norm(x)
            pair = own.SelfAttention.keys(inner)
            pair = pair if cache is None else cache.append(number, *pair)
            x = x + pe.dropout(own.SelfAttention(inner, *pair, mask), p)
            for layer in cross:
                inner = layer.EncDecAttention(layer.layer_norm(x), *memory[number], memory_shown)
                x = x + pe.dropout(inner, p)
            x = x + pe.dropout(last.DenseReluDense(last.layer_norm(x)), p)
        return self.final_layer_norm(x)


class T5(nn.Module):
    """The encoder-decoder that turns texts into texts. (Raffel et al. 2020, "Exploring the limits of transfer learning
    with a unified text-to-text transformer")

    The state_dict's keys are those of Hugging Face's T5ForConditionalGeneration, and so are the arguments' names.
    scale_decoder_outputs: logits are divided by sqrt(d_model); None: where embeddings are tied.
    Shape: input_ids (B, S), decoder_input_ids (B, T), attention_mask (B, S) with 0 at padding -> (B, T, vocab_size).
    """

    def __init__(
        self, *, vocab_size=32128, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_decoder_layers=None, num_heads=8,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.1,
        layer_norm_epsilon=1e-6, feed_forward_proj="relu", tie_word_embeddings=True, scale_decoder_outputs=None,
    ):  # fmt: skip
        super().__init__()
        gated, name = feed_forward_proj.startswith("gated-"), feed_forward_proj.removeprefix("gated-")
        o = {"width": d_model, "size": d_kv, "hidden": d_ff, "heads": num_heads, "eps": layer_norm_epsilon,
             "buckets": relative_attention_num_buckets, "far": relative_attention_max_distance, "gated": gated,
             "activation": "gelu_tanh" if gated and name == "gelu" else activation_name(name),
             "dropout": dropout_rate}  # fmt: skip
        scaled = tie_word_embeddings if scale_decoder_outputs is None else scale_decoder_outputs
        self.heads, self.size, self.scale = num_heads, d_kv, d_model**-0.5 if scaled else 1.0
        self.shared = nn.Embedding(vocab_size, d_model)
        self.encoder = Stack(o, self.shared, num_layers, False)
        self.decoder = Stack(o, self.shared, num_layers if num_decoder_layers is None else num_decoder_layers, True)
        self.lm_head = nn.Linear(d_model, vocab_size, False)
        if tie_word_embeddings:
            self.lm_head.weight = self.shared.weight

    def read(self, input_ids, attention_mask=None):
        """What the decoder needs to know of a text: an object to generate with, called as (ids, cache, last)."""
        check_ids("T5", input_ids)
        shown = None
        if attention_mask is not None:
            if attention_mask.shape != input_ids.shape:
                raise ValueError(f"T5: attention_mask {attention_mask.shape} must have ids' shape {input_ids.shape}")
            shown = (attention_mask != 0)[:, None, None, :]
        memory = self.encoder(input_ids, shown)
        return Reading(self, [block.layer[1].EncDecAttention.keys(memory) for block in self.decoder.block], shown)

    def forward(self, input_ids, decoder_input_ids, attention_mask=None):
        return self.read(input_ids, attention_mask)(decoder_input_ids)


class Reading:
    """A T5 that has read a text: called as a decoder is, models.generate(net.read(ids), [0]) writes."""

    def __init__(self, net, memory, shown):
        self.net, self.memory, self.shown = net, memory, shown

    def new_cache(self, batch=1, capacity=512):
        """A KVCache for batch rows."""
        return KVCache(len(self.memory), batch, self.net.heads, capacity, self.net.size)

    def __call__(self, ids, cache=None, last=False):
        steps, _ = check_tokens("T5", ids, cache, LONGEST)
        x = self.net.decoder(ids, None, self.memory, self.shown, cache)
        if cache is not None:
            cache.advance(steps)
        return self.net.lm_head((x[:, -1:] if last else x) * self.net.scale)


def t5(weights=None, **sizes):
    """T5 with the weights of a safetensors file or of one that torch.save wrote; sizes are T5's arguments, or those of
    a config.json beside the file.

    >>> net = t5(vocab_size=50, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2).eval()
    >>> net(pe.tensor([[1, 2, 3]]), pe.tensor([[0, 4]])).shape
    (1, 2, 50)
    """
    return built(T5, weights, sizes)
