"""Sequences of different lengths in one tensor: padded, or packed step by step."""

from typing import NamedTuple

import pyengine as pe
from pyengine import Tensor


class _Packed(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Packed):
    """Sequences by steps: `data` holds step 0 of all, then step 1 of those that have one, ...; batch_sizes says
    how many those are. The longest comes first; sorted_indices is the order in which the sequences were taken,
    unsorted_indices the way back."""

    def __new__(cls, data, batch_sizes, sorted_indices=None, unsorted_indices=None):
        if sorted_indices is not None and unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)


def invert_permutation(permutation):
    """The permutation that undoes this one; None for None."""
    if permutation is None:
        return None
    inverse = [0] * permutation.numel()
    for place, index in enumerate(permutation.tolist()):
        inverse[index] = place
    return _indices(inverse)


def _indices(values):
    return pe.tensor(values, dtype="int64") if values else pe.zeros(0, dtype="int64")


def pack_padded_sequence(input, lengths, batch_first=False, enforce_sorted=True):
    """Packs input (T, N, ...), or (N, T, ...) with batch_first, the first lengths[n] steps of sequence n.

    RuntimeError where a length is not positive or longer than T, or where lengths are not in descending order and
    enforce_sorted is true.

    >>> import pyengine as pe
    >>> packed = pack_padded_sequence(pe.tensor([[1.0, 2.0], [3.0, 0.0]]).unsqueeze(2), [2, 1])
    >>> packed.data.flatten().tolist(), packed.batch_sizes.tolist()
    ([1.0, 2.0, 3.0], [2, 1])
    """
    lengths = [int(n) for n in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]
    if input.ndim < 2:
        raise RuntimeError(f"pack_padded_sequence: input needs 2 axes or more, got shape {input.shape}")
    x = input.transpose(0, 1) if batch_first else input
    order = None
    if not enforce_sorted:
        order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
        lengths = [lengths[n] for n in order]
    if len(lengths) != x.shape[1] or not lengths:
        raise RuntimeError(f"pack_padded_sequence: {len(lengths)} lengths for input of shape {input.shape}")
    if lengths[-1] < 1 or lengths[0] > x.shape[0] or lengths != sorted(lengths, reverse=True):
        raise RuntimeError(
            f"pack_padded_sequence: lengths {lengths} must be positive, at most {x.shape[0]}, and in "
            "descending order (or enforce_sorted=False)"
        )
    sizes = [sum(length > t for length in lengths) for t in range(lengths[0])]
    batch = list(range(len(lengths))) if order is None else order
    steps = _indices([t for t, size in enumerate(sizes) for _ in range(size)])
    places = _indices([n for size in sizes for n in batch[:size]])
    return PackedSequence(x[steps, places], _indices(sizes), None if order is None else _indices(order))


def pad_packed_sequence(sequence, batch_first=False, padding_value=0.0, total_length=None):
    """The padded tensor (T, N, ...) of a PackedSequence, and the lengths (int64), in the order they were packed from.

    total_length makes T larger than the longest; ValueError where it is smaller.
    """
    data, batch_sizes, _, back = sequence
    sizes = batch_sizes.tolist()
    steps = len(sizes) if total_length is None else total_length
    if steps < len(sizes):
        raise ValueError(f"pad_packed_sequence: total_length {total_length} is below the longest of {len(sizes)}")
    lengths = [sum(size > n for size in sizes) for n in range(sizes[0])]
    batch = list(range(sizes[0])) if back is None else back.tolist()
    starts = [sum(sizes[:t]) for t in range(len(sizes))]
    blank = data.shape[0]  # one row of padding behind the data: all padding is read from it
    rows = [starts[t] + n if t < lengths[n] else blank for t in range(steps) for n in batch]
    padding = pe.full((1, *data.shape[1:]), padding_value, data.dtype)
    out = pe.cat([data, padding])[_indices(rows)].reshape(steps, sizes[0], *data.shape[1:])
    return (out.transpose(0, 1) if batch_first else out), _indices([lengths[n] for n in batch])


def pad_sequence(sequences, batch_first=False, padding_value=0.0, padding_side="right"):
    """Sequences (L_n, ...) as one tensor (max L, N, ...), or (N, max L, ...) with batch_first.

    >>> import pyengine as pe
    >>> pad_sequence([pe.ones(2), pe.ones(1)], batch_first=True).tolist()
    [[1.0, 1.0], [1.0, 0.0]]
    """
    sequences = list(sequences)
    if padding_side not in ("left", "right"):
        raise RuntimeError(f"pad_sequence: padding_side must be 'left' or 'right', got {padding_side!r}")
    if not sequences:
        raise RuntimeError("pad_sequence: at least one sequence is needed")
    if any(s.ndim == 0 or s.shape[1:] != sequences[0].shape[1:] for s in sequences):
        raise RuntimeError(f"pad_sequence: shapes {[s.shape for s in sequences]} differ beside the first axis")
    longest = max(s.shape[0] for s in sequences)
    padded = []
    for s in sequences:
        blank = pe.full((longest - s.shape[0], *s.shape[1:]), padding_value, s.dtype)
        padded.append(pe.cat([s, blank] if padding_side == "right" else [blank, s]))
    return pe.stack(padded, 0 if batch_first else 1)


def unpad_sequence(padded_sequences, lengths, batch_first=False):
    """The list of sequences that pad_sequence made one tensor of."""
    x = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [x[n, :length] for n, length in enumerate(lengths.tolist() if isinstance(lengths, Tensor) else lengths)]


def pack_sequence(sequences, enforce_sorted=True):
    """Packs sequences (L_n, ...), the longest first where enforce_sorted is true."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The list of sequences that pack_sequence packed."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
