"""The reader and writer of safetensors files beside the safetensors library: the same bytes, the same refusals."""

import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy

import pyengine as pe
from pyengine.io import load_file, save_file
from pyengine.io import safetensors as ours

KINDS = ("float32", "float64", "float16", "int8", "int16", "int32", "int64", "uint8", "bool")


def arrays_of_all_kinds(rng):
    shapes = [(), (0,), (3,), (2, 0, 4), (5, 7), (1, 2, 3, 4)]
    return {f"{kind}.{i}é": rng.integers(0, 2, shape).astype(kind) for kind in KINDS for i, shape in enumerate(shapes)}


def write(path, header, data=b""):
    path.unlink(missing_ok=True)  # ext4 waits for the disk where a file is cut and written again
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize("metadata", [None, {"seed": 'ä "0" \x00'}])
def test_bytes_are_the_librarys(tmp_path, metadata):
    arrays = arrays_of_all_kinds(np.random.default_rng(0))
    save_file(arrays, tmp_path / "ours", metadata)
    theirs = safetensors.numpy.save(arrays, metadata)
    assert (tmp_path / "ours").read_bytes() == theirs
    (tmp_path / "theirs").write_bytes(theirs)
    back, told = ours.load_with_metadata(tmp_path / "theirs")
    assert told == (metadata or {}) and list(back) == sorted(arrays)
    for name, array in arrays.items():
        assert back[name].numpy().tobytes() == array.tobytes() and back[name].shape == array.shape


def test_bfloat16_in_both_directions(tmp_path):
    values = pe.randn(5, 3).to(pe.bfloat16)
    save_file({"x": values}, tmp_path / "file")
    ((name, entry),) = safetensors.deserialize((tmp_path / "file").read_bytes())
    assert (name, entry["dtype"], entry["shape"]) == ("x", "BF16", [5, 3])
    assert bytes(entry["data"]) == values.numpy().tobytes()


def entry(begin, end, shape=(1,), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


MALFORMED = {
    "a gap": ({"a": entry(0, 4), "b": entry(8, 12)}, 12, "begin at 8"),
    "an overlap": ({"a": entry(0, 4), "b": entry(2, 6)}, 6, "begin at 2"),
    "the same bytes": ({"a": entry(0, 4), "b": entry(0, 4)}, 4, "begin at 0"),
    "a late start": ({"a": entry(4, 8)}, 8, "begin at 4"),
    "bytes behind": ({"a": entry(0, 4)}, 8, "has 71|promises"),
    "too few": ({"a": entry(0, 8, (2,))}, 4, "truncated"),
    "a wrong size": ({"a": entry(0, 8, (3,))}, 8, "has 8 bytes"),
    "an unknown type": ({"a": entry(0, 4, dtype="F33")}, 4, "'F33'"),
    "a type that is no text": ({"a": entry(0, 4, dtype=["F32"])}, 4, "element type"),
    "a negative size": ({"a": entry(0, 4, (-1, -1))}, 4, "valid shape"),
    "a size as a fraction": ({"a": entry(0, 4, (1.0,))}, 4, "valid shape"),
    "a size as a boolean": ({"a": entry(0, 4, (True,))}, 4, "valid shape"),
    "a product that wraps": ({"a": entry(0, 0, (1 << 62, 4))}, 0, "has 0 bytes"),
    "offsets turned": ({"a": entry(4, 0)}, 4, "data_offsets"),
    "offsets beyond 64 bits": ({"a": entry(0, 1 << 70)}, 4, "data_offsets"),
    "three offsets": ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 4]}}, 4, "data_offsets"),
    "a field too few": ({"a": {"dtype": "F32", "shape": [1]}}, 0, "needs dtype"),
    "an entry that is a list": ({"a": []}, 0, "needs dtype"),
    "metadata of numbers": ({"__metadata__": {"epoch": 3}}, 0, "text for text"),
    "metadata as a list": ({"__metadata__": ["x"]}, 0, "text for text"),
    "a name twice": (b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'
                     b'"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}', 0, "'a' is there twice"),
    "a field twice": (b'{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}', 0, "twice"),
    "no text": (b'{"\xff":{}}', 0, "no JSON"),
    "NaN": (b'{"a":NaN}', 0, "NaN"),
    "a space first": (b' {"a":1}', 0, "begin with"),
    "a long number": (b'{"a":' + b"9" * 10_000 + b"}", 0, "no JSON"),
    "too deep": (b'{"a":' * 100_000, 0, "no JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_are_refused_as_by_the_library(tmp_path, name):
    header, size, text = MALFORMED[name]
    path = write(tmp_path / "file", header, bytes(size))
    with pytest.raises(ValueError, match=text):
        load_file(path)
    if name not in ("a field twice", "a name twice"):  # of which the library silently takes the last
        with pytest.raises(safetensors.SafetensorError):
            safetensors.deserialize(path.read_bytes())


def test_a_header_longer_than_the_format_allows_is_not_read(tmp_path):
    path = tmp_path / "file"
    with open(path, "wb") as file:  # sparse: 200 MB that nobody wrote
        file.write((200_000_000).to_bytes(8, "little") + b"{")
        file.truncate(300_000_000)
    with pytest.raises(ValueError, match="the format allows 100000000"):
        load_file(path)


def test_whatever_is_accepted_the_library_reads_alike(tmp_path):
    """Headers changed at random, byte by byte and field by field."""
    rng = np.random.default_rng(1)
    base = {"a": entry(0, 8, (2,)), "b": entry(8, 11, (3, 1), "I8"), "c": entry(11, 11, (0,), "U8")}
    data, path, accepted = bytes(range(11)), tmp_path / "file", 0
    for _ in range(1500):
        header = json.loads(json.dumps(base))
        some = header[str(rng.choice(list("abc")))]
        some[str(rng.choice(["dtype", "shape", "data_offsets"]))] = [
            [2], [8], [2, 1], [0, 8], [8, 11], [3], [4, 2], "F32", "I64", "U8", "F16", [], [0], [1, 8], [11, 11],
        ][rng.integers(15)]  # fmt: skip
        text = bytearray(json.dumps(header).encode())
        if rng.random() < 0.5:
            text[rng.integers(len(text))] = rng.integers(32, 127)
        write(path, bytes(text), data)
        try:
            found = load_file(path)
        except ValueError as error:
            assert str(path) in str(error)
            continue
        accepted += 1
        theirs = {name: bytes(found["data"]) for name, found in safetensors.deserialize(path.read_bytes())}
        assert {name: tensor.numpy().tobytes() for name, tensor in found.items()} == theirs
    assert accepted > 50


def test_no_names_that_are_no_text(tmp_path):
    with pytest.raises(TypeError, match="valid text"):
        save_file({"\ud800": pe.ones(1)}, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
