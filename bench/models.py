"""Whole steps of networks beside the rivals, each in a process of its own (bench/versus.py)."""

from bench.versus import run


def main(arguments: list[str]) -> int:
    return run("models", arguments)
