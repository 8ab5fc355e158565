"""fork after every family of kernels: the parent has used each, the child uses it again and finds the same bits;
also while other threads are inside those very calls, and from such a thread."""

import hashlib
import os
import threading

import numpy as np
import pytest
from forks import LIMIT, finish_child, in_child, start_child

import pyengine as pe
from pyengine import data, nn, optim

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def numbers(*shape, seed=0):
    return pe.tensor(np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32))


def trained(layer, *inputs):
    """The output, the gradients of inputs and parameters, and the output in inference (twice: weights are packed)."""
    inputs = [x.detach().requires_grad_() if x.dtype is pe.float32 else x for x in inputs]
    first = layer(*inputs)
    out = first[0] if isinstance(first, tuple) else first
    (out * out).mean().backward()
    gradients = [x.grad for x in inputs if x.requires_grad] + [p.grad for p in layer.parameters()]
    layer.eval()
    with pe.inference_mode():
        again = [layer(*inputs) for _ in range(3)]
    return [out, *gradients, *(y[0] if isinstance(y, tuple) else y for y in again)]


def images():
    x = numbers(8, 32, 24, 24)
    return [
        *trained(nn.Sequential(nn.Conv2d(32, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU()), x),  # Winograd
        *trained(nn.Conv2d(32, 32, 5, stride=2, groups=2), x),
        *trained(nn.Conv2d(32, 32, 3, padding=1, groups=32), x),  # depthwise
        *trained(nn.ConvTranspose2d(32, 16, 4, stride=2), x),
        *trained(nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(3, 1), nn.AdaptiveAvgPool2d(2)), x),
        *trained(nn.GroupNorm(4, 32), x),
        nn.functional.interpolate(x, (17, 33), mode="bilinear"),
    ]


def sequences():
    x = numbers(6, 40, 96)
    ids = pe.tensor(np.random.default_rng(1).integers(0, 500, (64, 40)))
    return [
        *trained(nn.LSTM(96, 80, batch_first=True), x),
        *trained(nn.GRU(96, 64, batch_first=True, bidirectional=True), x),
        *trained(nn.TransformerEncoderLayer(96, 4, 128, dropout=0.0, batch_first=True), x),
        *trained(nn.Sequential(nn.RMSNorm(96), nn.LayerNorm(96)), x),
        *trained(nn.Embedding(500, 96), ids),
        *trained(nn.EmbeddingBag(500, 96, mode="mean"), ids),
        nn.functional.scaled_dot_product_attention(*numbers(3, 2, 4, 200, 32), is_causal=True),
        pe.rotary_embedding(numbers(2, 4, 50, 32), *pe.rotary_tables(50, 32)),
    ]


def numbers_of_few_bits():
    x, w = numbers(300, 256), numbers(384, 256, seed=1)
    packs = [pe.QuantizedWeight.from_float(w, bits=bits) for bits in (8, 4)]
    return [pe.quantized_linear(x, pack) for pack in packs]


def places():
    x = numbers(300, 400)
    index = pe.tensor(np.random.default_rng(2).integers(0, 300, (300, 400)))
    offsets = pe.tensor([100, 150, 300], dtype="int32")
    return [x.sort(1)[0], x.topk(5)[1], x.cumsum(1), x.gather(0, index), x.scatter_add(0, index, x), x.norm(),
            pe.einsum("ij,kj->ik", x, x), nn.functional.grouped_mm(x, numbers(3, 400, 64), offs=offsets)]  # fmt: skip


def steps():
    """Every optimizer whose step is one C call."""
    out = []
    for kind in (optim.SGD, optim.Adam, optim.AdamW, optim.Lion, optim.RMSprop, optim.Adagrad, optim.NAdam):
        weight = numbers(300, 301).requires_grad_()
        (weight * weight).sum().backward()
        kind([weight], lr=0.1).step()
        out.append(weight)
    optimizer = optim.Muon([weight], lr=0.1)
    optimizer.step()
    return out


def batches():
    """Threads of the loader read ahead."""
    loader = data.DataLoader(data.ArrayDataset(np.arange(3000.0, dtype=np.float32).reshape(100, 30)), 7, num_workers=2)
    return [pe.as_tensor(batch[0] if isinstance(batch, (tuple, list)) else batch) for batch in loader]


FAMILIES = [images, sequences, numbers_of_few_bits, places, steps, batches]


def digest(family):
    pe.manual_seed(0)
    parts = [t.detach().contiguous().numpy().tobytes() for t in family()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.fixture(scope="module", autouse=True)
def threads():
    with pe.num_threads(max(3, pe.get_num_threads())):
        yield


@pytest.mark.parametrize("family", FAMILIES)
def test_child_repeats_it(family):
    before = pe.pool_stats()["parallel_calls"]
    expected = digest(family)
    assert digest(family) == expected
    if family not in (batches, numbers_of_few_bits):
        assert pe.pool_stats()["parallel_calls"] > before
    assert in_child(lambda: digest(family)) == expected
    assert digest(family) == expected


def test_child_repeats_all_while_a_thread_is_inside_them():
    """And forks from that thread: it is between two calls of its own then, the main thread is anywhere."""
    expected = [digest(family) for family in FAMILIES]
    stop, failures = threading.Event(), []

    def compute():
        x, layer = numbers(4, 32, 20, 20), nn.Conv2d(32, 32, 3, padding=1)
        rows, cell = numbers(4, 30, 64), nn.LSTM(64, 64)
        heads = numbers(3, 2, 4, 150, 32)
        try:
            while not stop.is_set():
                layer(x).sum().backward()
                cell(rows)[0].sum().backward()
                nn.functional.scaled_dot_product_attention(*heads)
        except BaseException as error:
            failures.append(error)

    def all_in_child():
        return [digest(family) for family in FAMILIES]

    def fork_here():
        try:
            for _ in range(2):
                assert in_child(all_in_child, 2 * LIMIT) == str(expected)
        except BaseException as error:
            failures.append(error)

    others = [threading.Thread(target=compute), threading.Thread(target=fork_here)]
    [t.start() for t in others]
    children = [start_child(all_in_child) for _ in range(2)]
    try:
        assert [finish_child(*child, 2 * LIMIT) for child in children] == [str(expected)] * 2
        others[1].join(4 * LIMIT)
    finally:
        stop.set()
        [t.join(LIMIT) for t in others]
    assert not failures and not any(t.is_alive() for t in others)


def test_an_iteration_that_a_fork_cut_in_two():
    """Its threads are the parent's: the child is told, and begins another one."""
    loader = data.DataLoader(data.ArrayDataset(np.arange(300.0, dtype=np.float32)), 7, num_workers=2)
    begun = iter(loader)
    next(begun)

    def work():
        with pytest.raises(RuntimeError, match="threads of this iteration stayed in the process that began it"):
            list(begun)
        return sum(1 for _ in loader)

    assert in_child(work) == "43"
    assert sum(1 for _ in begun) == 42
