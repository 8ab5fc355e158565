"""summary: a model's layers with their shapes, parameters, FLOPs and bytes."""

from math import prod
from typing import NamedTuple

import pyengine as pe
from pyengine import Tensor, no_grad

from .module import Module

__all__ = ["LayerInfo", "Summary", "summary"]


class LayerInfo(NamedTuple):
    """One layer of a summary; parameters and bytes are its own, without those of layers below it."""

    name: str
    type: str
    input_shape: object
    output_shape: object
    parameters: int
    trainable: int
    flops: int
    bytes: int


class Summary:
    """What summary() found: `layers`, their sums, and as text a table."""

    def __init__(self, title, layers, parameters, trainable, parameter_bytes):
        self.title, self.layers = title, layers
        self.total_parameters, self.trainable_parameters = parameters, trainable
        self.parameter_bytes = parameter_bytes
        self.total_flops = sum(layer.flops for layer in layers)
        self.activation_bytes = sum(layer.bytes for layer in layers)

    def __repr__(self):
        rows = [("layer", "output shape", "parameters", "FLOPs", "bytes")]
        for layer in self.layers:
            title = f"{layer.name or self.title} ({layer.type})" if layer.name else layer.type
            rows.append((title, str(layer.output_shape), *(f"{n:,}" if n else "-" for n in layer[4:5] + layer[6:])))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = []
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
            cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        rule = "-" * max(len(line) for line in lines)
        frozen = self.total_parameters - self.trainable_parameters
        return "\n".join([
            lines[0], rule, *lines[1:], rule,
            f"parameters {self.total_parameters:,} ({self.trainable_parameters:,} learned, {frozen:,} frozen), "
            f"{self.parameter_bytes:,} bytes",
            f"FLOPs {self.total_flops:,} of products; outputs {self.activation_bytes:,} bytes",
        ])  # fmt: skip

    __str__ = __repr__


def _shape(value):
    """The shape of a tensor, or those of the tensors in a structure."""
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, (tuple, list)):
        shapes = [_shape(part) for part in value]
        return shapes[0] if len(shapes) == 1 else tuple(shapes)
    if isinstance(value, dict):
        return {key: _shape(part) for key, part in value.items()}
    return None


def _tensors(value):
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


def _flops(module, args, output):
    """Of the layer's own products, a multiplication and an addition counted as two; 0 where there are none."""
    weights = [p for p in module._parameters.values() if p is not None and p.ndim >= 2]
    outputs = [t for t in _tensors(output) if t.ndim]
    inputs = [t for t in _tensors(args) if t.ndim]
    kind = type(module).__name__
    if not weights or not outputs or not inputs or kind.startswith("Embedding"):
        return 0
    if kind.startswith("ConvTranspose"):
        return 2 * inputs[0].numel() * prod(weights[0].shape[1:])
    if kind.startswith("Conv"):
        return 2 * outputs[0].numel() * prod(weights[0].shape[1:])
    if kind == "Bilinear":
        return 2 * outputs[0].numel() * prod(weights[0].shape[1:])
    rows = prod(outputs[0].shape[:-1])  # each row of the output meets each weight once
    return 2 * rows * sum(p.numel() for p in weights)


class _Table:
    """Collects one LayerInfo a call through forward hooks."""

    def __init__(self, model):
        self.layers, self.model = [], model
        self.counted = set()
        self.places = {}

    def pre(self, name):
        """Keeps the layer's place in the table: containers stand above what they hold."""

        def hook(module, args, kwargs):
            self.places.setdefault(id(module), []).append(len(self.layers))
            self.layers.append(None)

        return hook

    def post(self, name):
        """Fills the place in."""

        def hook(module, args, kwargs, output):
            place = self.places[id(module)].pop()
            given = (*args, *kwargs.values())
            fresh = [p for p in module._parameters.values() if p is not None and id(p) not in self.counted]
            self.counted |= {id(p) for p in fresh}
            leaf = not module._modules
            self.layers[place] = LayerInfo(
                name, type(module).__name__, _shape(given), _shape(output), sum(p.numel() for p in fresh),
                sum(p.numel() for p in fresh if p.requires_grad), _flops(module, given, output),
                sum(t.numel() * t.element_size() for t in _tensors(output)) if leaf else 0)  # fmt: skip

        return hook


def _inputs(input_size, input_data, dtypes):
    if input_data is not None:
        return tuple(input_data) if isinstance(input_data, (tuple, list)) else (input_data,)
    if input_size is None:
        raise ValueError("summary: input_size or input_data must be given")
    several = input_size and isinstance(input_size[0], (tuple, list))
    shapes = [tuple(shape) for shape in input_size] if several else [tuple(input_size)]
    dtypes = list(dtypes) if isinstance(dtypes, (tuple, list)) else [dtypes] * len(shapes)
    if len(dtypes) != len(shapes):
        raise ValueError(f"summary: {len(dtypes)} dtypes for {len(shapes)} inputs")
    return tuple(pe.zeros(*shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True))


def summary(model, input_size=None, input_data=None, dtypes=None):
    """Runs model once (evaluation mode, no tape) on zeros of input_size, or on input_data, and returns what its layers
    are, as an object that prints as a table.

    Arguments: input_size, a shape with its batch, or a list of shapes; dtypes, of the inputs; input_data, a tensor or
    a tuple of arguments in their place. FLOPs are those of products (a multiply-add is two), bytes those of the outputs
    of layers without layers below them. Shared parameters count once.

    >>> import pyengine as pe
    >>> print(summary(pe.nn.Sequential(pe.nn.Linear(4, 8), pe.nn.ReLU()), (2, 4)))
    layer       output shape  parameters  FLOPs  bytes
    --------------------------------------------------
    Sequential  (2, 8)                 -      -      -
    0 (Linear)  (2, 8)                40    128     64
    1 (ReLU)    (2, 8)                 -      -     64
    --------------------------------------------------
    parameters 40 (40 learned, 0 frozen), 160 bytes
    FLOPs 128 of products; outputs 128 bytes
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: a Module is needed, got {type(model).__name__}")
    given, table, handles = _inputs(input_size, input_data, dtypes), _Table(model), []
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(table.pre(name), with_kwargs=True, prepend=True))
            handles.append(module.register_forward_hook(table.post(name), with_kwargs=True))
        with no_grad():
            model(*given)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    parameters = list(model.parameters())
    return Summary(type(model).__name__, table.layers, sum(p.numel() for p in parameters),
                   sum(p.numel() for p in parameters if p.requires_grad),
                   sum(p.numel() * p.element_size() for p in parameters))  # fmt: skip
