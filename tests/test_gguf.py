"""GGUF and safetensors files: what is read, and malformed ones, which are refused before memory is asked for."""

import itertools
import json
import os
import random
import resource
import struct

import numpy as np
import pytest

import pyengine as pe
from pyengine.io import GGUF, load_file
from pyengine.io.gguf_blocks import FORMATS, decode

ROUNDS = int(os.environ.get("PYENGINE_FUZZ", 300))  # PYENGINE_FUZZ=100000 takes minutes
U32, U64, STRING, ARRAY, F32, BOOL = 4, 10, 8, 9, 6, 7
HUGE = (1 << 64) - 1


def text(value):
    content = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(content)) + content


def entry(name, kind, content):
    return text(name) + struct.pack("<I", kind) + content


def info(name, shape, code=0, offset=0):
    """shape as numpy's: the file has it backwards."""
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], code, offset)


def gguf(entries=(), infos=(), data=b"", version=3, magic=b"GGUF", counts=None):
    tensors, pairs = counts or (len(infos), len(entries))
    head = magic + struct.pack("<IQQ", version, tensors, pairs) + b"".join(entries) + b"".join(infos)
    return head + b"\0" * (-len(head) % 32) + data


ONE = struct.pack("<4f", 1, 2, 3, 4)
GOOD = gguf(
    [entry("general.architecture", STRING, text("llama")), entry("n", U32, struct.pack("<I", 7)),
     entry("list", ARRAY, struct.pack("<IQ", F32, 2) + struct.pack("<2f", 0.5, 2)),
     entry("words", ARRAY, struct.pack("<IQ", STRING, 2) + text("a") + text("bc")), entry("yes", BOOL, b"\1")],
    [info("w", (2, 2)), info("b", (3,), 1, 32)],
    ONE + b"\0" * 16 + np.array([1, 2, 3], "<f2").tobytes(),
)  # fmt: skip


def write(folder, content, name="file.gguf"):
    path = folder / name
    path.write_bytes(content)
    return path


def test_what_is_in_a_file(tmp_path):
    file = GGUF(write(tmp_path, GOOD))
    assert file.metadata == {"general.architecture": "llama", "n": 7, "list": [0.5, 2.0], "words": ["a", "bc"],
                             "yes": True}  # fmt: skip
    assert file.tensor("w").tolist() == [[1, 2], [3, 4]] and file.tensor("b").tolist() == [1, 2, 3]
    assert {name: stored.shape for name, stored in file.tensors.items()} == {"w": (2, 2), "b": (3,)}
    with pytest.raises(FileNotFoundError):
        GGUF(tmp_path / "none.gguf")


def nested(depth):
    return struct.pack("<IQ", ARRAY, 1) * depth + struct.pack("<IQ", U32, 0)


many = (entry(f"k{i}", U32, struct.pack("<I", i)) for i in itertools.count())
MALFORMED = {
    "empty": b"",
    "short magic": b"GG",
    "other magic": gguf(magic=b"GGML"),
    "version 1": gguf(version=1),
    "version 2^32-1": gguf(version=0xFFFFFFFF),
    "huge tensor count": gguf(counts=(HUGE, 0)),
    "huge entry count": gguf(counts=(0, HUGE)),
    "one entry too many": gguf([next(many)], counts=(0, 2)),
    "a tensor too many": gguf([], [info("w", (4,))], ONE, counts=(2, 0)),
    "huge name": gguf([struct.pack("<Q", HUGE) + b"x"]),
    "name of 2^63": gguf([struct.pack("<Q", 1 << 63)], counts=(0, 1)),
    "name is no UTF-8": gguf([entry(b"\xff\xfe", U32, b"\0" * 4)]),
    "text is no UTF-8": gguf([entry("a", STRING, text(b"\xff"))]),
    "unknown type": gguf([entry("a", 13, b"\0" * 64)]),
    "array of unknown type": gguf([entry("a", ARRAY, struct.pack("<IQ", 99, 1))]),
    "array of arrays": gguf([entry("a", ARRAY, nested(1))]),
    "deep arrays": gguf([entry("a", ARRAY, nested(20000))]),
    "huge array": gguf([entry("a", ARRAY, struct.pack("<IQ", 0, HUGE))]),
    "huge array of texts": gguf([entry("a", ARRAY, struct.pack("<IQ", STRING, HUGE // 8))]),
    "huge text in an array": gguf([entry("a", ARRAY, struct.pack("<IQQ", STRING, 1, HUGE))]),
    "an entry twice": gguf([entry("a", U32, b"\0" * 4)] * 2),
    "a tensor twice": gguf([], [info("w", (4,))] * 2, ONE),
    "alignment 0": gguf([entry("general.alignment", U32, struct.pack("<I", 0))], [info("w", (4,))], ONE),
    "alignment 2^31": gguf([entry("general.alignment", U32, struct.pack("<I", 1 << 31))]),
    "alignment is a text": gguf([entry("general.alignment", STRING, text("32"))]),
    "no axes": gguf([], [info("w", ())], ONE),
    "2^32-1 axes": gguf([], [text("w") + struct.pack("<IQIQ", 0xFFFFFFFF, 4, 0, 0)], ONE),
    "a size of 0": gguf([], [info("w", (4, 0))], ONE),
    "sizes beyond 2^64": gguf([], [info("w", (1 << 40, 1 << 40))], ONE),
    "sizes that overflow to 4": gguf([], [info("w", (1 << 62, 4, 4))], ONE),
    "part of a block": gguf([], [info("w", (1, 33), 8)], b"\0" * 96),
    "unknown format": gguf([], [info("w", (4,), 999)], ONE),
    "offset not aligned": gguf([], [info("w", (2,), 0, 4)], ONE * 4),
    "offset behind the end": gguf([], [info("w", (4,), 0, 1 << 20)], ONE),
    "offset of 2^64-32": gguf([], [info("w", (4,), 0, HUGE - 31)], ONE),
    "overlapping tensors": gguf([], [info("w", (16,)), info("v", (16,), 0, 32)], ONE * 8),
    "the same bytes": gguf([], [info("w", (4,)), info("v", (4,))], ONE),
    "data cut short": GOOD[:-1],
}


@pytest.fixture
def few_megabytes():
    """Whatever a file says: the process may not grow by more than 64 MB meanwhile."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_files_are_refused(what, tmp_path, few_megabytes):
    path = write(tmp_path, MALFORMED[what])
    with pytest.raises(ValueError, match="no valid GGUF file") as error:
        GGUF(path)
    assert str(path) in str(error.value)


def test_every_cut_is_refused(tmp_path, few_megabytes):
    for size in range(0, len(GOOD), 3):
        with pytest.raises(ValueError):
            GGUF(write(tmp_path, GOOD[:size]))


def changed(dice, content):
    """content with some bytes, or an 8-byte number, otherwise."""
    content = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(content))
        if dice.random() < 0.5:
            content[at] = dice.choice((0, 1, 8, 9, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        else:
            content[at : at + 8] = struct.pack("<Q", dice.choice((0, 1, 1 << 31, 1 << 32, 1 << 62, 1 << 63, HUGE)))
    return bytes(content[: dice.choice((len(content), len(content), dice.randrange(len(content) + 1)))])


def test_random_changes_are_read_or_refused(tmp_path, few_megabytes):
    dice = random.Random(1)
    read = 0
    for _ in range(ROUNDS):
        path = write(tmp_path, changed(dice, GOOD))
        try:
            file = GGUF(path)
            read += all(file.tensor(name).shape == stored.shape for name, stored in file.tensors.items())
        except ValueError:
            pass
    assert read


# ---- blocks ----


def by_hand(name, block):
    """The numbers of one block of 32, one after another, as the format's description has them."""
    d = np.frombuffer(block[:2], "<f2")[0].astype("f4")
    at = {"Q4_0": 2, "Q4_1": 4, "Q5_0": 6, "Q5_1": 8, "Q8_0": 2}[name]
    if name == "Q8_0":
        return [np.float32(np.int8(b - 256 if b > 127 else b)) * d for b in block[2:]]
    m = np.frombuffer(block[2:4], "<f2")[0].astype("f4") if name[-1] == "1" else np.float32(0)
    high = int.from_bytes(block[at - 4 : at], "little") if name[1] == "5" else 0
    less = {"Q4_0": 8, "Q5_0": 16}.get(name, 0)
    numbers = []
    for i in range(32):
        four = block[at + i % 16] >> 4 * (i // 16) & 15
        numbers.append(np.float32((four | (high >> i & 1) << 4) - less) * d + m)
    return numbers


@pytest.mark.parametrize("name", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_blocks_of_32(name):
    kind = next(kind for kind in FORMATS.values() if kind.name == name)
    dice = random.Random(name)
    blocks = [bytearray(dice.randbytes(kind.nbytes)) for _ in range(3)]
    for block in blocks:
        block[:2] = np.float16(dice.uniform(-2, 2)).tobytes()
        block[2:4] = np.float16(dice.uniform(-2, 2)).tobytes() if name[-1] == "1" else block[2:4]
    found = decode(kind, b"".join(blocks))
    assert found.dtype == np.float32
    assert np.array_equal(found, np.array([by_hand(name, bytes(block)) for block in blocks], "f4").reshape(-1))


# What the gguf package 0.17 makes of the bytes 0, 7, 14, ... with scales of 0.5 and 0.25: their sum, and numbers 0, 33,
# 100 and 255.
K_SUMS = {
    "Q4_K": (20992.0, -14.0, 106.75, 143.75, 57.5),
    "Q5_K": (44264.0, -14.0, 351.75, 486.75, 48.5),
    "Q6_K": (-6606.0, -1024.0, -351.0, 795.0, 1087.5),
}


@pytest.mark.parametrize("name", K_SUMS)
def test_blocks_of_256(name):
    kind = next(kind for kind in FORMATS.values() if kind.name == name)
    found = decode(kind, k_block(kind))
    total, *some = K_SUMS[name]
    assert len(found) == 256 and found[[0, 33, 100, 255]].tolist() == some and found.sum(dtype="f8") == total


def k_block(kind):
    content = bytearray(i * 7 % 256 for i in range(kind.nbytes))
    for at, scale in (((208, 0.5),) if kind.name == "Q6_K" else ((0, 0.5), (2, 0.25))):
        content[at : at + 2] = np.float16(scale).tobytes()
    return bytes(content)


def test_bfloat16():
    kind = next(kind for kind in FORMATS.values() if kind.name == "BF16")
    assert decode(kind, struct.pack("<3H", 0x3F80, 0xC000, 0x7FC0))[:2].tolist() == [1.0, -2.0]


# ---- safetensors, the same ----


def safetensors(header, data=b""):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(content)) + content + data


def tensor(dtype="F32", shape=(4,), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


WRONG = {
    "empty": b"",
    "short": b"\0" * 7,
    "huge header": struct.pack("<Q", HUGE),
    "header of 2^40": struct.pack("<Q", 1 << 40) + b"{}",
    "no JSON": safetensors(b"{"),
    "a list": safetensors([]),
    "deep": safetensors(b'{"a":' + b"[" * 100000),
    "no dict": safetensors({"a": 1}),
    "no offsets": safetensors({"a": {"dtype": "F32", "shape": [4]}}, ONE),
    "unknown type": safetensors({"a": tensor("F31")}, ONE),
    "negative size": safetensors({"a": tensor(shape=(-4,))}, ONE),
    "huge size": safetensors({"a": tensor(shape=(1 << 62,))}, ONE),
    "sizes overflow": safetensors({"a": tensor(shape=(1 << 33, 1 << 33))}, ONE),
    "offsets backwards": safetensors({"a": tensor(offsets=(16, 0))}, ONE),
    "offsets beyond": safetensors({"a": tensor(offsets=(0, 1 << 40))}, ONE),
    "overlap": safetensors({"a": tensor(), "b": tensor(offsets=(8, 24))}, ONE * 2),
    "a hole": safetensors({"a": tensor(), "b": tensor(offsets=(32, 48))}, ONE * 3),
    "cut short": safetensors({"a": tensor()}, ONE[:-1]),
    "bytes behind": safetensors({"a": tensor()}, ONE + b"\0"),
    "no UTF-8": safetensors(b'{"\xff":1}'),
    "metadata of numbers": safetensors({"__metadata__": {"a": 1}, "a": tensor()}, ONE),
}


@pytest.mark.parametrize("what", WRONG)
def test_malformed_safetensors_are_refused(what, tmp_path, few_megabytes):
    path = write(tmp_path, WRONG[what], "file.safetensors")
    with pytest.raises(ValueError, match="no valid safetensors file"):
        load_file(path)


def test_random_changes_of_safetensors(tmp_path, few_megabytes):
    dice, good = random.Random(2), safetensors({"a": tensor(), "b": tensor("F16", (2, 4), (16, 32))}, ONE * 2)
    assert load_file(write(tmp_path, good, "a.safetensors"))["a"].tolist() == [1, 2, 3, 4]
    for _ in range(ROUNDS):
        try:
            state = load_file(write(tmp_path, changed(dice, good), "a.safetensors"))
            assert all(isinstance(value, pe.Tensor) for value in state.values())
        except ValueError:
            pass
