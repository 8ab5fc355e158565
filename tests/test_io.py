"""Weight files: what comes back, what is refused, and what a crash or a full disk leaves."""

import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy
from require import require

import pyengine as pe
from pyengine.io import load_file, save_file
from pyengine.io.atomic import replace_file

DTYPES = ("float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool")


def same(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a.double().numpy(), b.double().numpy())


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


# ---- what comes back -------------------------------------------------------------


def test_round_trip(tmp_path):
    tensors = {name: pe.arange(6).to(name).reshape(2, 3) for name in DTYPES}
    tensors |= {"none": pe.zeros(0, 3), "scalar": pe.tensor(1.5), "slanted": pe.arange(6).float().reshape(2, 3).t()}
    tensors["strided"] = pe.arange(10).float()[::3]
    tensors["special"] = pe.tensor([float("nan"), float("-inf"), -0.0, 1e-45])
    path = tmp_path / "all.safetensors"
    save_file(tensors, path)
    back = load_file(path)
    assert sorted(back) == sorted(tensors)
    for name, tensor in tensors.items():
        if name == "special":
            assert back[name].numpy().tobytes() == tensor.numpy().tobytes()
        else:
            assert same(back[name], tensor), name
    with pe.no_grad():
        back["float32"].fill_(7.0)  # its own memory, writable
    assert names(tmp_path) == ["all.safetensors"]


def test_other_readers_and_writers(tmp_path):
    path = tmp_path / "file.safetensors"
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_file({"b": pe.from_numpy(values), "a": values[::-1]}, path, {"made": "here"})
    theirs = safetensors.numpy.load_file(path)
    assert np.array_equal(theirs["b"], values) and np.array_equal(theirs["a"], values[::-1])
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata() == {"made": "here"}
    safetensors.numpy.save_file({"x": values}, path)
    assert load_file(path)["x"].tolist() == values.tolist()
    save_file({}, path)
    assert load_file(path) == {}


def test_bytes_do_not_depend_on_the_order_of_names(tmp_path):
    a, b = pe.ones(3), pe.zeros(5)
    save_file({"a": a, "b": b}, tmp_path / "1")
    save_file({"b": b, "a": a}, tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_bytes_do_not_depend_on_the_order_of_metadata(tmp_path):
    """The library alone writes metadata in another order each time."""
    path, found = tmp_path / "file", set()
    metadata = {"seed": "0", "model": 'ä \x00\x1f\x7f "quoted" \u2028', "b": "", "a": "x" * 13}
    for i in range(20):
        turned = dict(list(metadata.items())[:: 1 if i % 2 else -1])
        save_file({"b": pe.ones(3), "a": pe.arange(5)}, path, turned)
        found.add(path.read_bytes())
    assert len(found) == 1
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata() == metadata
    assert load_file(path)["a"].tolist() == [0, 1, 2, 3, 4]


def test_parameters_are_saved_as_they_are(tmp_path):
    layer = pe.nn.Linear(3, 2)
    save_file(dict(layer.named_parameters()), tmp_path / "layer")
    assert load_file(tmp_path / "layer")["weight"].tolist() == layer.weight.tolist()


def test_refusals(tmp_path):
    path = tmp_path / "never"
    cases = [({"a": 3}, "'a' must be a tensor"), ({"a": [1.0]}, "'a' must be a tensor"), ({3: pe.ones(1)}, "names")]
    for tensors, text in cases:
        with pytest.raises(TypeError, match=text):
            save_file(tensors, path)
    with pytest.raises(TypeError, match="metadata"):
        save_file({"a": pe.ones(1)}, path, {"epoch": 3})
    with pytest.raises(TypeError, match="complex128"):
        save_file({"a": np.ones(2, complex)}, path)
    with pytest.raises(FileNotFoundError, match="missing"):
        save_file({"a": pe.ones(1)}, tmp_path / "missing" / "file")
    with pytest.raises(FileNotFoundError, match="never"):
        load_file(path)
    assert names(tmp_path) == []


# ---- files that are no files -----------------------------------------------------


@pytest.fixture
def whole(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": pe.ones(4, 3), "bias": pe.zeros(4)}, path)
    return path


def test_every_truncation_is_named(whole):
    content = whole.read_bytes()
    for size in range(len(content)):
        whole.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"weights\.safetensors: no valid safetensors file: .*truncated"):
            load_file(whole)
    whole.write_bytes(content + b"more")
    with pytest.raises(ValueError, match=f"promises {len(content)} bytes, the file has {len(content) + 4}$"):
        load_file(whole)


def test_no_byte_can_crash_it(whole):
    """Any damage gives a ValueError that names the file, or tensors: never anything else."""
    content, rng, refused = whole.read_bytes(), np.random.default_rng(0), 0
    for _ in range(2000):
        damaged = bytearray(content)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(0, len(content) - 60)] = rng.integers(0, 256)
        whole.unlink()  # ext4 waits for the disk where a file is cut and written again
        whole.write_bytes(damaged)
        try:
            assert all(isinstance(tensor, pe.Tensor) for tensor in load_file(whole).values())
        except ValueError as error:
            assert "weights.safetensors" in str(error)
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize(
    "header",
    [
        b"[]", b"null", b"{" * 5000, b'{"a":3}', b'{"a":{"dtype":"F32"}}',
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}',
        b'{"a":{"dtype":"F32","shape":[0,0,0,0,0,0,0,0,0,0],"data_offsets":[0,0]}}',
        b'{"a":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[0,0]}}',
    ],
)  # fmt: skip
def test_headers_that_lie(tmp_path, header):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ValueError, match=r"lie\.safetensors"):
        load_file(path)


# ---- whole or not at all ---------------------------------------------------------


def assert_failed_save_keeps(path, before, save):
    with pytest.raises(OSError, match=path.name):
        save()
    assert path.read_bytes() == before
    assert names(path.parent) == [path.name]


def test_a_full_disk_keeps_the_old_file(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", disk], capture_output=True)
    require("tmpfs", made.returncode == 0, "mounting a small tmpfs needs root")
    try:
        path = disk / "weights.safetensors"
        save_file({"a": pe.ones(1000)}, path)
        assert_failed_save_keeps(path, path.read_bytes(), lambda: save_file({"a": pe.zeros(100_000)}, path))
        assert load_file(path)["a"].sum().item() == 1000
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_file_size_limit_keeps_the_old_file(whole):
    before, limits = whole.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        assert_failed_save_keeps(whole, before, lambda: save_file({"a": pe.zeros(10_000)}, whole))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_failed_synchronization_keeps_the_old_file(whole, monkeypatch):
    def broken(descriptor):
        raise OSError(5, "the disk does not answer")

    monkeypatch.setattr(os, "fsync", broken)
    assert_failed_save_keeps(whole, whole.read_bytes(), lambda: save_file({"a": pe.zeros(10)}, whole))


def test_links_keep_pointing(whole):
    link = whole.parent / "latest"
    link.symlink_to(whole.name)
    save_file({"a": pe.ones(2)}, link)
    assert link.is_symlink() and list(load_file(whole)) == ["a"]


def test_replace_file_writes_all_parts(tmp_path):
    replace_file(tmp_path / "f", b"ab", b"", b"cd")
    assert (tmp_path / "f").read_bytes() == b"abcd"


SAVER = """
import sys, itertools
import pyengine as pe
from pyengine.io import save_file
for i in itertools.count():
    save_file({"a": pe.full((300_000,), float(i % 100))}, sys.argv[1])
    if i == 0:
        print("ready", flush=True)
"""


def test_kills_at_random_moments_leave_a_whole_file(tmp_path):
    path, rng = tmp_path / "weights.safetensors", np.random.default_rng()
    for _ in range(6):
        saver = subprocess.Popen([sys.executable, "-c", SAVER, path], stdout=subprocess.PIPE)
        assert saver.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0, 0.05))
        saver.kill()
        saver.wait()
        saver.stdout.close()
        values = np.unique(load_file(path)["a"].numpy())
        assert len(values) == 1, "a mixture of two writes"
