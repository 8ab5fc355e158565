"""Packed weights: never stale, never another bit, counted, freed; by writes of every kind, threads and forks."""

import gc
import os
import threading

import numpy as np
import pytest

import pyengine as pe
from pyengine import _core, nn, optim


def values(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def bits(x):
    return x.detach().numpy().tobytes()


def packed(weight):
    return _core.packed_weight(weight)


@pytest.fixture
def no_packs():
    gc.collect()
    pe.trim()
    assert pe.memory_stats()["packed"] == 0
    yield
    pe.trim()


def test_second_use_packs_and_changes_no_bit(no_packs):
    for rows, width, out in [(1, 300, 70), (3, 129, 257), (40, 64, 65), (256, 100, 100)]:
        x, w, b = pe.tensor(values(rows, width)), pe.tensor(values(out, width)), pe.tensor(values(out))
        expected = bits(pe.matmul(x, w.T) + b)
        start = pe.memory_stats()
        assert bits(pe.linear(x, w, b)) == expected
        assert packed(w) is None and pe.memory_stats()["packed"] == 0
        assert bits(pe.linear(x, w, b)) == expected
        assert packed(w).shape == (out, width) and packed(w).nbytes >= 4 * out * width
        assert pe.memory_stats()["packed"] == packed(w).nbytes
        assert pe.memory_stats()["in_use"] - start["in_use"] >= packed(w).nbytes
        many = pe.tensor(values(700, width))
        assert bits(pe.linear(many, w, b)) == bits(pe.matmul(many, w.T) + b)
        for threads in (1, 2, 3):
            with pe.num_threads(threads):
                assert bits(pe.linear(x, w, b)) == expected
        del w
        assert pe.memory_stats()["packed"] == 0


def test_what_is_not_packed(no_packs):
    x = pe.tensor(values(4, 128))
    array = values(64, 128)
    shared, part = pe.from_numpy(array), pe.tensor(values(128, 128))[:64]
    small, learned = pe.tensor(values(8, 128)), pe.tensor(values(64, 128), requires_grad=True)
    many, w = pe.tensor(values(257, 128)), pe.tensor(values(64, 128))
    for _ in range(4):
        for weight in (shared, part, small, learned):
            pe.linear(x, weight)
        pe.linear(many, w)
        assert packed(w) is packed(shared) is packed(part) is packed(small) is packed(learned) is None
    with pe.no_grad():
        for _ in range(2):
            pe.linear(x, learned)
    assert packed(learned) is not None


WRITES = {
    "in place": lambda layer: layer.weight.add_(1.0),
    "copy_": lambda layer: layer.weight.copy_(pe.ones(96, 128)),
    "element": lambda layer: layer.weight.detach().__setitem__((0, 0), 5.0),
    "view": lambda layer: layer.weight.detach()[3:5].mul_(2.0),
    "random": lambda layer: layer.reset_parameters(),
    "numpy": lambda layer: np.asarray(layer.weight.detach()).__setitem__(0, 3.0),
    "state": lambda layer: layer.load_state_dict({"weight": values(96, 128, seed=9), "bias": values(96, seed=9)}),
}


def warm(layer, x):
    with pe.no_grad():
        for _ in range(3):
            out = layer(x)
    assert packed(layer.weight) is not None
    return bits(out)


def check_fresh(layer, x):
    with pe.no_grad():
        for _ in range(3):
            assert bits(layer(x)) == bits(pe.matmul(x, layer.weight.detach().clone().T) + layer.bias)


@pytest.mark.parametrize("name", WRITES)
def test_a_write_ends_the_pack(no_packs, name):
    layer, x = nn.Linear(128, 96).eval(), pe.tensor(values(5, 128))
    before = warm(layer, x)
    with pe.no_grad():
        WRITES[name](layer)
    assert packed(layer.weight) is None
    assert pe.memory_stats()["packed"] == 0
    check_fresh(layer, x)
    assert before != bits(layer(x))


def test_an_array_that_lives_may_write_at_any_time(no_packs):
    layer, x = nn.Linear(128, 96), pe.tensor(values(5, 128))
    warm(layer, x)
    array = layer.weight.detach().numpy()
    for i in range(4):
        array[i] = i
        check_fresh(layer, x)
        assert packed(layer.weight) is None
    array[:] = 7
    del array
    check_fresh(layer, x)
    assert packed(layer.weight) is not None


@pytest.mark.parametrize("rule", [optim.SGD, optim.Adam])
def test_optimizer_steps_between_uses(no_packs, rule):
    layer, x = nn.Linear(128, 96), pe.tensor(values(5, 128))
    step = rule(layer.parameters(), lr=0.1)
    for _ in range(3):
        before = warm(layer, x)
        step.zero_grad()
        layer(x).sum().backward()
        step.step()
        assert packed(layer.weight) is None
        check_fresh(layer, x)
        assert bits(layer(x)) != before


def test_recorded_products_free_a_stale_pack(no_packs):
    """Training takes no memory for what inference had packed: it lies in the cache again, and is reused."""
    layer, x = nn.Linear(128, 96), pe.tensor(values(5, 128))
    warm(layer, x)
    nbytes, address = packed(layer.weight).nbytes, packed(layer.weight).data_ptr
    with pe.no_grad():
        layer.weight.mul_(0.5)
    out = layer(x)
    assert pe.empty(nbytes // 4).data_ptr == address
    assert out.requires_grad and packed(layer.weight) is None


def test_views_of_the_weight_do_not_meet_its_pack(no_packs):
    w, x = pe.tensor(values(128, 128)), pe.tensor(values(4, 128))
    expected, turned = bits(pe.matmul(x, w.T)), bits(pe.matmul(x, w))
    for _ in range(3):
        assert bits(pe.linear(x, w)) == expected
        assert bits(pe.linear(x, w.T)) == turned
        assert bits(pe.linear(x[:, :64], w[:, :64])) == bits(pe.matmul(x[:, :64], w[:, :64].T))


def test_pack_now_and_trim(no_packs):
    w, x = pe.tensor(values(96, 128)), pe.tensor(values(4, 128))
    expected = bits(pe.linear(x, w))
    made = pe.pack(w)
    assert repr(made) == f"PackedWeight(shape=(96, 128), nbytes={made.nbytes})"
    assert packed(w) is made is pe.pack(w)
    assert bits(pe.linear(x, w)) == expected
    pe.trim()
    assert packed(w) is None and pe.memory_stats()["packed"] == 0
    assert bits(pe.linear(x, w)) == expected
    assert packed(w) is None  # two uses again
    assert bits(pe.linear(x, w)) == expected
    assert packed(w) is not None
    assert pe.pack(pe.ones(3, 2)).shape == (3, 2)  # asked for, also the small ones


def test_pack_refuses():
    with pytest.raises(ValueError, match=r"pack: a weight \(out, in\) is needed, got shape \(3,\)"):
        pe.pack(pe.ones(3))
    with pytest.raises(ValueError, match=r"pack: the weight of shape \(2, 3\) is part of other memory"):
        pe.pack(pe.ones(4, 3)[:2])
    with pytest.raises(ValueError, match=r"pack: .*could change it unseen"):
        pe.pack(pe.from_numpy(values(3, 4)))
    with pytest.raises(TypeError, match=r"pack: weight must be float32, got int64"):
        pe.pack(pe.ones(3, 4, dtype="int64"))
    with pytest.raises(TypeError, match="pack: weight must be a Tensor, got NoneType"):
        pe.pack(None)
    with pytest.raises(TypeError, match="not called directly"):
        _core.PackedWeight()


def test_a_model_leaves_nothing(no_packs):
    start = pe.memory_stats()["in_use"]
    model = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 64))
    x = pe.tensor(values(4, 128))
    with pe.no_grad():
        for _ in range(3):
            model(x)
    assert pe.memory_stats()["packed"] > 4 * (128 * 256 + 256 * 64)
    del model, x
    gc.collect()
    assert pe.memory_stats()["packed"] == 0
    assert pe.memory_stats()["in_use"] == start


def test_threads_share_packs(no_packs):
    """Products, writes and trims from several threads: every result is that of the weight at one moment."""
    w, x = pe.tensor(values(200, 300)), pe.tensor(values(3, 300))
    right = {bits(pe.matmul(x, w.T))}
    with pe.no_grad():
        right.add(bits(pe.matmul(x, (w + w).T)))
    layers, wrong = [pe.tensor(w.numpy().copy()) for _ in range(3)], []

    def work(i):
        try:
            for turn in range(150):
                weight = layers[(i + turn) % 3]
                if bits(pe.linear(x, weight)) not in right:
                    wrong.append(turn)
                if turn % 40 == i:
                    pe.trim()
                    layers[i % 3] = weight + weight if bits(weight) == bits(w) else w.clone()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join(120) for t in threads]
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_uses_and_frees_the_pack(no_packs):
    layer, x = nn.Linear(512, 600), pe.tensor(values(5, 512))
    before = warm(layer, x)
    child = os.fork()
    if not child:
        code = 1
        try:
            with pe.no_grad():
                same = bits(layer(x)) == before
                layer.weight.mul_(2.0)
                check_fresh(layer, x)
                pe.trim()
                check_fresh(layer, x)
            code = 0 if same else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bits(layer(x)) == before
    assert packed(layer.weight) is not None
