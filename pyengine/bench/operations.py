"""Cases of single operations, with and without the tape, and of optimizer steps."""

import math
from typing import Any

from pyengine.bench.cases import Case

SIZES = {"16M": 4096, "64k": 256}  # sides of square matrices
UNARY = ("exp", "tanh", "gelu", "relu")
BINARY = ("add", "mul")
REDUCTIONS = ("sum", "max", "mean")
ROWS = ((64, 768), (2048, 768), (16384, 1024))
LOGITS = ((64, 1000), (2048, 1000), (1024, 50257))
CHAIN = 100  # operations of the tape's case
# batch, heads, tokens, features; and of decoding: heads, heads of keys, features, tokens that are cached
ATTENTION = ((8, 12, 128, 64), (4, 12, 512, 64), (1, 12, 2048, 64), (1, 8, 4096, 128))
DECODING = ((32, 32, 128, 2048), (9, 3, 64, 2048), (12, 12, 64, 512))

# width, layers: GPT-2 small's, and of the embedding what makes its list 100 tensors
WIDTH, BLOCKS, CONTEXT = 768, 12, 1024
MANY = [[1000]] * 100
# name: options, and arrays of all weights that a step must read or write
OPTIMIZERS: dict[str, tuple[dict[str, Any], int]] = {
    "AdamW": ({"lr": 1e-3, "weight_decay": 0.01}, 7), "Adam": ({"lr": 1e-3}, 7),
    "SGD": ({"lr": 1e-3, "momentum": 0.9}, 5), "Lion": ({"lr": 1e-4, "weight_decay": 0.1}, 5),
}  # fmt: skip


def simple(what: str, size: str) -> Case:
    side = SIZES[size]
    array, out = 4 * side * side, 4 * side if what in REDUCTIONS else 4 * side * side
    bytes_ = (2 if what in BINARY else 1) * array + out
    bandwidth = "read" if what in REDUCTIONS else "triad" if what in BINARY else "copy"
    group = f"{'reductions' if what in REDUCTIONS else 'elementwise'} {size}"
    return Case(f"{what} {size}", "simple", {"op": what, "shape": [side, side]}, "fp32", side * side, bytes_, bytes_,
                bandwidth=bandwidth, group=group)  # fmt: skip


def both_ways(what: str, rows: int, columns: int) -> Case:
    """Forward and backward: rows come in, rows and a gradient go out, at the very least."""
    n = rows * columns
    arrays = 2 if what == "cross_entropy" else 4  # one number goes out; or the result, and its gradient comes in
    return Case(f"{what} {rows}x{columns}", "both_ways", {"op": what, "shape": [rows, columns]}, "fp32", 4 * n,
                4 * arrays * n, 4 * arrays * n, bandwidth="copy", agree=1e-3,
                group=f"{'cross entropy' if arrays == 2 else 'rows'}, forward and backward")  # fmt: skip


def attention(batch: int, heads: int, tokens: int, size: int, causal: bool, backward: bool = False) -> Case:
    """With a causal mask, half of the products; backward: the gradients to queries, keys and values alone, by five
    products where there were two."""
    shape, array = [batch, heads, tokens, size], 4 * batch * heads * tokens * size
    work = 4 * batch * heads * tokens * tokens * size * (2.5 if backward else 1) / (2 if causal else 1)
    what = f"attention{' backward' if backward else ''}{', causal' if causal else ''}"
    params = {"query": shape, "key": shape, "causal": causal}
    return Case(f"{what} {batch}x{heads}x{tokens}x{size}", "attention_backward" if backward else "attention", params,
                "fp32", work, (8 if backward else 4) * array, (8 if backward else 4) * array, bandwidth="copy",
                agree=1e-3, group=what)  # fmt: skip


def decoding(heads: int, kv_heads: int, size: int, cached: int) -> Case:
    """One query a head against keys and values that were read before: what bounds it is reading them."""
    params = {"query": [1, heads, 1, size], "key": [1, kv_heads, cached, size], "causal": False}
    read = 8 * kv_heads * cached * size
    return Case(f"decoding {heads}/{kv_heads} heads of {size}, {cached} cached", "attention", params, "fp32",
                4 * heads * cached * size, read, read, agree=1e-3, group="decoding")  # fmt: skip


def op_cases() -> list[Case]:
    cases = [simple(what, size) for size in SIZES for what in (*BINARY, *UNARY, *REDUCTIONS)]
    cases += [both_ways(what, *rows) for what in ("softmax", "layer_norm", "rms_norm") for rows in ROWS]
    cases += [both_ways("cross_entropy", *rows) for rows in LOGITS]
    for backward in (False, True):
        cases += [attention(*shape, causal, backward) for causal in (False, True) for shape in ATTENTION]
    cases += [decoding(*shape) for shape in DECODING]
    tiny = {"n": 16, "operations": CHAIN}
    return [*cases, Case(f"tape: {CHAIN} operations on 16 floats", "tape", tiny, "fp32", 16 * CHAIN, 128, 128,
                         agree=1e-3, group="tape")]  # fmt: skip


def gpt2() -> list[list[int]]:
    w = WIDTH
    block = [[w], [w], [3 * w, w], [3 * w], [w, w], [w], [4 * w, w], [w, 4 * w]]
    return [[CONTEXT, w], [16 * CONTEXT, w], *block * BLOCKS, [w], [w]]


def optimizer(what: str, name: str, shapes: list[list[int]]) -> Case:
    options, arrays = OPTIMIZERS[name]
    size = 4 * sum(map(math.prod, shapes))
    held = size * {7: 4, 5: 3}[arrays]
    return Case(f"{name} {what}", "optimizer", {"name": name, "options": options, "shapes": shapes}, "fp32",
                3 * size, arrays * size, held, bandwidth="update", group=what)  # fmt: skip


def optimizer_cases() -> list[Case]:
    lists = {"GPT-2 like, 100 tensors": gpt2(), "100 tensors of 1,000": MANY}
    return [optimizer(what, name, shapes) for what, shapes in lists.items() for name in OPTIMIZERS]
