"""Files of torch.save: what comes back, and that no file can do anything else."""

import pickletools
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch_files as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import pyengine as pe
from pyengine.io import load_model, load_state, load_torch, save_file
from pyengine.io.pickle_machine import OPCODES

WEIGHTS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.array([1.5, -2.0], np.float32)}
FOUR = tf.storage("0", "float32", 4)


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "net.pth"
        path.write_bytes(content)
        return path

    return write


def in_zip(value, storages=None):
    """A zip file whose pickle makes value, with a storage "0" of four floats."""
    return tf.zipped(tf.program(value), {"0": bytes(16)} if storages is None else storages)


# ---- what comes back -------------------------------------------------------------


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_every_type_comes_back(file, form):
    arrays = {dtype: np.arange(6).reshape(2, 3).astype(dtype) for dtype in tf.STORAGES if dtype != "bfloat16"}
    arrays |= {"none": np.zeros((0, 3), np.float32), "scalar": np.array(3)}
    found = load_torch(file(tf.both(arrays)[form]))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype.name == array.dtype.name and found[name].shape == array.shape
        assert np.array_equal(found[name].numpy(), array)
    with pe.no_grad():
        found["float32"].fill_(7.0)


def test_bfloat16_and_numbers_that_are_no_truth_values(file):
    value = tf.dictionary({"b": tf.tensor(tf.storage("0", "bfloat16", 2), (2,), (1,)),
                           "t": tf.tensor(tf.storage("1", "bool", 3), (3,), (1,))})  # fmt: skip
    found = load_torch(file(in_zip(value, {"0": b"\x80\x3f\x20\xc0", "1": b"\0\7\1"})))
    assert found["b"].dtype == pe.bfloat16 and found["b"].tolist() == [1.0, -2.5]
    assert found["t"].tolist() == [False, True, True] and bytes(found["t"].numpy()) == b"\0\1\1"


def test_views_share_what_they_shared(file):
    stored = tf.storage("0", "float32", 6)
    views = {"a": ((2, 3), (3, 1), 0), "t": ((3, 2), (1, 3), 0), "row": ((3,), (1,), 3), "column": ((2,), (3,), 1)}
    value = tf.dictionary({key: tf.tensor(stored, *view) for key, view in views.items()})
    found = load_torch(file(in_zip(value, {"0": np.arange(6, dtype=np.float32).tobytes()})))
    assert found["a"].tolist() == [[0, 1, 2], [3, 4, 5]] and found["t"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert found["row"].tolist() == [3, 4, 5] and found["column"].tolist() == [1, 4]
    with pe.no_grad():
        found["a"][1, 0] = 9.0
    assert found["t"].tolist()[0] == [0, 9] and found["row"].tolist()[0] == 9


def test_plain_values_come_back(file):
    size = tf.name("torch", "Size") + b"(" + tf.numbers((2, 3)) + b"tR"
    items = {"n": b"N", "yes": b"\x88", "no": b"\x89", "f": b"G" + b"\x3f\xf8" + bytes(6),
             "big": tf.number(1 << 40),
             "list": b"](K\x01K\x02e", "pair": tf.number(-1) + tf.text("ä") + b"\x86", "size": size,
             "": b"}"}  # fmt: skip
    expected = {"n": None, "yes": True, "no": False, "f": 1.5, "big": 1 << 40, "list": [1, 2], "pair": (-1, "ä"),
                "size": (2, 3), "": {}}  # fmt: skip
    assert load_torch(file(in_zip(tf.dictionary(items)))) == expected
    attributes = tf.dictionary({}) + b"}" + tf.text("_metadata") + tf.EMPTY + b"sb"
    assert load_torch(file(in_zip(attributes))) == {}
    newer = b"\x95" + bytes(8) + b"\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94(h\x00K\x01u"
    assert load_torch(file(in_zip(newer))) == {"collections": 1}


def test_models_read_torch_files(file, tmp_path):
    layer, content = pe.nn.Linear(3, 2), tf.both(WEIGHTS)
    for form in content:
        pe.nn.init.zeros_(layer.weight)
        assert load_model(layer, file(content[form])) == ([], [])
        assert layer.weight.tolist() == WEIGHTS["weight"].tolist()
    items = {key: tf.tensor(tf.storage(str(i), "float32", array.size), array.shape, (3, 1)[-array.ndim :])
             for i, (key, array) in enumerate(WEIGHTS.items())}  # fmt: skip
    wrapped = tf.dictionary({"epoch": tf.number(3), "state_dict": tf.dictionary(items)})
    storages = {str(i): array.tobytes() for i, array in enumerate(WEIGHTS.values())}
    assert sorted(load_state(file(in_zip(wrapped, storages)))) == ["bias", "weight"]
    with pytest.raises(ValueError, match=r"net\.pth: no state_dict"):
        load_state(file(in_zip(tf.dictionary({"epoch": tf.number(3)}))))
    save_file({"a": pe.ones(2)}, tmp_path / "a.safetensors")
    assert load_state(tmp_path / "a.safetensors")["a"].tolist() == [1.0, 1.0]


# ---- files that lie --------------------------------------------------------------


def only_value_errors(path):
    """What the file gives, or the text of its ValueError; anything else is a fault."""
    try:
        return load_torch(path)
    except ValueError as error:
        assert str(error).startswith(f"{path}: not a file of torch.save: ")
        return str(error)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_every_truncation_is_refused(file, form):
    content = tf.both(WEIGHTS)[form]
    for size in range(len(content)):
        assert isinstance(only_value_errors(file(content[:size])), str), size
    assert isinstance(only_value_errors(file(content + b"more")), str)


@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_no_flipped_bit_does_harm(file, form):
    content, rng, refused = tf.both(WEIGHTS)[form], np.random.default_rng(0), 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.integers(8)
        refused += isinstance(only_value_errors(file(damaged)), str)
    assert refused > len(content) // 3


@pytest.mark.parametrize("code", range(256))
def test_every_opcode_is_known_or_refused_by_name(file, code):
    found = only_value_errors(file(in_zip(bytes([code]) + b"\n\n" + bytes(8))))
    known = pickletools.code2op.get(chr(code))
    if code not in OPCODES:
        assert isinstance(found, str) and (known.name if known else f"{code:#04x}") in found
        assert " at byte 4" in found or " at byte " in found
    else:
        assert OPCODES[code] == known.name


HOSTILE = {
    "calls": (tf.name("os", "system") + b"(" + tf.text("true") + b"tR", "'os.system' is no part of a state_dict"),
    "calls by stack": (tf.text("builtins") + tf.text("eval") + b"\x93", "'builtins.eval' is no part"),
    "loads": (tf.name("torch.storage", "_load_from_bytes"), "'torch.storage._load_from_bytes' is no part"),
    "dotted": (tf.text("collections") + tf.text("OrderedDict.fromkeys") + b"\x93", "is no part"),
    "makes": (tf.name("collections", "OrderedDict") + b")\x81", "NEWOBJ"),
    "a name alone": (tf.name("torch", "FloatStorage"), "torch.FloatStorage stands where a value should"),
    "a storage alone": (FOUR, "Storage stands where"),
    "calls a type": (tf.name("torch", "FloatStorage") + b")R", "only names that can be called"),
    "calls a text": (tf.text("x") + b")R", "only names that can be called"),
    "arguments": (tf.name("torch._utils", "_rebuild_tensor_v2") + b")R", "does not take these 0 arguments"),
    "no memo": (b"h\x05", "nothing was remembered as number 5"),
    "a far memo": (b"j\xff\xff\xff\xff", "nothing was remembered as number 4294967295"),
    "nothing to remember": (b"q\x00", "no object is on the stack"),
    "empty stack": (b"\x85", "nothing is on the stack"),
    "below the mark": (b"K\x01(\x85", "nothing is on the stack"),
    "no mark": (b"t", "no mark"),
    "two results": (b"NN", "2 objects"),
    "a mark left": (b"N(", "1 marks"),
    "a long text": (b"X\xff\xff\xff\xff", "4294967295 bytes are announced"),
    "a negative text": (b"T\xff\xff\xff\xff", "4294967295 bytes are announced"),
    "a long number": (b"\x8a\xff" + bytes(255), "a number of 255 bytes"),
    "a long frame": (b"\x95" + b"\xff" * 8 + b"N", "a frame of"),
    "a long name": (b"c" + b"x" * 300 + b"\n\n", "no name of at most"),
    "no UTF-8": (b"U\x01\xff", "no UTF-8"),
    "protocol 0": (b"\x80\x00N", "protocol 0"),
    "odd items": (b"}(K\x01u", "a key without a value"),
    "a list as a key": (b"}]Ns", "a key must be"),
    "a huge key": (b"}" + tf.number(1 << 64) + b"Ns", "a key must be"),
    "attributes of a list": (b"]}b", "no dict is on the stack"),
    "a circle": (b"]q\x00h\x00a", "a value contains itself"),
    "a wide circle": (b"}q\x00K\x01](h\x00es", "a value contains itself"),
    "depth": (b"N" + b"\x85" * 5000, "nested more than 100 deep"),
    "pairs": (tf.name("collections", "OrderedDict") + b"](K\x01K\x02e\x85R", "does not take these 1 arguments"),
    "a long Size": (tf.name("torch", "Size") + b"(" + tf.numbers(range(9)) + b"tR", "9 sizes"),
    "wrong size": (tf.tensor(tf.storage("0", "float32", 5), (5,), (1,)), r"needs 20 bytes, archive/data/0 has 16"),
    "no storage": (tf.tensor(tf.storage("7", "float32", 4), (4,), (1,)), r"archive/data/7 is not there"),
    "outside": (tf.tensor(tf.storage("../version", "uint8", 2), (2,), (1,)), "is not there"),
    "negative storage": (tf.tensor(tf.storage("0", "float32", -4), (4,), (1,)), "number of elements is none"),
    "huge storage": (tf.tensor(tf.storage("0", "float32", 1 << 62), (4,), (1,)), "number of elements is none"),
    "large storage": (tf.tensor(tf.storage("0", "float32", 1 << 58), (4,), (1,)), "has 16"),
    "two types": (tf.tensor(FOUR, (4,), (1,)) + tf.tensor(tf.storage("0", "int32", 4), (4,), (1,)), "named twice"),
    "no tag": (tf.tensor(tf.storage("0", "float32", 4, "module"), (4,), (1,)), "must be a storage"),
    "no type": (tf.tensor(tf.storage("0", "float32", 4, kind=b"N"), (4,), (1,)), "type or key is none"),
    "type": (tf.tensor(tf.storage("0", "x", 4, kind=tf.name("torch", "ComplexFloatStorage")), (4,), (1,)), "Complex"),
    "beyond": (tf.tensor(FOUR, (5,), (1,)), "reach beyond a storage of 4"),
    "offset": (tf.tensor(FOUR, (4,), (1,), 1), "reach beyond"),
    "negative offset": (tf.tensor(FOUR, (1,), (1,), -1), "wrong offset"),
    "empty beyond": (tf.tensor(FOUR, (0,), (1,), 5), "reach beyond"),
    "negative stride": (tf.tensor(FOUR, (4,), (-1,)), "stride is none"),
    "stride 0": (tf.tensor(FOUR, (4, 1 << 50), (1, 0)), "share memory"),
    "overlap": (tf.tensor(FOUR, (2, 2), (1, 1)), "share memory"),
    "huge size": (tf.tensor(FOUR, (1 << 40, 1 << 40), (1 << 40, 1)), "reach beyond"),
    "strides": (tf.tensor(FOUR, (4,), (1, 1)), "1 sizes and 2 strides"),
    "axes": (tf.tensor(FOUR, (1,) * 9, (1,) * 9), "9 sizes"),
    "hooks": (tf.tensor(FOUR, (4,), (1,), hooks=tf.dictionary({"a": b"N"})), "hooks"),
    "true as a size": (tf.name("torch", "Size") + b"\x88\x85\x85R", "Size is none"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_are_refused(file, case):
    value, told = HOSTILE[case]
    path, before = file(in_zip(value)), set(sys.modules)
    tracemalloc.start()
    found = only_value_errors(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, str) and told in found, found
    assert peak < 4_000_000
    assert "torch" not in set(sys.modules) - before


def test_shared_values_do_not_multiply(file):
    pairs = b"](Nq\x00" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
    assert "more than 10,000,000 values" in only_value_errors(file(in_zip(pairs + b"e")))


def test_tensors_have_a_bound(file):
    function, numbers = tf.name("torch._utils", "_rebuild_tensor_v2"), tf.numbers((4,)) + tf.numbers((1,))
    one = function + b"q\x00(" + FOUR + b"K\x00" + numbers + b"\x89" + tf.EMPTY + b"tq\x01R"
    many = b"](" + one + b"h\x00h\x01R" * 100_000 + b"e"
    assert "more than 100,000 tensors" in only_value_errors(file(in_zip(many)))


def test_copies_have_a_bound(file):
    scattered = tf.tensor(tf.storage("0", "float32", 400), (2, 100), (200, 1))
    content = in_zip(b"(" + scattered * 30 + b"t", {"0": bytes(1600)})
    assert "too many tensors that are scattered parts" in only_value_errors(file(content))


def test_lies_of_the_old_format(file):
    pickle, storages, counts = tf.state(WEIGHTS)
    cases = {
        "has 5 elements, its tensors say 6": tf.legacy(pickle, storages, counts | {"0": 5}),
        "elements, its tensors say": tf.legacy(pickle, storages, counts | {"0": -1}),
        "storages are listed": tf.legacy(pickle, storages, counts, ["0"]),
        "3 storages are listed": tf.legacy(pickle, storages, counts, ["0", "1", "1"]),
        "numbers are not torch's": tf.MAGIC + tf.MAGIC + tf.SYSTEM + pickle,
        "not little-endian": tf.MAGIC + tf.PROTOCOL + tf.program(b"}") + pickle,
        "stored elsewhere": tf.MAGIC + tf.program(b"NQ"),
        "neither as a zip archive": pickle,
    }
    for told, content in cases.items():
        assert told in only_value_errors(file(content))
    assert "neither as a zip archive" in only_value_errors(file(b""))
    with pytest.raises(FileNotFoundError):
        load_torch("nowhere.pth")


def test_lies_of_the_archive(file):
    pickle, storages, _ = tf.state(WEIGHTS)
    whole = tf.zipped(pickle, storages)
    directory, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")

    def changed(place, content):
        return whole[:place] + content + whole[place + len(content) :]

    first = whole.index(b"PK\1\2", directory + 1)  # the second entry: give it the first one's bytes
    cases = {
        "compressed": tf.zipped(pickle, storages, method=zipfile.ZIP_DEFLATED),
        "not little-endian": tf.zipped(pickle, storages, byteorder=b"big"),
        "there are 0": tf.zipped(pickle, storages, root="a/b"),
        "directory of": changed(end + 12, b"\xff\xff\xff\x7f"),
        "entries are announced": changed(end + 10, b"\xff\x7f"),
        "beyond the file's end": changed(directory + 42, b"\xff\xff\xff\x7f"),
        "runs into": changed(directory + 20, b"\xff\xff\0\0\xff\xff\0\0"),
        "is damaged": changed(first + 42, bytes(4)),
        "*/data.pkl is needed, there are 0": changed(end + 8, bytes(8)),
    }
    for told, content in cases.items():
        assert told in only_value_errors(file(content)), told


@settings(max_examples=300)
@given(st.one_of(
    st.binary(max_size=200),
    st.lists(st.one_of(st.sampled_from([bytes([code]) for code in OPCODES]), st.binary(max_size=3),
                       st.sampled_from([FOUR, tf.EMPTY, tf.tensor(FOUR, (4,), (1,)), tf.text("a"), b"q\0", b"h\0"])),
             max_size=30).map(b"".join)), st.booleans())  # fmt: skip
def test_garbage(tmp_path_factory, garbage, old):
    path = tmp_path_factory.getbasetemp() / "garbage.pth"
    beginning = tf.MAGIC + tf.PROTOCOL + tf.SYSTEM
    path.write_bytes(beginning + garbage if old else in_zip(garbage))
    only_value_errors(path)
    path.write_bytes(b"PK\3\4" + garbage)
    assert isinstance(only_value_errors(path), str)
