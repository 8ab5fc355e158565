"""The part of the benchmarks that a wheel can run: `pyengine bench SUITE`.

No compiler and no repository is needed, so figures here are times and rates. What the machine can do and what others
make of it are measured by `python -m bench` in the repository, out of the same cases, worker and rounds.
"""

from importlib import import_module

SUITES = {
    "kernels": "products by shape, in a process of their own",
    "layers": "convolution layers of known networks, and their gradients",
    "models": "whole networks: inference, and steps of training",
    "ops": "single operations, with and without the tape",
    "optim": "steps of optimizers over many tensors",
    "startup": "import, memory, disk, and one call on 16 floats",
    "sweep": "N threads against one, over sizes",
}


def main(suite: str, arguments: list[str], prog: str = "pyengine bench") -> int:
    """Runs one of SUITES."""
    module = import_module(f"pyengine.bench.{suite if suite in ('startup', 'sweep') else 'suite'}")
    return module.main(arguments, f"{prog} {suite}") or 0
