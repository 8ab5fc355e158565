"""The limits of a case, probed in the case's own rounds."""

import time
from functools import partial
from pathlib import Path

from bench.limits import LARGEST_ARENA, Arena, Probes, cache_sizes, compile_probes, pinned
from pyengine.bench.cases import Case
from pyengine.bench.harness import Work, calibrate

LEAST = 8192  # bytes of a thread that a probe can walk through
# Beyond so many operations a byte no bandwidth known is the bound, and its probe need not run.
ARITHMETIC_ALONE = 400.0
PATIENCE = 2.0  # seconds that a probe gets to show its best before a figure above it is refused
STANDS_IN = {"bf16": "fp32"}  # without the instruction, bf16 is widened and multiplied as fp32


class MachineLimits:
    """Probes of the level that the engine uses, with as many threads."""

    def __init__(self, level: str, threads: int, folder: Path) -> None:
        found: dict[str, Probes] = {probes.level: probes for probes in compile_probes(folder)}
        if level not in found:
            raise SystemExit(f"bench: the engine runs at {level}, of which bench/limits has no probe")
        self.probes, self.threads, self.cpus = found[level], threads, pinned(threads)
        self.arena = Arena(0)

    def arithmetic(self, case: Case) -> str | None:
        """The probe of the case's arithmetic at this level; None: the level has no instruction for it."""
        name = case.arithmetic
        if name not in self.probes.index:
            name = STANDS_IN.get(name, "")
        return name if name in self.probes.index else None

    def bandwidth(self, case: Case) -> str:
        """The probe that moves bytes as the case does; past the caches, by streaming stores where there is such one."""
        streaming = f"{case.bandwidth}_stream"
        return streaming if streaming in self.probes.index and self.place(case) == "DRAM" else case.bandwidth

    def size(self, case: Case) -> int:
        """Bytes of each thread: the case's own data, so that they come from the same cache."""
        return max(LEAST, min(int(case.resident), LARGEST_ARENA) // self.threads // 4096 * 4096)

    def works(self, case: Case) -> dict[str, Work]:
        made: dict[str, Work] = {}
        name = self.arithmetic(case)
        if name:
            made[name] = partial(self.probes.run, name, self.cpus, 0, 0)
        if name is None or case.operations < ARITHMETIC_ALONE * case.moved:
            size = self.size(case)
            if len(self.arena.memory) < size * self.threads:
                self.arena = Arena(size * self.threads)
            probe = self.bandwidth(case)
            made[probe] = partial(self.probes.run, probe, self.cpus, self.arena.address, size)
        return made

    def rate(self, name: str, case: Case, seconds: float) -> float:
        return self.probes.work(name, self.size(case)) * self.threads / seconds

    def counts_bytes(self, name: str) -> bool:
        return self.probes.counts_bytes(name)

    def look_again(self, name: str, enough: float) -> float:
        best, end = 0.0, time.perf_counter() + PATIENCE
        repeats = calibrate(partial(self.probes.run, name, self.cpus, 0, 0), 0.002)
        while best < enough and time.perf_counter() < end:
            seconds = self.probes.run(name, self.cpus, 0, 0, repeats) / repeats
            best = max(best, self.probes.work(name, 0) * self.threads / seconds)
        return best

    def place(self, case: Case) -> str:
        """The cache that the case's data live in."""
        sizes, each = cache_sizes(), self.size(case)
        if each <= sizes["L1"]:
            return "L1"
        if each <= sizes["L2"]:
            return "L2"
        return "L3" if each * self.threads <= sizes["L3"] else "DRAM"


def engine_level() -> str:
    """The level that pyengine chose, also through PYENGINE_ISA."""
    from pyengine import _core

    return _core.machine_info()["isa"]
