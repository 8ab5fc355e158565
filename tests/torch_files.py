"""Files as torch.save writes them, assembled opcode by opcode: whole ones, and ones that lie."""

import io
import struct
import zipfile

import numpy as np

STORAGES = {
    "float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "bfloat16": "BFloat16Storage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage",
    "uint8": "ByteStorage", "bool": "BoolStorage",
}  # fmt: skip
MAGIC = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
PROTOCOL = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02}X\x0d\0\0\0little_endian\x88s."


def name(module, attribute):
    return f"c{module}\n{attribute}\n".encode()


def text(value):
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value):
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


EMPTY = name("collections", "OrderedDict") + b")R"


def storage(key, dtype, count, tag="storage", kind=None):
    kind = name("torch", STORAGES[dtype]) if kind is None else kind
    return b"(" + text(tag) + kind + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(stored, size, stride, offset=0, hooks=EMPTY):
    parts = stored + number(offset) + numbers(size) + numbers(stride) + b"\x89" + hooks
    return name("torch._utils", "_rebuild_tensor_v2") + b"(" + parts + b"tR"


def dictionary(items):
    return EMPTY + b"(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def program(value):
    return b"\x80\x02" + value + b"."


def zipped(pickle, storages, root="archive", method=zipfile.ZIP_STORED, **more):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(f"{root}/data.pkl", pickle)
        archive.writestr(f"{root}/byteorder", more.pop("byteorder", b"little"))
        for key, content in storages.items():
            archive.writestr(f"{root}/data/{key}", content)
        archive.writestr(f"{root}/version", b"3\n")
    return out.getvalue()


def legacy(pickle, storages, counts, keys=None):
    listed = program(b"](" + b"".join(map(text, storages if keys is None else keys)) + b"e")
    rows = b"".join(struct.pack("<q", counts[key]) + content for key, content in storages.items())
    return MAGIC + PROTOCOL + SYSTEM + pickle + listed + rows


def state(arrays):
    """(pickle, storages, counts) of a state_dict of NumPy arrays."""
    items, storages, counts = {}, {}, {}
    for key, (label, array) in enumerate(arrays.items()):
        strides = [step // array.itemsize for step in np.empty(array.shape or (1,), array.dtype).strides]
        items[label] = tensor(storage(str(key), array.dtype.name, array.size), array.shape, strides[: array.ndim])
        storages[str(key)], counts[str(key)] = array.tobytes(), array.size
    return program(dictionary(items)), storages, counts


def both(arrays):
    """The zip and the legacy file of a state_dict."""
    pickle, storages, counts = state(arrays)
    return {"zip": zipped(pickle, storages), "legacy": legacy(pickle, storages, counts)}
