"""The cache of buffers as a program meets it: its arithmetic, its cap, and that nothing grows."""

import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from require import require

import pyengine as pe

MIB = 1 << 20


@pytest.fixture
def empty_cache():
    """A known start: nothing cached, and the cap as it was at the end."""
    gc.collect()
    cap = pe.memory_stats()["cap"]
    pe.trim()
    yield
    pe.set_memory_cap(cap)
    pe.trim()


def use(before):
    return pe.memory_stats()["in_use"] - before["in_use"]


def test_arithmetic(empty_cache):
    start = pe.memory_stats()
    x = pe.empty(3 * MIB // 4)
    held = pe.memory_stats()
    assert 3 * MIB <= use(start) <= 3 * MIB * 5 // 4 + 64  # at most a quarter above the request
    assert held["allocations"] == start["allocations"] + 1
    assert held["peak"] >= held["in_use"]
    size = use(start)
    del x
    freed = pe.memory_stats()
    assert freed["in_use"] == start["in_use"]
    assert freed["cached"] == start["cached"] + size
    y = pe.empty(3 * MIB // 4)
    again = pe.memory_stats()
    assert again["reuses"] == freed["reuses"] + 1
    assert again["system_calls"] == freed["system_calls"]
    assert again["cached"] == start["cached"]
    del y


def test_views_share_and_the_last_one_frees(empty_cache):
    start = pe.memory_stats()
    x = pe.empty(1000, 1000)
    size = use(start)
    views = [x[i:] for i in range(10)] + [x.T, x.reshape(-1), x.detach()]
    assert use(start) == size
    del x
    assert use(start) == size
    del views
    assert use(start) == 0


def test_array_keeps_the_memory(empty_cache):
    start = pe.memory_stats()
    array = pe.ones(1000, 1000).numpy()
    assert use(start) >= 4_000_000
    assert array.sum() == 1_000_000
    del array
    assert use(start) == 0


def test_trim_gives_back(empty_cache):
    x = [pe.ones(100_000) for _ in range(5)]
    del x
    cached = pe.memory_stats()["cached"]
    assert cached >= 5 * 400_000
    assert pe.trim() == cached
    assert pe.memory_stats()["cached"] == 0
    assert pe.trim() == 0


def test_trim_leaves_live_tensors_alone(empty_cache):
    x = pe.ones(100_000)
    del [pe.zeros(100_000)][:]
    pe.trim()
    assert x.sum().item() == 100_000.0


def test_cap_holds(empty_cache):
    pe.set_memory_cap(2 * MIB)
    assert pe.memory_stats()["cap"] == 2 * MIB
    x = [pe.ones(64 * 1024) for _ in range(100)]
    del x
    assert pe.memory_stats()["cached"] <= 2 * MIB
    del [pe.ones(8 * MIB)][:]  # larger than the cap: straight back
    assert pe.memory_stats()["cached"] <= 2 * MIB
    pe.set_memory_cap(0)
    assert pe.memory_stats()["cached"] == 0
    x = pe.ones(1000)
    del x
    assert pe.memory_stats()["cached"] == 0


def test_lowering_the_cap_frees(empty_cache):
    x = [pe.ones(256 * 1024) for _ in range(10)]
    del x
    assert pe.memory_stats()["cached"] > 4 * MIB
    pe.set_memory_cap(4 * MIB)
    assert pe.memory_stats()["cached"] <= 4 * MIB


WRONG_CAPS = [(-1, ValueError), ("1", TypeError), (None, TypeError), (2**70, OverflowError)]


@pytest.mark.parametrize(("cap", "error"), WRONG_CAPS)
def test_cap_refuses(cap, error):
    before = pe.memory_stats()["cap"]
    with pytest.raises(error):
        pe.set_memory_cap(cap)
    assert pe.memory_stats()["cap"] == before


def test_peak(empty_cache):
    start = pe.memory_stats()
    x = pe.empty(50 * MIB)
    high = pe.memory_stats()["peak"]
    assert high >= start["in_use"] + 200 * MIB
    del x
    pe.ones(10)
    assert pe.memory_stats()["peak"] == high


def test_memory_is_aligned():
    for n in (0, 1, 3, 17, 1000, 100_003, 3_000_000):
        assert pe.empty(n).data_ptr % 64 == 0


SHAPES = """
import os
import numpy as np
import pyengine as pe

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

cap = 16 << 20
pe.set_memory_cap(cap)
rng = np.random.default_rng(0)
pe.gelu(pe.ones(300, 300)) @ pe.ones(300, 300)
start, highest = resident(), 0
for i in range(2000):
    m, n = (int(v) for v in 2 ** rng.uniform(0, 9.5, 2))
    x = pe.ones(m, n)
    y = pe.gelu(x).sum(0) + (x @ x.T).sum()
    assert pe.memory_stats()["cached"] <= cap
    if i % 50 == 0:
        highest = max(highest, resident() - start)
del x, y
stats = pe.memory_stats()
print(stats["in_use"], stats["cached"], highest)
"""


def test_two_thousand_shapes_do_not_grow():
    """cached stays under the cap, and the process's memory near it."""
    require("linux", Path("/proc/self/statm").exists(), "memory in use is read from /proc/self/statm")
    result = subprocess.run([sys.executable, "-c", SHAPES], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    in_use, cached, growth = map(int, result.stdout.split())
    assert in_use < MIB
    assert cached <= 16 * MIB
    assert growth < 48 * MIB


def test_training_steps_reach_a_steady_state(empty_cache):
    """After the first rounds no step asks the system for memory."""
    w = pe.tensor(np.full((256, 256), 0.01, np.float32), requires_grad=True)
    x = pe.ones(128, 256)

    def step():
        w.grad = None
        (pe.gelu(x @ w) @ w).square().mean().backward()

    for _ in range(50):  # until every thread has had a part, and memory for it: on a busy machine workers come late
        step()
    start = pe.memory_stats()
    for _ in range(20):
        step()
    end = pe.memory_stats()
    assert end["system_calls"] == start["system_calls"]
    assert end["in_use"] == start["in_use"]


def test_failed_allocation_changes_nothing(empty_cache):
    before = pe.memory_stats()
    for shape in [(2**50,), (2**31, 2**31), (2**62,), (2**62, 4)]:
        with pytest.raises(MemoryError):
            pe.empty(shape)
    assert use(before) == 0
    assert pe.ones(10).sum().item() == 10.0


def test_exception_in_an_operation_frees_its_output(empty_cache):
    x, y = pe.ones(1000, 100), pe.zeros(1000, dtype="int64")
    start = pe.memory_stats()
    y[999] = 1000
    for _ in range(5):
        with pytest.raises(IndexError):
            pe.cross_entropy(x, y)
    assert use(start) == 0


def test_threads_allocate_and_free_each_others_tensors(empty_cache):
    start = pe.memory_stats()
    shelf, errors = [], []

    def work(seed):
        rng = np.random.default_rng(seed)
        try:
            for _ in range(300):
                n = int(rng.integers(1, 5000))
                shelf.append(pe.full((n,), float(n)))
                other = shelf.pop(0)  # whoever made it
                assert other.numpy()[0] == len(other)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not errors
    shelf.clear()
    assert use(start) == 0
