"""How fast files of weights are written and read, beside the page cache's copy rate and the safetensors library.

Each is the best of interleaved rounds; fsync is left out where it is said (it measures the disk, not the code).
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time

FRESH = """
import os, sys, time
path, kind = sys.argv[1:]
import numpy
import pyengine.io
if kind == "raw":
    begin = time.perf_counter()
    memory = memoryview(bytearray(os.path.getsize(path)))
    with open(path, "rb", buffering=0) as file:
        done = 0
        while done < len(memory):
            done += file.readinto(memory[done:])
else:
    if kind == "library":
        from safetensors.numpy import load_file
    else:
        from pyengine.io import load_file
    begin = time.perf_counter()
    found = load_file(path)
print(time.perf_counter() - begin)
"""


def timed(run, path=None):
    """Seconds of one call; the file it writes is not there before (renaming over one makes ext4 start its writing)."""
    if path and os.path.exists(path):
        os.unlink(path)
    begin = time.perf_counter()
    result = run()
    seconds = time.perf_counter() - begin
    del result
    return seconds


@contextlib.contextmanager
def without_fsync():
    """Nothing waits for the disk."""
    real, os.fsync = os.fsync, lambda descriptor: None
    try:
        yield
    finally:
        os.fsync = real


def main(arguments):
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m bench checkpoint", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--folder", help="where the files are written (the system's temporary folder)")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args(arguments)
    import numpy
    from safetensors.numpy import load_file as library_load
    from safetensors.numpy import save_file as library_save

    import pyengine as pe
    from pyengine.io import load_file, save_file

    tensors = {}
    for i in range(options.megabytes // 4):
        tensors |= {f"layer{i}.weight": pe.rand(1024, 1024), f"layer{i}.bias": pe.rand(1024)}
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    size = sum(array.nbytes for array in arrays.values())
    memory = memoryview(numpy.frombuffer(numpy.random.default_rng(0).bytes(size), "uint8").copy())
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, without_fsync():
        raw, ours, theirs = (os.path.join(folder, name) for name in ("raw", "ours", "theirs"))

        def write_raw():
            with open(raw, "xb", buffering=0) as file:
                done = 0
                while done < size:
                    done += file.write(memory[done:])

        def read_raw():
            with open(raw, "rb", buffering=0) as file:
                done = 0
                while done < size:
                    done += file.readinto(memory[done:])

        calls = {
            "write: page cache": (write_raw, raw), "write: pyengine": (lambda: save_file(tensors, ours), ours),
            "write: library": (lambda: library_save(arrays, theirs), theirs), "read: page cache": (read_raw,),
            "read: pyengine": (lambda: load_file(ours),), "read: library": (lambda: library_load(theirs),),
        }  # fmt: skip
        times = [{name: timed(*call) for name, call in calls.items()} for _ in range(options.rounds)]
        best = {name: min(round_[name] for round_ in times) for name in calls}
        for kind, path in {"raw": raw, "pyengine": ours, "library": theirs}.items():
            command = [sys.executable, "-c", FRESH, path, kind]
            best[f"read in a new process: {kind.replace('raw', 'page cache')}"] = min(
                float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(5)
            )
    for name, seconds in best.items():
        limit = best[name.split(":")[0] + ": page cache"]
        print(f"{name:36} {size / seconds / 1e9:6.2f} GB/s  {limit / seconds:6.1%} of the page cache's copy rate")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
