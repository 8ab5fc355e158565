"""The blocks of GGUF's formats as float32. A block is a few scales in float16 and the bits of 32 or 256 numbers."""

from typing import NamedTuple


class Format(NamedTuple):
    """values numbers take nbytes bytes."""

    name: str
    values: int
    nbytes: int


FORMATS = {
    0: Format("F32", 1, 4), 1: Format("F16", 1, 2), 30: Format("BF16", 1, 2), 2: Format("Q4_0", 32, 18),
    3: Format("Q4_1", 32, 20), 6: Format("Q5_0", 32, 22), 7: Format("Q5_1", 32, 24), 8: Format("Q8_0", 32, 34),
    12: Format("Q4_K", 256, 144), 13: Format("Q5_K", 256, 176), 14: Format("Q6_K", 256, 210),
}  # fmt: skip


def decode(kind, content):
    """The numbers of whole blocks of a format: a flat float32 array."""
    import numpy

    if kind.name == "F32":
        return numpy.frombuffer(content, "<f4")
    if kind.name == "F16":
        return numpy.frombuffer(content, "<f2").astype("f4")
    if kind.name == "BF16":
        return (numpy.frombuffer(content, "<u2").astype("u4") << 16).view("f4")
    blocks = numpy.frombuffer(content, "u1").reshape(-1, kind.nbytes)
    return _DECODERS[kind.name](numpy, blocks).reshape(-1)


def _half(blocks, at):
    """The float16 at this byte of each block, as a column of float32."""
    return blocks[:, at : at + 2].copy().view("<f2").astype("f4")


def _nibbles(numpy, packed):
    """(n, bytes) -> (n, 2 bytes) numbers of 4 bits: the low halves of all bytes, then the high ones."""
    return numpy.concatenate([packed & 15, packed >> 4], 1)


def _fifth(numpy, blocks, at):
    """The 32 fifth bits of each block, in their place."""
    return numpy.unpackbits(blocks[:, at : at + 4], axis=1, bitorder="little") << 4


def _q4_0(numpy, blocks):
    return (_nibbles(numpy, blocks[:, 2:]).astype("f4") - 8.0) * _half(blocks, 0)


def _q4_1(numpy, blocks):
    return _nibbles(numpy, blocks[:, 4:]) * _half(blocks, 0) + _half(blocks, 2)


def _q5_0(numpy, blocks):
    bits = _nibbles(numpy, blocks[:, 6:]) | _fifth(numpy, blocks, 2)
    return (bits.astype("f4") - 16.0) * _half(blocks, 0)


def _q5_1(numpy, blocks):
    return (_nibbles(numpy, blocks[:, 8:]) | _fifth(numpy, blocks, 4)) * _half(blocks, 0) + _half(blocks, 2)


def _q8_0(numpy, blocks):
    return blocks[:, 2:].view("i1") * _half(blocks, 0)


def _scales(numpy, blocks):
    """The eight scales and eight minima of 6 bits in bytes 4 .. 15, times the block's own: (n, 8, 1) each."""
    first, second, third = (blocks[:, at : at + 4] for at in (4, 8, 12))
    scale = numpy.concatenate([first & 63, third & 15 | first >> 6 << 4], 1)
    least = numpy.concatenate([second & 63, third >> 4 | second >> 6 << 4], 1)
    return (scale * _half(blocks, 0))[:, :, None], (least * _half(blocks, 2))[:, :, None]


def _eights(numpy, packed):
    """128 bytes as 8 groups of 32 numbers: each 32 bytes give their low halves, then their high ones."""
    four = packed.reshape(-1, 4, 1, 32)
    return numpy.concatenate([four & 15, four >> 4], 2).reshape(-1, 8, 32)


def _q4_k(numpy, blocks):
    scale, least = _scales(numpy, blocks)
    return _eights(numpy, blocks[:, 16:]) * scale - least


def _q5_k(numpy, blocks):
    scale, least = _scales(numpy, blocks)
    fifth = blocks[:, 16:48].reshape(-1, 1, 32) >> numpy.arange(8, dtype="u1").reshape(1, 8, 1) & 1
    return (_eights(numpy, blocks[:, 48:]) | fifth << 4) * scale - least


def _q6_k(numpy, blocks):
    low = blocks[:, :128].reshape(-1, 2, 1, 64)
    low = numpy.concatenate([low & 15, low >> 4], 2).reshape(-1, 2, 4, 32)
    high = blocks[:, 128:192].reshape(-1, 2, 1, 32) >> numpy.array([0, 2, 4, 6], "u1").reshape(1, 1, 4, 1) & 3
    bits = (low | high << 4).astype("i1") - 32
    scale = blocks[:, 192:208].view("i1") * _half(blocks, 208)
    return bits.reshape(-1, 16, 16) * scale[:, :, None]


_DECODERS = {"Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q8_0": _q8_0, "Q4_K": _q4_k, "Q5_K": _q5_k,
             "Q6_K": _q6_k}  # fmt: skip
