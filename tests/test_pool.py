"""The thread pool as a program meets it: when threads exist, how many, and that they cost nothing at rest."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from require import require

import pyengine as pe

TASKS = Path("/proc/self/task")
HELPERS = """
import os, sys, threading, time
import numpy as np
import pyengine as pe

def tasks():
    return len(os.listdir("/proc/self/task"))

def until(reached, seconds=20.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if reached():
            return True
    return False

big = pe.from_numpy(np.random.default_rng(0).normal(size=(700, 700)).astype(np.float32))

def workers_took_part():  # a worker may come late: again until one took a chunk
    def once():
        pe.gelu(big); big @ big
        return pe.pool_stats()["worker_chunks"] > 0
    return until(once)
"""


def run(code, timeout=60.0, helpers=HELPERS, **environment):
    """The output of `code` in a fresh process; its failure, or a hang, is the test's."""
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYENGINE_NUM_THREADS": "3", **environment}
    env = {k: v for k, v in env.items() if v is not None}
    result = subprocess.run([sys.executable, "-c", helpers + code], env=env, capture_output=True, text=True,
                            timeout=timeout)  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.strip()


@pytest.fixture(autouse=True)
def linux():
    require("linux", TASKS.is_dir(), "threads are counted in /proc/self/task, which this system does not have")


def test_no_thread_before_the_first_big_call():
    assert run("""
counts = [tasks()]
x = pe.ones(16)
(x + x).sum().item(); pe.softmax(x); pe.linear(pe.ones(2, 16), pe.ones(3, 16)); pe.rand(8)
counts.append(tasks())
assert workers_took_part()
counts.append(tasks())
print(*counts, pe.pool_stats()["workers"])
""") in ("1 1 3 2", "1 1 2 1")  # the second worker is started by the call that finds work for it


def test_one_budget_for_many_python_threads():
    assert run("""
assert pe.get_num_threads() == 3
with pe.num_threads(1):
    expected = [(big @ big).numpy().tobytes(), pe.gelu(big).sum(0).numpy().tobytes()]
results, stop, highest = [], threading.Event(), [0]

def work():
    ok = True
    for _ in range(6):
        ok &= (big @ big).numpy().tobytes() == expected[0]
        ok &= pe.gelu(big).sum(0).numpy().tobytes() == expected[1]
    results.append(ok)

def watch():
    while not stop.is_set():
        highest[0] = max(highest[0], tasks())
        stop.wait(0.001)

callers = [threading.Thread(target=work) for _ in range(8)]
watcher = threading.Thread(target=watch)
watcher.start()
[t.start() for t in callers]
[t.join() for t in callers]
stop.set()
watcher.join()
assert results == [True] * 8
workers = pe.pool_stats()["workers"]
assert 1 <= workers <= 2, workers
assert highest[0] <= 1 + 1 + 8 + 2, highest  # main, watcher, callers, workers
assert until(lambda: tasks() == 1 + workers)  # a joined thread leaves the process a moment later
print("ok")
""") == "ok"


def test_idle_costs_nothing():
    """After heavy use half a second of sleep takes no processor time: workers sleep."""
    spent = float(run("""
assert workers_took_part()
for _ in range(5):
    big @ big
time.sleep(0.02)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before)
"""))  # fmt: skip
    assert spent < 0.020


def test_two_threads_take_chunks():
    x = pe.from_numpy(np.random.default_rng(1).normal(size=(900, 900)).astype(np.float32))
    before = pe.pool_stats()
    with pe.num_threads(2):
        for _ in range(200):
            pe.tanh(x)
            x @ x
            after = pe.pool_stats()
            if after["shared_calls"] > before["shared_calls"] and after["worker_chunks"] > before["worker_chunks"]:
                break
    assert after["shared_calls"] > before["shared_calls"]
    assert after["worker_chunks"] > before["worker_chunks"]
    assert after["chunks"] - before["chunks"] > after["worker_chunks"] - before["worker_chunks"]
    assert after["parallel_calls"] >= after["shared_calls"]


def test_work_is_counted_by_row():
    """Two threads are asked for by what a row costs: tanh's gradient is two products, a power is four polynomials."""
    assert run("""
from pyengine import _core
x, y = pe.rand(16384), pe.rand(16384)
cheap, dear = _core.elementwise_op("tanh_backward"), _core.elementwise_op("pow")
for _ in range(300):
    _core.elementwise(cheap, x, y)
before = pe.pool_stats()["parallel_calls"]
for _ in range(300):
    _core.elementwise(dear, x, y)
print(before, pe.pool_stats()["parallel_calls"] > 0)
""", PYENGINE_NUM_THREADS="2") == "0 True"


def test_one_thread_invites_nobody():
    assert run("""
x = big @ big
pe.softmax(x).sum().item()
assert tasks() == 1
print(pe.pool_stats()["parallel_calls"])
""", PYENGINE_NUM_THREADS="1") == "0"


DEFAULT = "print(pe.get_num_threads(), pe._core.machine_info()['threads_default'])"


@pytest.mark.parametrize("text", ["1", "2", "7", " 5 "])
def test_environment_sets_the_number(text):
    assert run(DEFAULT, PYENGINE_NUM_THREADS=text).split()[0] == str(int(text))


GARBAGE = [None, "", "0", "-3", "two", "2.5", "3x", "0x10", "\N{DIGIT THREE}\N{SUPERSCRIPT TWO}"]


@pytest.mark.parametrize("text", GARBAGE)
def test_environment_garbage_is_the_default(text):
    used, default = run(DEFAULT, PYENGINE_NUM_THREADS=text).split()
    assert used == default


@pytest.mark.parametrize("text", ["257", "1000000", "99999999999999999999999999"])
def test_environment_huge_is_held_at_the_limit(text):
    """And the limit itself starts no storm of threads."""
    assert run("""
big @ big
print(pe.get_num_threads(), tasks() <= 256)
""", PYENGINE_NUM_THREADS=text) == "256 True"


def test_set_num_threads_and_its_context():
    before = pe.get_num_threads()
    try:
        pe.set_num_threads(3)
        assert pe.get_num_threads() == 3
        with pe.num_threads(2):
            assert pe.get_num_threads() == 2
            with pe.num_threads(1):
                assert pe.get_num_threads() == 1
            assert pe.get_num_threads() == 2
        with pytest.raises(KeyError), pe.num_threads(5):
            raise KeyError
        assert pe.get_num_threads() == 3
        for wrong in (0, -1, 257, 10**6, 2**40):
            with pytest.raises(ValueError, match=rf"set_num_threads: n must be 1 to 256, got {wrong}"):
                pe.set_num_threads(wrong)
            with pytest.raises(ValueError, match="set_num_threads"), pe.num_threads(wrong):
                pass
        for wrong in ("2", None, 2.5, [2]):
            with pytest.raises(TypeError):
                pe.set_num_threads(wrong)
        assert pe.get_num_threads() == 3
    finally:
        pe.set_num_threads(before)


def test_fewer_threads_later_use_fewer_workers():
    assert run("""
assert workers_took_part()
pe.set_num_threads(1)
before = pe.pool_stats()["worker_chunks"]
for _ in range(5):
    big @ big
assert pe.pool_stats()["worker_chunks"] == before
pe.set_num_threads(2)
assert until(lambda: (big @ big) is not None and pe.pool_stats()["worker_chunks"] > before)
print("ok")
""") == "ok"


def test_interrupt_reaches_the_main_thread():
    """Workers block all signals: Ctrl-C lands where Python looks for it."""
    code = HELPERS + """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with SIGINT ignored
assert workers_took_part()
print("ready", flush=True)
try:
    while True:
        big @ big
except KeyboardInterrupt:
    assert (big @ big).shape == (700, 700)
    print("interrupted", flush=True)
"""
    env = {**os.environ, "PYENGINE_NUM_THREADS": "3"}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=30)[0] == "interrupted\n"
            assert process.returncode == 0
        finally:
            process.kill()


def test_workers_block_signals():
    masks = run("""
assert workers_took_part()
for task in os.listdir("/proc/self/task"):
    if int(task) != os.getpid():
        with open(f"/proc/self/task/{task}/status") as status:
            print(next(line.split()[1] for line in status if line.startswith("SigBlk")))
""").split()
    assert masks
    for mask in masks:
        blocked = int(mask, 16)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD, signal.SIGUSR1):
            assert blocked >> (number - 1) & 1, number


EXITS = {
    "soon": "time.sleep(0.1)",
    "at once": "",
    "sys.exit": "sys.exit(0)",
    "sys.exit in a thread": "t = threading.Thread(target=lambda: (big @ big, sys.exit(3))); t.start(); t.join()",
    "daemon computing": "threading.Thread(target=lambda: [big @ big for _ in iter(int, 1)], daemon=True).start(); "
                        "time.sleep(0.02)",
    "atexit computes": "import atexit; atexit.register(lambda: big @ big)",
}  # fmt: skip


@pytest.mark.parametrize("way", EXITS)
def test_exit_is_clean(way):
    start = time.monotonic()
    run("assert workers_took_part()\n" + EXITS[way])
    assert time.monotonic() - start < 30


def test_python_threads_that_come_and_go():
    """Each Python thread may be a pool's caller once; nothing is kept for it."""
    x = pe.from_numpy(np.random.default_rng(2).normal(size=(300, 300)).astype(np.float32))
    expected, results = (x @ x).numpy().tobytes(), []
    for _ in range(30):
        thread = threading.Thread(target=lambda: results.append((x @ x).numpy().tobytes()))
        thread.start()
        thread.join()
    assert results == [expected] * 30
