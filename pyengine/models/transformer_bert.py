"""BERT, and sentence encoders made of it."""

import pyengine as pe
from pyengine import nn
from pyengine.nn import functional as F

from .transformer_blocks import activation_name, built, check_ids, merge_heads, split_heads, without_prefix


class Embeddings(nn.Module):
    """Normalized sums of a token's, a place's and a segment's vector."""

    def __init__(self, vocab_size, width, places, segments, eps, dropout):
        super().__init__()
        self.word_embeddings = nn.Embedding(vocab_size, width)
        self.position_embeddings = nn.Embedding(places, width)
        self.token_type_embeddings = nn.Embedding(segments, width)
        self.LayerNorm = nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids, segments, places):
        x = self.word_embeddings(ids)
        steps = ids.shape[1]
        rows = self.position_embeddings
        x = x + (rows.weight[:steps] if places is None else rows(places))
        kinds = self.token_type_embeddings
        x = x + (kinds.weight[0] if segments is None else kinds(segments))
        return self.dropout(self.LayerNorm(x))


class SelfAttention(nn.Module):
    """Attention of all places to all that mask shows."""

    def __init__(self, width, heads, dropout):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.heads, self.dropout = heads, dropout

    def forward(self, x, mask):
        q, k, v = (split_heads(layer(x), self.heads) for layer in (self.query, self.key, self.value))
        return merge_heads(F.scaled_dot_product_attention(q, k, v, mask, self.dropout if self.training else 0.0))


class Output(nn.Module):
    """LayerNorm(residual + dense x)."""

    def __init__(self, inputs, width, eps, dropout):
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, residual):
        if self.training:
            return self.LayerNorm(self.dropout(self.dense(x)) + residual)
        return self.LayerNorm(pe.linear(x, self.dense.weight, self.dense.bias, None, residual))


class Layer(nn.Module):
    """Attention, then two linear layers, each behind a residual and LayerNorm."""

    def __init__(self, width, heads, hidden, activation, eps, dropout, attention_dropout):
        super().__init__()
        self.attention = nn.Module()
        self.attention.self = SelfAttention(width, heads, attention_dropout)
        self.attention.output = Output(width, width, eps, dropout)
        self.intermediate = nn.Module()
        self.intermediate.dense = nn.Linear(width, hidden)
        self.output = Output(hidden, width, eps, dropout)
        self.activation = activation

    def forward(self, x, mask):
        attention, wide = self.attention, self.intermediate.dense
        x = attention.output(attention.self(x, mask), x)
        return self.output(pe.linear(x, wide.weight, wide.bias, self.activation), x)


class Pooler(nn.Module):
    """tanh(dense x) of the first place."""

    def __init__(self, width):
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x):
        return F.tanh(self.dense(x[:, 0]))


class Bert(nn.Module):
    """The encoder of places that see each other. (Devlin, Chang, Lee & Toutanova 2018, "BERT: pre-training of deep
    bidirectional transformers for language understanding")

    The state_dict's keys are those of Hugging Face's BertModel, and so are the names of the arguments.
    Shape: input_ids (B, T), T at most max_position_embeddings -> (B, T, hidden_size). attention_mask (B, T) has 0 or
    False at places that are padding; token_type_ids and position_ids (B, T) are 0 and 0 .. T - 1 where they are None.
    """

    def __init__(
        self, *, vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
        intermediate_size=3072, max_position_embeddings=512, type_vocab_size=2, hidden_act="gelu",
        layer_norm_eps=1e-12, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1, add_pooling_layer=True,
    ):  # fmt: skip
        super().__init__()
        if hidden_size % num_attention_heads:
            raise ValueError(f"Bert: hidden_size {hidden_size} is not divisible by {num_attention_heads} heads")
        self.longest, activation = max_position_embeddings, activation_name(hidden_act)
        self.embeddings = Embeddings(
            vocab_size, hidden_size, max_position_embeddings, type_vocab_size, layer_norm_eps, hidden_dropout_prob
        )
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(
            Layer(hidden_size, num_attention_heads, intermediate_size, activation, layer_norm_eps, hidden_dropout_prob,
                  attention_probs_dropout_prob)
            for _ in range(num_hidden_layers)
        )  # fmt: skip
        self.pooler = Pooler(hidden_size) if add_pooling_layer else None
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                nn.init.normal_(layer.weight, 0.0, 0.02)
            if isinstance(layer, nn.Linear):
                nn.init.zeros_(layer.bias)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, position_ids=None):
        check_ids("Bert", input_ids, self.longest)
        mask = None
        if attention_mask is not None:
            if attention_mask.shape != input_ids.shape:
                raise ValueError(f"Bert: attention_mask {attention_mask.shape} must have ids' shape {input_ids.shape}")
            mask = (attention_mask != 0)[:, None, None, :]
        x = self.embeddings(input_ids, token_type_ids, position_ids)
        for layer in self.encoder.layer:
            x = layer(x, mask)
        return x


def _named(state):
    """Files of BertModel, or of a model with heads around one, whose names begin with "bert."."""
    if any(name.startswith("bert.") for name in state):
        state = {name: tensor for name, tensor in state.items() if name.startswith("bert.")}
    return without_prefix(state, "bert.", ("position_ids",))


def bert(weights=None, **sizes):
    """Bert with the weights of a safetensors file or of one that torch.save wrote, with or without a "bert." before the
    names; sizes are Bert's arguments.

    >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    >>> net = bert(vocab_size=50, **sizes).eval()
    >>> net(pe.tensor([[1, 2, 3]])).shape
    (1, 3, 8)
    """
    return built(Bert, weights, sizes, _named)


def minilm(weights=None, **sizes):
    """The sentence encoder all-MiniLM-L6-v2's sizes: 6 layers, 384 wide. (Wang et al. 2020, "MiniLM"; Reimers &
    Gurevych 2019, "Sentence-BERT")"""
    known = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    return bert(weights, **(known | sizes))
