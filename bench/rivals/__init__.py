"""The rivals: who is found in which interpreter, as it installs and at its best setting.

    python -m bench versus --rivals PYTHON [--rivals PYTHON]

names interpreters that have them; of an engine that several have the first counts, and this interpreter comes last.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from pyengine.bench.processes import Setting

FOLDER = Path(__file__).parent
ENGINES = ("torch", "zentorch", "onnxruntime", "numpy", "openvino", "jax")
NEEDS = {"onnxruntime": "onnx", "zentorch": "torch"}  # what the adapter imports besides

# glibc keeps big blocks and backs them with huge pages, instead of giving them back at each call
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_TOP_PAD_": "67108864", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}  # fmt: skip
SAFE = {**os.environ, "PYTHONSAFEPATH": "1"}  # the folder at hand hides nobody's modules
VENDOR_CHECK = "int mkl_serv_intel_cpu_true(void) { return 1; }\n"
LOOK = """
import importlib.util, json, sys
print(json.dumps([all(importlib.util.find_spec(part) for part in name.split()) for name in sys.argv[1:]]))
"""
# one small product of each library: MKL and oneDNN say at the first which code they chose
VERBOSE = """
import torch
a = torch.ones(32, 32)
a @ a
torch.ops.mkldnn._linear_pointwise(a, a, None, "none", [], "")
"""


def find(pythons: list[str]) -> dict[str, str]:
    """engine -> the first interpreter that has it."""
    found: dict[str, str] = {}
    for python in [*pythons, sys.executable]:
        path = shutil.which(python)
        if path is None:
            raise SystemExit(f"bench: --rivals {python}: no such interpreter")
        wanted = [f"{name} {NEEDS.get(name, '')}".strip() for name in ENGINES]
        looked = subprocess.run([path, "-c", LOOK, *wanted], capture_output=True, text=True, env=SAFE)
        if looked.returncode:
            raise SystemExit(f"bench: --rivals {python} fails: {looked.stderr.strip().splitlines()[-1:]}")
        for name, there in zip(ENGINES, json.loads(looked.stdout), strict=True):
            if there:
                found.setdefault(name, path)
    return found


def vendor_override(folder: Path) -> Path | None:
    """A library that answers MKL's question for its maker's processor with yes, to be preloaded; needs a compiler."""
    source, library = folder / "vendor.c", folder / "vendor.so"
    source.write_text(VENDOR_CHECK)
    compiler = os.environ.get("CC", "cc").split()
    if shutil.which(compiler[0]) is None:
        return None
    subprocess.run([*compiler, "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return library


def processor_has(word: str) -> bool:
    """True when Linux's description of the processor holds the word."""
    try:
        return word in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def settings(found: dict[str, str], folder: Path) -> list[Setting]:
    """Every rival found, as it installs and at its best. `folder` gets the library that is preloaded."""
    made = []
    memory = "glibc keeps big blocks in huge pages"
    for engine, python in found.items():
        adapter = FOLDER / f"{engine}_calls.py"
        environment, note = dict(KEEP_MEMORY), memory
        if engine in ("torch", "zentorch"):
            library = vendor_override(folder)
            note += ", weights packed"
            if library:
                environment["LD_PRELOAD"] = str(library)
                note += ", MKL's vendor check answered"
                note += " (its maker's processor: no effect)" if processor_has("GenuineIntel") else ""
        if engine == "numpy":
            note += ", results in given memory"
            if processor_has("avx512bw"):
                environment["OPENBLAS_CORETYPE"] = "SkylakeX"
                note += ", OPENBLAS_CORETYPE=SkylakeX"
        if engine == "onnxruntime":
            note += ", bound inputs and outputs, denormals as zero"
        if engine == "openvino":
            note += ", LATENCY, one stream, f32"
        if engine != "zentorch":  # a plugin for those who tune
            made.append(Setting(engine, engine, python, adapter, note="as it installs"))
        made.append(Setting(f"{engine} tuned", engine, python, adapter, True, environment, note))
    return made


def code_path(setting: Setting) -> str:
    """What MKL and oneDNN inside torch say that they chose on this machine, in this setting."""
    environment = {**SAFE, **setting.environment, "MKL_VERBOSE": "1", "ONEDNN_VERBOSE": "1"}
    run = subprocess.run([setting.python, "-c", VERBOSE], capture_output=True, text=True, env=environment)
    said = []
    for line in run.stdout.splitlines():
        if line.startswith("MKL_VERBOSE oneMKL"):
            version, _, rest = line.removeprefix("MKL_VERBOSE ").partition(" Product build")
            chosen = rest.partition("architecture ")[2].partition(",")[0].partition(" with support")[0]
            said.append(f"{version}: {chosen}")
        if "info,cpu,isa:" in line:
            said.append(f"oneDNN: {line.partition('isa:')[2]}")
    return "; ".join(said)
