"""What this machine can do: arithmetic peak per instruction set, bandwidth per cache; all else is a share of it.

    python -m bench limits [--only PATTERN] [--threads N] [--rounds N] [--json FILE] [--plot FILE]

Probes are bench/probes.c, compiled here per level with the C compiler. A limit is the best round of a
probe, which is strict with whatever is measured against it; the spread tells how quiet the machine was.
Bytes are those that the program reads and writes: a store that first reads its line counts once.
"""

import argparse
import ctypes
import mmap
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import roofline
from pyengine.bench.harness import Sample, Work, interleave, print_table, save_json

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "csrc"))
import make  # noqa: E402  (csrc/make.py)

VOCABULARY = {"avx512_vnni": "avx512", "avx512_bf16": "avx512", "amx": "avx512"}  # levels without a header of their own
DRAM_TIMES_L3 = 4
LARGEST_ARENA = 1 << 30
# Many short rounds: one that nothing interrupts is enough, and a scheduler's turn lasts 3 ms or more.
ROUNDS, SECONDS = 31, 0.002
CACHES = ("L1", "L2", "L3", "DRAM")

# Runs every probe once, on memory whose pages are aligned as streaming stores need it.
TRIAL = """
import ctypes, mmap, sys
probes = ctypes.CDLL(sys.argv[1])
probes.probe_run.restype = ctypes.c_double
memory = (ctypes.c_char * 65536).from_buffer(mmap.mmap(-1, 65536))
for i in range(probes.probe_count()):
    probes.probe_run(i, 1, (ctypes.c_int * 1)(-1), memory, ctypes.c_size_t(65536), ctypes.c_long(1))
"""


class Probes:
    """bench/probes.c at one level."""

    def __init__(self, level: str, library: Path) -> None:
        self.level = level
        self.library = ctypes.CDLL(str(library))
        self.library.probe_name.restype = ctypes.c_char_p
        self.library.probe_work.restype = ctypes.c_double
        self.library.probe_run.restype = ctypes.c_double
        self.index = {
            self.library.probe_name(i).decode(): i for i in range(self.library.probe_count())
        }

    def counts_bytes(self, name: str) -> bool:
        return bool(self.library.probe_counts_bytes(self.index[name]))

    def work(self, name: str, size: int) -> float:
        """Operations or bytes of one repeat of one thread."""
        return self.library.probe_work(self.index[name], ctypes.c_size_t(size))

    def run(self, name: str, cpus: list[int], memory: int, size: int, repeats: int) -> float:
        seconds = self.library.probe_run(
            self.index[name], len(cpus), (ctypes.c_int * len(cpus))(*cpus),
            ctypes.c_void_p(memory), ctypes.c_size_t(size), ctypes.c_long(repeats),
        )  # fmt: skip
        if seconds < 0:
            raise SystemExit(f"bench limits: this machine refuses {len(cpus)} threads")
        return seconds


@dataclass(frozen=True)
class Row:
    """One probe at one place with one number of threads."""

    probes: Probes
    name: str
    place: str  # a cache, or "" for arithmetic
    threads: int
    size: int  # bytes of each thread

    @property
    def key(self) -> str:
        where = f"{self.name}.{self.place}" if self.place else f"{self.name}.{self.probes.level}"
        return f"{where}.{self.threads}"

    def rate(self, seconds: float) -> float:
        """1e9 operations or bytes a second."""
        return self.probes.work(self.name, self.size) * self.threads / seconds * 1e-9


def compile_probes(directory: Path) -> Iterator[Probes]:
    """The levels that this machine runs, lowest first. A child process tries each: it may lack the instructions."""
    objects = make.Objects(make.find_compiler(), directory)
    jobs = {}
    for level, flags in objects.levels().items():
        header = f'-DPROBE_VOCABULARY="simd/{VOCABULARY.get(level, level)}.h"'
        jobs[level] = objects.submit(ROOT / "bench" / "probes.c", [*make.C_FLAGS, *flags, header])
    for level, job in jobs.items():
        library = directory / f"{level}.so"
        make.run([*objects.compiler, "-shared", str(job.result()), "-o", str(library), "-pthread"])
        tried = subprocess.run([sys.executable, "-c", TRIAL, str(library)], capture_output=True, text=True)
        if tried.returncode == 0:
            yield Probes(level, library)
        elif tried.returncode != -signal.SIGILL:
            raise SystemExit(f"bench limits: the probes of {level} fail: {tried.stderr}")


def cache_sizes() -> dict[str, int]:
    """Bytes of L1d, L2 and L3 as Linux tells them; modest guesses where it does not."""
    sizes = {"L1": 32 << 10, "L2": 1 << 20, "L3": 16 << 20}
    for entry in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (entry / "type").read_text().strip() != "Instruction":
            text = (entry / "size").read_text().strip()
            unit = {"K": 10, "M": 20}.get(text[-1])
            name = f"L{(entry / 'level').read_text().strip()}"
            sizes[name] = int(text[:-1]) << unit if unit else int(text)
    return sizes


def working_set(caches: dict[str, int], place: str, threads: int) -> int:
    """Bytes of each thread: well inside the cache meant, well beyond the one below."""
    l1, l2, l3 = caches["L1"], caches["L2"], caches["L3"]
    size = {
        "L1": l1 // 2,
        "L2": max(l2 // 2, 2 * l1),
        # 3 times L2 at least, and of the shared L3 a quarter: neighbours use it too
        "L3": max(3 * l2, l3 // 4 // threads),
        "DRAM": min(DRAM_TIMES_L3 * l3, LARGEST_ARENA) // threads,
    }[place]
    return size // 4096 * 4096


def plan(levels: list[Probes], caches: dict[str, int], counts: list[int]) -> list[Row]:
    rows = [
        Row(probes, name, "", threads, 0)
        for probes in levels
        for name in probes.index
        for threads in counts
        if not probes.counts_bytes(name) and (name != "clock" or probes is levels[-1])
    ]
    best = levels[-1]
    for place in CACHES:
        for name in best.index:
            # streaming stores bypass the caches: they are a limit of DRAM alone
            if best.counts_bytes(name) and (place == "DRAM" or "stream" not in name):
                rows += [Row(best, name, place, n, working_set(caches, place, n)) for n in counts]
    return rows


class Arena:
    """Memory that probes walk through, backed by huge pages where the system lends them."""

    def __init__(self, size: int) -> None:
        # private: shared memory, Python's default, gets no huge pages, and page walks would be measured
        self.memory = mmap.mmap(-1, max(size, mmap.PAGESIZE), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.view = (ctypes.c_char * len(self.memory)).from_buffer(self.memory)
        ctypes.memset(self.view, 0, len(self.memory))

    @property
    def address(self) -> int:
        return ctypes.addressof(self.view)


def pinned(threads: int) -> list[int]:
    """The processor of each thread."""
    cpus = sorted(os.sched_getaffinity(0))
    return [cpus[t % len(cpus)] for t in range(threads)]


def measure(threads: int | None = None, rounds: int = ROUNDS, only: str = "") -> tuple[list[Row], dict[str, Sample]]:
    many = threads or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        rows = plan(list(compile_probes(Path(directory))), cache_sizes(), sorted({1, many}))
        rows = [row for row in rows if row.name == "clock" or only in row.key or re.search(only, row.key)]
        arena = Arena(max(row.size * row.threads for row in rows))
        works: dict[str, Work] = {
            row.key: partial(row.probes.run, row.name, pinned(row.threads), arena.address, row.size) for row in rows
        }
        return rows, interleave(works, rounds, SECONDS)


def figures(rows: list[Row], samples: dict[str, Sample]) -> dict[str, dict[str, float]]:
    """By key NAME.LEVEL.THREADS or NAME.CACHE.THREADS: 1e9 operations or bytes a second."""
    return {
        row.key: {
            "limit": row.rate(samples[row.key].best),
            "median": row.rate(samples[row.key].median),
            "spread": samples[row.key].spread,
        }
        for row in rows
    }


def report(rows: list[Row], table: dict[str, dict[str, float]]) -> None:
    many = max(row.threads for row in rows)
    clock = next(table[row.key]["limit"] for row in rows if row.name == "clock" and row.threads == 1)
    print(f"clock {clock:.2f} GHz (a chain of additions); 1 and {many} threads; limit = best round")
    shown = [row for row in rows if row.threads == 1 and row.name != "clock"]
    for arithmetic in (True, False):
        body = []
        for row in shown:
            if (row.place == "") != arithmetic:
                continue
            one, all_ = table[row.key], table[row.key[: row.key.rindex(".")] + f".{many}"]
            cycle = one["limit"] / clock
            name = f"{row.name} {row.place or row.probes.level}"
            body.append([name, f"{one['limit']:.1f}", f"{one['median']:.1f}", f"{one['spread']:.1%}",
                         f"{cycle:.1f}", f"{all_['limit']:.1f}", f"{all_['median']:.1f}", f"{all_['spread']:.1%}"])
        if not body:
            continue
        unit = "Gop/s" if arithmetic else "GB/s"
        print()
        print_table([unit, "1 thread", "median", "spread", "per cycle", f"{many} threads", "median", "spread"], body)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench limits", description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, help="default: the CPUs this process may use")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", metavar="PATTERN", default="", help="probes whose key has this text or expression")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw them as rooflines")
    options = parser.parse_args(arguments)
    if options.plot:
        roofline.require_matplotlib()
    rows, samples = measure(options.threads, options.rounds, options.only)
    table = figures(rows, samples)
    report(rows, table)
    save_json(options.json, table)
    if options.plot:
        many, level = max(row.threads for row in rows), rows[-1].probes.level
        widest = [row for row in rows if row.threads == many and row.probes.level == level and row.name != "clock"]
        peaks = {row.name: table[row.key]["limit"] for row in widest if not row.place}
        slopes = {row.place: table[row.key]["limit"] for row in widest if row.name == "read"}
        roofline.draw(options.plot, f"{level}, {many} threads", peaks, slopes, {})
