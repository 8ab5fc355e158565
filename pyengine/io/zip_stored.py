"""Zip archives whose entries lie in the file as they are: what torch.save writes. Nothing is decompressed.

Every place and size is checked against the file, and no two entries may share bytes.
"""

import struct

from .pickle_machine import Refused, text

_END = struct.Struct("<4s4H2IH")
_END64_PLACE = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENTRY = struct.Struct("<4s6H3I5H2I")
_LOCAL = struct.Struct("<4s5H3I2H")
_LONGEST_COMMENT = 65535
_IN_EXTRA, _COUNT_IN_EXTRA, _EXTRA64 = 0xFFFFFFFF, 0xFFFF, 1
_ENCRYPTED = 1


def entries(content):
    """name -> (first byte, end) of each entry's bytes in content. Errors: Refused."""
    start, count, end = _directory(content)
    first_entry = start
    if count > (end - start) // _ENTRY.size:
        raise Refused(f"zip: {count} entries are announced, the directory has {end - start} bytes")
    found, spans = {}, []
    for _ in range(count):
        name, place, size, start = _entry(content, start, end)
        if name in found:
            raise Refused(f"zip: two entries are called {name[:80]!r}")
        first = _first_byte(content, place, name)
        found[name] = first, first + size
        spans.append((place, first + size, name))
    spans.sort()
    after = [*spans[1:], (first_entry, 0, "the directory")]
    for (_, stop, name), (place, _, other) in zip(spans, after, strict=False):
        if stop > place:
            raise Refused(f"zip: {name[:80]!r} runs into {other[:80]!r} at byte {place}")
    return found


def _unpack(form, content, place, what):
    if not 0 <= place <= len(content) - form.size:
        raise Refused(f"zip: {what} at byte {place} is beyond the file's end (truncated?)")
    return form.unpack_from(content, place)


def _directory(content):
    """(first byte, number of entries, end) of the central directory."""
    place = bytes(content[max(0, len(content) - _LONGEST_COMMENT - _END.size) :]).rfind(b"PK\5\6")
    place += max(0, len(content) - _LONGEST_COMMENT - _END.size)
    if place < 0 or content[place : place + 4] != b"PK\5\6":
        raise Refused("zip: its end is not there (truncated?)")
    _, disk, _, _, count, size, start, comment = _unpack(_END, content, place, "its end")
    if place + _END.size + comment != len(content) or disk not in (0, 0xFFFF):
        raise Refused("zip: its end is damaged")
    limit = place
    if count == _COUNT_IN_EXTRA or _IN_EXTRA in (size, start):
        sign, _, limit, _ = _unpack(_END64_PLACE, content, place - _END64_PLACE.size, "its 64-bit end's place")
        sign64, *_, count, size, start = _unpack(_END64, content, limit, "its 64-bit end")
        if sign != b"PK\6\7" or sign64 != b"PK\6\6":
            raise Refused("zip: its 64-bit end is damaged")
    if start + size > limit:
        raise Refused(f"zip: a directory of {size} bytes at byte {start} is beyond byte {limit}")
    return start, count, start + size


def _entry(content, at, limit):
    """(name, place of the local header, size, place of the next entry) of the directory's entry at `at`."""
    fields = _unpack(_ENTRY, content, at, "an entry")
    sign, flags, method = fields[0], fields[3], fields[4]
    packed, size, name_size, extra_size, comment_size = fields[8:13]
    place = fields[16]
    after = at + _ENTRY.size + name_size
    name = text(bytes(content[at + _ENTRY.size : after]))
    if sign != b"PK\1\2" or after + extra_size + comment_size > limit:
        raise Refused(f"zip: the directory is damaged at byte {at}")
    wide = _wide(bytes(content[after : after + extra_size]))
    size, packed, place = (next(wide, value) if value == _IN_EXTRA else value for value in (size, packed, place))
    if method or packed != size or flags & _ENCRYPTED:
        raise Refused(f"zip: {name[:80]!r} is compressed or encrypted; torch.save stores its entries as they are, and "
                      "TorchScript's programs are not read")  # fmt: skip
    return name, place, size, after + extra_size + comment_size


def _wide(extra):
    """The 64-bit numbers of an entry's extra field."""
    while len(extra) >= 4:
        kind, size = struct.unpack_from("<2H", extra)
        if kind == _EXTRA64:
            yield from struct.unpack_from(f"<{min(size, len(extra) - 4) // 8}Q", extra, 4)
        extra = extra[4 + size :]


def _first_byte(content, place, name):
    """Where the bytes of the entry begin whose local header is at place."""
    sign, *_, name_size, extra_size = _unpack(_LOCAL, content, place, f"the header of {name[:80]!r}")
    after = place + _LOCAL.size
    if sign != b"PK\3\4" or bytes(content[after : after + name_size]) != name.encode():
        raise Refused(f"zip: the header of {name[:80]!r} at byte {place} is damaged")
    return after + name_size + extra_size
