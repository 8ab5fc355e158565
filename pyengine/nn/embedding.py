"""Embeddings: learned rows by number; and the bilinear layer."""

import math

import pyengine as pe

from . import functional as F
from . import init
from .module import Module, Parameter


def _padding(name, padding_idx, rows):
    """padding_idx counted from the front."""
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise AssertionError(f"{name}: padding_idx must be within {rows} embeddings, got {padding_idx}")
    return None if padding_idx is None else padding_idx % rows


class _Table(Module):
    """What Embedding and EmbeddingBag share: the table and how it starts."""

    def _start(self, num_embeddings, embedding_dim, padding_idx, weight, frozen):
        name = type(self).__name__
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = _padding(name, padding_idx, num_embeddings)
        if weight is None:
            self.weight = Parameter(pe.empty(num_embeddings, embedding_dim), requires_grad=not frozen)
            self.reset_parameters()
        elif weight.shape != (num_embeddings, embedding_dim):
            raise AssertionError(f"{name}: _weight of shape {weight.shape}, not {(num_embeddings, embedding_dim)}")
        else:
            self.weight = Parameter(weight, requires_grad=not frozen)

    def reset_parameters(self):
        """Draws the table anew from N(0, 1); the row padding_idx is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with pe.no_grad():
                self.weight[self.padding_idx] = 0.0

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, **options):
        """A layer on the rows of a matrix; frozen ones are not learned."""
        if embeddings.ndim != 2:
            raise AssertionError(f"{cls.__name__}: embeddings must be a matrix, got shape {embeddings.shape}")
        layer = cls(*embeddings.shape, _weight=embeddings, _freeze=freeze, **options)
        return layer


class Embedding(_Table):
    """weight[input]: a learned vector for each number.

    Arguments: padding_idx, a row that starts at 0 and gets no gradient; max_norm, rows in use are scaled down to this
    norm_type norm; scale_grad_by_freq, gradients are divided by how often their row is used; sparse, the gradient is a
    RowSparse: a step of optim.SparseAdam, Adagrad or SGD without momentum then touches the rows in use alone.
    Shape: (...) -> (..., embedding_dim). weight (num_embeddings, embedding_dim), from N(0, 1).
    Errors: IndexError that names the entry which is no row.

    >>> import pyengine as pe
    >>> pe.nn.Embedding(10, 3)(pe.tensor([[1, 2], [4, 5]])).shape
    (2, 2, 3)
    """

    def __init__(
        self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False,
        sparse=False, _weight=None, _freeze=False,
    ):  # fmt: skip
        super().__init__()
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self._start(num_embeddings, embedding_dim, padding_idx, _weight, _freeze)

    def forward(self, input):
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self):
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}" + padding


class EmbeddingBag(_Table):
    """The sum, mean or maximum of the rows of each bag of numbers; 0 for an empty bag.

    Arguments: as Embedding's; mode, "sum", "mean" or "max"; include_last_offset, offsets end with the input's length.
    Shape: (bags, n), or all bags one after the other with the offset of each -> (bags, embedding_dim).

    >>> import pyengine as pe
    >>> layer = pe.nn.EmbeddingBag(10, 3, mode="sum")
    >>> layer(pe.tensor([1, 2, 4, 5, 4]), pe.tensor([0, 3])).shape
    (2, 3)
    """

    def __init__(
        self, num_embeddings, embedding_dim, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, mode="mean",
        sparse=False, _weight=None, include_last_offset=False, padding_idx=None, _freeze=False,
    ):  # fmt: skip
        super().__init__()
        self.max_norm, self.norm_type, self.mode = max_norm, norm_type, mode
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.include_last_offset = include_last_offset
        self._start(num_embeddings, embedding_dim, padding_idx, _weight, _freeze)

    def forward(self, input, offsets=None, per_sample_weights=None):
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    def extra_repr(self):
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}, mode={self.mode!r}"


class Bilinear(Module):
    """y_o = sum_ij x1_i weight_oij x2_j + bias_o.

    Shape: (..., in1_features), (..., in2_features) -> (..., out_features). Both parameters start uniform in
    +-1/sqrt(in1_features), as PyTorch's do.

    >>> import pyengine as pe
    >>> pe.nn.Bilinear(3, 4, 2)(pe.zeros(5, 3), pe.zeros(5, 4)).shape
    (5, 2)
    """

    def __init__(self, in1_features, in2_features, out_features, bias=True):
        super().__init__()
        if in1_features <= 0:
            raise ValueError(f"Bilinear: in1_features must be at least 1, got {in1_features}")
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = Parameter(pe.empty(out_features, in1_features, in2_features))
        if bias:
            self.bias = Parameter(pe.empty(out_features))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self):
        """Draws weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1, input2):
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self):
        sizes = f"in1_features={self.in1_features}, in2_features={self.in2_features}"
        return f"{sizes}, out_features={self.out_features}, bias={self.bias is not None}"
