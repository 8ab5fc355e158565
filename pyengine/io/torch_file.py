"""Files that torch.save wrote, read without torch and without running anything that stands in them."""

import os

from .pickle_machine import Bytes, Machine, Refused
from .torch_tensors import NAMES, Storages, resolve
from .zip_stored import entries

__all__ = ["load_torch"]

# the three numbers that open a file of torch before 1.6
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MAGIC_BYTES = _MAGIC.to_bytes(10, "little")


def load_torch(filename):
    """What torch.save wrote: tensors, numbers, texts, lists, tuples and dicts of them, mostly a state_dict.

    Both formats are read: zip archives, and the pickles of torch before 1.6. A pickle is a program; here it is
    carried out by a machine that knows only the opcodes and the names of a state_dict, and calls nothing else.
    Tensors that share memory in the file share it here. Whether a tensor asks for gradients is not kept.
    Errors: FileNotFoundError; ValueError that names the file, what is wrong with it or not read, and where.

    >>> import tempfile, os
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.pth")
    ...     with open(path, "wb") as file:
    ...         _ = file.write(b"cos\\nsystem\\n(S'true'\\ntR.")
    ...     load_torch(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: .../net.pth: not a file of torch.save: it begins neither as a zip archive nor with torch's number
    """
    with open(filename, "rb") as file:
        content = file.read()
    try:
        return _zip(content) if content[:4] == b"PK\3\4" else _legacy(content)
    except Refused as error:
        raise ValueError(f"{os.fspath(filename)}: not a file of torch.save: {error}") from None


def is_torch(head):
    """True where a file that begins with these (at least 32) bytes is one of torch.save."""
    return head[:4] == b"PK\3\4" or _MAGIC_BYTES in head[:32]


def _zip(content):
    places = entries(content)
    pickles = [name for name in places if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise Refused(f"zip: one */data.pkl is needed, there are {len(pickles)}")
    root = pickles[0].removesuffix("data.pkl")
    whole = memoryview(content)
    order = places.get(root + "byteorder")
    if order and bytes(whole[slice(*order)]) != b"little":
        raise Refused("its numbers are not little-endian")

    def find(key, size):
        first, end = places.get(f"{root}data/{key}", (0, -1))
        if end - first != size:
            there = f"has {end - first}" if end >= 0 else "is not there"
            raise Refused(f"a storage needs {size} bytes, {root}data/{key[:80]} {there}")
        return whole[first:end]

    storages = Storages(find)
    first, end = places[pickles[0]]
    value = Machine(Bytes(whole[first:end], first), NAMES, storages.storage).run()
    return resolve(value)


def _legacy(content):
    if not is_torch(content[:32]):
        raise Refused("it begins neither as a zip archive nor with torch's number")
    source, storages = Bytes(content), Storages()
    if Machine(source, {}, _nothing).run() != _MAGIC or Machine(source, {}, _nothing).run() != _PROTOCOL:
        raise Refused(f"its numbers are not torch's {_MAGIC:#x} and {_PROTOCOL}")
    system = Machine(source, {}, _nothing).run()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("its numbers are not little-endian")
    value = Machine(source, NAMES, storages.storage).run()
    keys = Machine(source, {}, _nothing).run()
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise Refused("the list of its storages is none of texts")
    if sorted(keys) != sorted(storages.known):
        raise Refused(f"{len(keys)} storages are listed, the tensors need {len(storages.known)} others")
    for key in keys:
        storage, place = storages.known[key], source.position
        count = int.from_bytes(source.take(8), "little")
        if count != storage.count:
            raise Refused(f"storage {key[:80]} at byte {place} has {count} elements, its tensors say {storage.count}")
        storage.content = source.view(storage.size)
    if source.at != len(content):
        raise Refused(f"it ends at byte {source.at}, the file has {len(content)}")
    return resolve(value)


def _nothing(identity):
    raise Refused("what is stored elsewhere has no place here")
