"""What the engine costs before it computes: import, memory, disk, and one call on 16 floats.

    pyengine bench startup [--json FILE]

Import and memory are those beyond `import numpy`, each round in a fresh process, with the bytecode that installing
leaves behind: without it (a checkout under PYTHONDONTWRITEBYTECODE) each start compiles the sources anew. The calls
are whole: what the kernel takes on 16 floats (nanoseconds) and the empty Python call that is shown beside them are
still in them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from pyengine.bench.harness import interleave, print_table, save_json, timed

ROUNDS = 15

FRESH = """
import json, sys, time
def resident():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096
import numpy
before, begin = resident(), time.perf_counter()
import MODULE
took = time.perf_counter() - begin
print(json.dumps([took, resident() - before]))
"""


def fresh_imports(module: str, rounds: int) -> list[tuple[float, int]]:
    """Seconds and bytes that `import module` costs a process that has NumPy and all bytecode."""
    # -P: this pyengine, and not the sources in the folder that the command was started in
    command = [sys.executable, "-P", "-c", FRESH.replace("MODULE", module)]
    path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder, "PYTHONPATH": path}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        runs = [subprocess.run(command, env=environment, capture_output=True, check=True) for _ in range(rounds + 1)]
    return [tuple(json.loads(run.stdout)) for run in runs[1:]]  # the first one compiled


def installed_bytes() -> int:
    import pyengine

    folder = Path(pyengine.__file__).parent
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file() and "__pycache__" not in f.parts)


def call_cases():
    """Elementwise calls on 16 floats. Each holds the kernel's few nanoseconds and the loop's own call."""
    import pyengine as pe

    x, y = pe.ones(16), pe.ones(16)
    leaf = pe.ones(16, requires_grad=True)
    return {
        "relu(x)": timed(lambda: pe.relu(x)),
        "exp(x)": timed(lambda: pe.exp(x)),
        "x + y": timed(lambda: x + y),
        "x + y with the tape": timed(lambda: leaf + y),
        "an empty Python call": timed(lambda: None),
    }


def main(arguments: list[str], prog: str) -> int:
    parser = argparse.ArgumentParser(prog=prog, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args(arguments)
    imports = fresh_imports("pyengine", ROUNDS)
    figures = {
        "import beyond numpy, ms": statistics.median(seconds for seconds, _ in imports) * 1e3,
        "resident memory beyond numpy, MB": statistics.median(size for _, size in imports) / 1e6,
        "installed, MB": installed_bytes() / 1e6,
    }
    samples = interleave(call_cases())
    for name, sample in samples.items():
        figures[f"{name}, us"] = sample.median * 1e6
    print_table(["figure", "median"], [[name, f"{value:.3g}"] for name, value in figures.items()])
    save_json(options.json, figures)
    return 0
