"""Products as shares of what the machine can do, measured in the same rounds (bench/versus.py)."""

from bench.versus import run


def main(arguments: list[str]) -> int:
    return run("kernels", arguments)
