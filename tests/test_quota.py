"""How many threads: the affinity mask and real control groups, seen from fresh processes.
Version 2 of the groups is tested with trees of files in tests/c/test_cpu.c."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from require import require

ASK = "import pyengine as pe; i = pe._core.machine_info(); " \
      "print(pe.get_num_threads(), i['threads_default'], i['cpus_affinity'], i['cpus_quota'])"  # fmt: skip
GROUPS = Path("/sys/fs/cgroup/cpu")


def ask(start=None, code=ASK, **environment):
    env = {**os.environ, **environment}
    if "PYENGINE_NUM_THREADS" not in environment:
        env.pop("PYENGINE_NUM_THREADS", None)
    result = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60,
                            preexec_fn=start)  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.fixture
def processors():
    require("affinity", hasattr(os, "sched_setaffinity"), "this system has no sched_setaffinity")
    return sorted(os.sched_getaffinity(0))


def test_affinity_is_the_number_of_threads(processors):
    for count in {1, min(2, len(processors)), len(processors)}:
        used, default, seen, _ = ask(lambda count=count: os.sched_setaffinity(0, processors[:count]))
        assert int(seen) == count
        assert int(used) == int(default) <= count


def test_affinity_taken_away_later_does_no_harm(processors):
    code = """
import os
import pyengine as pe
pe.set_num_threads(3)
x = pe.ones(600, 600)
for _ in range(3): x @ x
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
print((x @ x).sum().item() == 600.0 ** 3)
"""
    assert ask(code=code) == ["True"]


def test_variable_stands_above_affinity(processors):
    used, default, *_ = ask(lambda: os.sched_setaffinity(0, processors[:1]), PYENGINE_NUM_THREADS="5")
    assert (used, default) == ("5", "1")


def write(path, text):
    path.write_text(str(text))


@contextlib.contextmanager
def group(parent, name, quota=None, period=100_000):
    """A control group of version 1 with a quota in microseconds a period."""
    path = parent / name
    try:
        path.mkdir()
    except OSError as error:
        require("cgroup", False, f"no control group of version 1 can be made here ({error}): "
                                 "that needs root and a writable /sys/fs/cgroup/cpu")  # fmt: skip
    try:
        if quota is not None:
            write(path / "cpu.cfs_period_us", period)
            write(path / "cpu.cfs_quota_us", quota)
        yield path
    finally:
        path.rmdir()


@pytest.fixture
def groups():
    with group(GROUPS, f"pyengine-test-{os.getpid()}") as top:
        yield top


def inside(path):
    return lambda: write(path / "cgroup.procs", os.getpid())


QUOTAS = [  # quota, period, threads on a machine with enough processors
    (100_000, 100_000, 1),
    (50_000, 100_000, 1),  # half a processor is still one thread
    (199_000, 100_000, 1),  # the floor
    (20_000, 10_000, 2),
    (250_000, 100_000, 2),
    (-1, 100_000, None),  # no limit
]


@pytest.mark.parametrize(("quota", "period", "threads"), QUOTAS)
def test_real_quota(groups, processors, quota, period, threads):
    with group(groups, "limited", quota, period) as path:
        used, default, affinity, seen = ask(inside(path))
    if threads is None:
        assert seen == "None"
        threads = len(processors)
    else:
        assert float(seen) == pytest.approx(quota / period)
    assert int(affinity) == len(processors)
    assert int(used) == int(default) == min(threads, len(processors))


def test_quota_of_a_parent_counts(groups, processors):
    with group(groups, "outer", 100_000) as outer, group(outer, "inner") as inner, \
            group(inner, "innermost") as path:
        used, _, _, seen = ask(inside(path))
    assert float(seen) == 1.0
    assert used == "1"


def test_variable_stands_above_quota(groups):
    with group(groups, "limited", 100_000) as path:
        assert ask(inside(path), PYENGINE_NUM_THREADS="4")[:2] == ["4", "1"]


def test_work_under_a_tight_quota_ends(groups):
    """More threads than the quota has: throttled, but right, and the processor is not spun away."""
    code = """
import time
import pyengine as pe
x = pe.ones(500, 500)
for _ in range(3): assert (x @ x).sum().item() == 500.0 ** 3
time.sleep(0.05)
before = time.process_time()
time.sleep(0.2)
print(time.process_time() - before < 0.02)
"""
    with group(groups, "tight", 100_000) as path:
        assert ask(inside(path), code, PYENGINE_NUM_THREADS="4") == ["True"]
