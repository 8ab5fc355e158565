"""One training step of an MLP (784-512-512-10, batch 64) beside torch.

    python -m bench mlp [--threads N] [--torch PYTHON] [--rounds N] [--json FILE]

--torch names the Python of an environment that has torch (this one, if it has it, by default). Every engine runs in
a process of its own and computes only in its turn; the rounds are interleaved. torch is shown as it installs and at
its best setting: MKL told that the processor is its maker's, glibc told to keep large blocks.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.harness import print_table, save_json

LAYERS = (784, 512, 512, 10)
BATCH = 64
STEPS = 40  # a round

# Both programs: read a line, make STEPS steps, answer with the seconds a step took (the median) and the loss.
COMMON = """
import json, sys, time, statistics
import numpy as np
threads, optimizer = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
images = rng.normal(size=(BATCH, LAYERS[0])).astype(np.float32)
labels = rng.integers(0, LAYERS[-1], BATCH)
step, about = prepare(threads, optimizer)
for _ in range(20):
    step()
print(json.dumps(about), flush=True)
for line in sys.stdin:
    times = []
    for _ in range(STEPS):
        begin = time.perf_counter()
        loss = step()
        times.append(time.perf_counter() - begin)
    print(json.dumps([statistics.median(times), float(loss)]), flush=True)
"""

MODEL = """
def prepare(threads, optimizer):
    engine.set_num_threads(threads)
    engine.manual_seed(0)
    parts = []
    for i, (a, b) in enumerate(zip(LAYERS, LAYERS[1:])):
        parts += [nn.Linear(a, b)] + ([nn.ReLU()] if i < len(LAYERS) - 2 else [])
    model = nn.Sequential(*parts)
    loss_of = nn.CrossEntropyLoss()
    x, y = engine.from_numpy(images), engine.from_numpy(labels)
    opt = {"sgd": lambda p: optim.SGD(p, lr=0.01), "adam": lambda p: optim.Adam(p)}[optimizer](model.parameters())
    def step():
        opt.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        opt.step()
        return loss.detach()
    return step, f"{engine.__version__}, {engine.get_num_threads()} threads"
"""

IMPORTS = {
    "pyengine": "import pyengine as engine\nfrom pyengine import nn, optim\n",
    "torch": "import torch as engine\nfrom torch import nn, optim\n",
}


class Worker:
    """One engine in its own process, which computes when asked."""

    def __init__(self, python: str, engine: str, threads: int, optimizer: str, environment: dict[str, str]) -> None:
        constants = f"LAYERS, BATCH, STEPS = {LAYERS}, {BATCH}, {STEPS}\n"
        program = IMPORTS[engine] + constants + MODEL + COMMON
        self.process = subprocess.Popen(
            [python, "-c", program, str(threads), optimizer],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip
        self.about = self._answer()

    def _answer(self):
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"bench: a worker ended with status {self.process.wait()}")
        return json.loads(line)

    def round(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._answer()[0]

    def close(self) -> None:
        self.process.communicate()


def has_torch(python: str) -> bool:
    return subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0


def best_setting(folder: Path) -> dict[str, str]:
    """torch at its best on processors that MKL does not know: its vendor check answered, large blocks kept."""
    source, library = folder / "vendor.c", folder / "vendor.so"
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return {
        "LD_PRELOAD": str(library), "MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296",
        "MALLOC_TOP_PAD_": "67108864", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    }  # fmt: skip


def measure(optimizer: str, threads: int, torch: str | None, rounds: int) -> dict[str, dict]:
    with tempfile.TemporaryDirectory() as folder:
        workers = {"pyengine": Worker(sys.executable, "pyengine", threads, optimizer, {})}
        if torch:
            workers["torch as it installs"] = Worker(torch, "torch", threads, optimizer, {})
            workers["torch at its best"] = Worker(torch, "torch", threads, optimizer, best_setting(Path(folder)))
        taken: dict[str, list[float]] = {name: [] for name in workers}
        for turn in range(rounds):
            for name in list(workers) if turn % 2 == 0 else reversed(list(workers)):
                taken[name].append(workers[name].round())
        for worker in workers.values():
            worker.close()
    return {
        name: {"about": workers[name].about, "us": statistics.median(seconds) * 1e6, "best us": min(seconds) * 1e6}
        for name, seconds in taken.items()
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench mlp", description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--torch", metavar="PYTHON", help="the Python of an environment with torch")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    torch = options.torch or (sys.executable if has_torch(sys.executable) else None)
    if torch is None:
        print("torch is not in this environment: name one that has it with --torch PYTHON")
    figures, rows = {}, []
    for optimizer in ("sgd", "adam"):
        figures[optimizer] = measure(optimizer, options.threads, torch, options.rounds)
        own = figures[optimizer]["pyengine"]["us"]
        for name, figure in figures[optimizer].items():
            rows.append([f"{optimizer}, {name} ({figure['about']})", f"{figure['us']:.0f}", f"{figure['best us']:.0f}",
                         f"{figure['us'] / own:.2f}"])  # fmt: skip
    print_table(["step", "median us", "best us", "times pyengine"], rows)
    save_json(options.json, figures)
    return 0
