"""The machine: what was found, how many threads, how much memory."""

from pyengine import _core

__all__ = ["get_num_threads", "memory_stats", "num_threads", "set_memory_cap", "set_num_threads", "show_config",
           "trim"]  # fmt: skip

NUMBER = r"\s*\+?0*[1-9][0-9]*\s*"  # what csrc/cpu.c takes for a number of threads

get_num_threads = _core.get_num_threads
set_num_threads = _core.set_num_threads
memory_stats = _core.memory_stats
set_memory_cap = _core.set_memory_cap


def trim() -> int:
    """Gives cached memory, packed weights and what inference has folded back to the system."""
    import sys

    folded = sys.modules.get("pyengine.nn.conv_norm")
    if folded is not None:
        folded.forget_folded()
    return _core.trim()


class num_threads:
    """`with num_threads(n):` lets calls use up to n threads inside (in the whole process)."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.before: list[int] = []

    def __enter__(self) -> None:
        self.before.append(_core.get_num_threads())
        _core.set_num_threads(self.n)

    def __exit__(self, *exc) -> None:
        _core.set_num_threads(self.before.pop())


def _unheeded(name: str, heeded: str) -> str:
    """What to say of an environment variable that is set to something else than the pattern `heeded`."""
    import os
    import re

    value = os.environ.get(name, "")
    return "" if not value or re.fullmatch(heeded, value) else f"; {name}={value} is none and changes nothing"


def show_config() -> None:
    """Prints what was found on this machine and what was chosen, and which environment variable was not heeded."""
    import platform
    import sys

    found, memory = _core.machine_info(), _core.memory_stats()
    levels = found["isa_levels"]
    quota = f"{found['cpus_quota']:g} CPUs" if found["cpus_quota"] else "none"
    rows = [
        ("pyengine", f"{_core.__version__} on Python {platform.python_version()}, {platform.machine()}"),
        ("processor", found["cpu"] or platform.processor() or "unknown"),
        ("instructions", f"{found['isa']} (best here: {found['isa_best']}; PYENGINE_ISA lowers it to one of "
                         f"{', '.join(levels)}{_unheeded('PYENGINE_ISA', '|'.join(levels))})"),
        ("caches", f"L1d {found['l1d'] >> 10} KiB, L2 {found['l2'] >> 10} KiB, L3 {found['l3'] >> 20} MiB"),
        ("processors", f"{found['cpus_online']} online, {found['cpus_affinity']} allowed, quota {quota}"),
        ("threads", f"{_core.get_num_threads()} (default {found['threads_default']}; PYENGINE_NUM_THREADS, "
                    f"set_num_threads{_unheeded('PYENGINE_NUM_THREADS', NUMBER)})"),
        ("memory", f"{memory['in_use'] >> 20} MiB in use, {memory['cached'] >> 20} MiB cached of at most "
                   f"{memory['cap'] >> 20}"),
    ]  # fmt: skip
    for name, text in rows:
        sys.stdout.write(f"{name:13}{text}\n")
