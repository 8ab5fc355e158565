"""fork: the child has no workers and no locked locks, and computes the same bits.

Every wait has a limit: a hang is a failure. Children leave by os._exit and report through a pipe."""

import contextlib
import hashlib
import multiprocessing
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from forks import LIMIT, finish_child, in_child, start_child
from require import require

import pyengine as pe
from pyengine import _core, nn, optim

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    # Python 3.12 and later warn of fork in a process with threads: that this is safe here is what is tested
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def every_kind_of_operation():
    """A digest of the bits of one of each: elementwise, broadcast, copy, reductions, products, softmax,
    losses, random numbers, backward, optimizer steps; all large enough for the pool."""
    digest = hashlib.sha256()

    def take(*tensors):
        for t in tensors:
            digest.update(t.detach().numpy().tobytes())

    rng = np.random.default_rng(0)
    x = pe.tensor(rng.normal(size=(640, 512)).astype(np.float32))
    labels = pe.tensor(rng.integers(0, 128, 640))
    take(pe.gelu(x), x + x[0], x.T.contiguous(), x > 0, x.to("bfloat16").float())
    take(x.sum(), x.sum(0), x.mean(1), x.amax(1), x.argmax(1), x.var(0))
    take(x @ x.T, pe.softmax(x), pe.log_softmax(x, 0))
    generator = pe.Generator(7)
    take(pe.rand(600, 500, generator=generator), pe.randn(600, 500, generator=generator))
    take(pe.dropout(x, 0.5, generator=generator))
    model = nn.Sequential(nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 128))
    with pe.no_grad():
        for p in model.parameters():
            p.uniform_(-0.05, 0.05, generator=generator)
    for rule in (optim.SGD(model.parameters(), lr=0.1, momentum=0.9), optim.AdamW(model.parameters(), lr=1e-3)):
        for _ in range(2):
            rule.zero_grad()
            loss = pe.cross_entropy(model(x), labels)
            loss.backward()
            rule.step()
            take(loss)
    take(*model.parameters())
    return digest.hexdigest()


@pytest.fixture(scope="module", autouse=True)
def parent():
    """The parent has used everything, with two threads and more, and its workers exist."""
    before = pe.get_num_threads()
    pe.set_num_threads(max(3, before))
    taken = pe.pool_stats()["worker_chunks"]
    digest = every_kind_of_operation()
    end = time.monotonic() + 30
    while pe.pool_stats()["worker_chunks"] == taken and time.monotonic() < end:
        assert every_kind_of_operation() == digest
    assert pe.pool_stats()["worker_chunks"] > taken
    assert pe.pool_stats()["workers"] >= 1
    yield digest
    pe.set_num_threads(before)


def test_child_repeats_every_operation(parent):
    assert in_child(every_kind_of_operation) == parent
    assert every_kind_of_operation() == parent  # and the parent goes on


def test_child_starts_workers_of_its_own():
    def work():
        at_first = pe.pool_stats()["workers"], len(os.listdir("/proc/self/task"))
        x = pe.ones(1000, 1000)
        before, end = pe.pool_stats()["worker_chunks"], time.monotonic() + 30
        while pe.pool_stats()["worker_chunks"] == before and time.monotonic() < end:
            pe.tanh(x)
            x @ x
        return (*at_first, pe.pool_stats()["worker_chunks"] > before, pe.get_num_threads())

    require("linux", os.path.isdir("/proc/self/task"), "threads are counted in /proc/self/task")
    assert in_child(work) == str((0, 1, True, pe.get_num_threads()))


def test_tensors_of_the_parent_are_there_and_separate():
    x = pe.zeros(1000, 100)

    def work():
        x.add_(1.0)
        return x.sum().item()

    assert in_child(work) == "100000.0"
    assert x.sum().item() == 0.0


def test_fork_from_a_thread(parent):
    results = []
    thread = threading.Thread(target=lambda: results.append(in_child(every_kind_of_operation)))
    thread.start()
    thread.join(2 * LIMIT)
    assert not thread.is_alive()
    assert results == [parent]


@contextlib.contextmanager
def computing(threads=2):
    """Other threads call every part of the engine all the while, and get the right bits."""
    x = pe.tensor(np.random.default_rng(3).normal(size=(500, 300)).astype(np.float32))
    stop, wrong, rounds = threading.Event(), [], [0] * threads

    def bits():
        return pe.gelu(x).numpy().tobytes(), (x.T @ x).numpy().tobytes(), pe.softmax(x).sum(0).numpy().tobytes()

    expected = bits()

    def work(i):
        while not stop.is_set():
            if bits() != expected:
                wrong.append(i)
            pe.empty(1 + rounds[i] % 77, 1000)
            rounds[i] += 1

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    [t.start() for t in workers]
    try:
        yield
    finally:
        stop.set()
        [t.join(LIMIT) for t in workers]
    assert not any(t.is_alive() for t in workers)
    assert not wrong
    assert all(rounds)


def test_fifty_forks_while_others_compute():
    """The fork falls at any moment: inside an allocation, a wake-up, a claim of chunks."""
    x = pe.tensor(np.random.default_rng(4).normal(size=(300, 200)).astype(np.float32))

    def work():
        parts = pe.gelu(x), x.T @ x, pe.softmax(x).sum(0), x.sum(), pe.rand(1000, 70, generator=pe.Generator(1))
        pe.trim()
        return hashlib.sha256(b"".join(t.numpy().tobytes() for t in parts)).hexdigest()

    expected = work()
    with computing():
        for _ in range(50):
            assert in_child(work) == expected
    assert work() == expected


def test_several_children_at_once(parent):
    children = [start_child(every_kind_of_operation) for _ in range(3)]
    assert [finish_child(*child, limit=2 * LIMIT) for child in children] == [parent] * 3


def test_child_of_a_child(parent):
    def work():
        own = every_kind_of_operation()
        return own, in_child(every_kind_of_operation), every_kind_of_operation()

    assert in_child(work, 2 * LIMIT) == str((parent,) * 3)


def test_child_that_never_computes():
    start = time.monotonic()
    assert in_child(lambda: "quiet") == "quiet"
    assert time.monotonic() - start < 10


def test_child_that_exits_through_the_interpreter():
    """Not os._exit: finalizers and atexit run in a child that did and one that did not use the engine."""
    code = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import pyengine as pe
pe.set_num_threads(3)
x = pe.ones(800, 800)
for _ in range(5): x @ x
for use in (False, True):
    child = os.fork()
    if not child:
        if use:
            (x @ x).sum().item()
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print((x @ x).sum().item())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT)
    assert (result.returncode, result.stderr) == (0, "")
    assert float(result.stdout) == 800.0**3


def square_sum(n):
    return (pe.ones(n, n) @ pe.ones(n, n)).sum().item(), pe.get_num_threads()


def test_multiprocessing_with_fork():
    context = multiprocessing.get_context("fork")
    with context.Pool(3) as pool:
        results = pool.map_async(square_sum, [300, 310, 320, 330, 340, 350]).get(timeout=LIMIT)
    assert results == [(float(n) ** 3, pe.get_num_threads()) for n in (300, 310, 320, 330, 340, 350)]
    assert square_sum(300)[0] == 300.0**3


def test_settings_survive():
    def work():
        return pe.get_num_threads(), pe.memory_stats()["cap"], _core.machine_info()["isa"]

    before = pe.memory_stats()["cap"]
    try:
        pe.set_memory_cap(123 << 20)
        with pe.num_threads(5):
            assert in_child(work) == str((5, 123 << 20, _core.machine_info()["isa"]))
    finally:
        pe.set_memory_cap(before)


def test_first_use_of_the_engine_is_in_the_child():
    code = """
import os
import pyengine as pe
child = os.fork()
if not child:
    x = pe.ones(900, 900)
    os._exit(0 if (x @ x).sum().item() == 900.0 ** 3 else 1)
assert os.waitpid(child, 0)[1] == 0
print(len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1)
"""
    environment = {**os.environ, "PYENGINE_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert (result.returncode, result.stdout, result.stderr) == (0, "1\n", "")
