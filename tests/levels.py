"""The instruction-set levels that this machine can run, and how a test compiles C for each.

The flags are csrc/make.py's own.
"""

import importlib.util
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from require import require

ROOT = Path(__file__).resolve().parent.parent
CSRC = ROOT / "csrc"
# What /proc/cpuinfo must list; the operating system's share of it (XGETBV) is already in there.
NEEDED = {
    "generic": {"ssse3", "sse4_1", "sse4_2", "popcnt"},
    "avx2": {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"},
    "avx512": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "avx512_vnni": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"},
    "avx512_bf16": {"avx512f", "avx512_vnni", "avx512_bf16"},
    "amx": {"avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"},
}
# Levels whose vector vocabulary is that of AVX-512: they have no simd/NAME.h of their own.
WITHOUT_VOCABULARY = {"avx512_vnni", "avx512_bf16", "amx"}


def load_make():
    """csrc/make.py as a module; it is a script beside the sources and in no package."""
    spec = importlib.util.spec_from_file_location("pyengine_csrc_make", CSRC / "make.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MAKE = load_make()


def runnable_levels() -> dict[str, list[str]]:
    """Level -> its compiler flags, for those of this machine's levels that it can execute."""
    levels = MAKE.LEVELS.get(platform.machine(), {"generic": []})
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {"generic": levels["generic"]}
    listed = {word for line in text.splitlines() if line.startswith("flags") for word in line.split()}
    return {
        level: flags
        for level, flags in levels.items()
        if level == "neon" or NEEDED[level] <= listed or platform.machine() != "x86_64"
    }


def compiler() -> list[str]:
    """The C compiler as a list of words; ends the test where there is none."""
    try:
        return MAKE.find_compiler()
    except MAKE.BuildError as error:
        require("compiler", False, str(error))
        raise


def compile_c(source: Path, target: Path, flags: list[str], command: list[str] | None = None) -> Path:
    """Compiles one C file with the project's flags and `flags`; a warning is a failure."""
    words = [*(command or compiler()), *MAKE.C_FLAGS, "-Werror", *flags, f"-I{CSRC}"]
    done = subprocess.run([*words, str(source), "-o", str(target)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def aarch64_tools() -> tuple[str, str]:
    """The cross compiler and the emulator for the NEON level; ends the test where one is missing."""
    for name in ("aarch64-linux-gnu-gcc", "qemu-aarch64"):
        require("qemu", shutil.which(name), f"{name} is not installed (Debian: gcc-aarch64-linux-gnu, qemu-user)")
    return "aarch64-linux-gnu-gcc", "qemu-aarch64"
