"""Connectionist temporal classification: the loss of a sequence whose alignment is not known."""

from pyengine import _core, ops
from pyengine._core import Tensor
from pyengine.ops._method import tensor_only

from ._reduce import asked

__all__ = ["ctc_loss"]

_NEVER = -1e30  # the logarithm of 0 that stays finite: its gradient is 0, not NaN


def _lengths(name: str, value, n: int) -> list[int]:
    lengths = [int(v) for v in (value.reshape(-1).tolist() if isinstance(value, Tensor) else value)]
    if len(lengths) != n:
        raise RuntimeError(f"ctc_loss: {name} must hold {n} numbers, one a sequence, got {len(lengths)}")
    return lengths


def _targets(targets: Tensor, lengths: list[int], blank: int, classes: int) -> list[list[int]]:
    """Each sequence's labels."""
    if tensor_only(targets, "ctc_loss", "targets").ndim == 1:
        flat, rows, start = targets.tolist(), [], 0
        if sum(lengths) > len(flat):
            raise RuntimeError(f"ctc_loss: target_lengths sum to {sum(lengths)}, targets hold {len(flat)}")
        for length in lengths:
            rows.append(flat[start : start + length])
            start += length
    elif targets.ndim == 2 and targets.shape[0] == len(lengths) and max(lengths, default=0) <= targets.shape[1]:
        rows = [row[:length] for row, length in zip(targets.tolist(), lengths, strict=True)]
    else:
        raise RuntimeError(f"ctc_loss: targets of shape {targets.shape} do not hold {lengths} labels")
    for row in rows:
        if any(not 0 <= label < classes or label == blank for label in row):
            raise RuntimeError(f"ctc_loss: labels must be 0 to {classes - 1} and not blank ({blank}), got {row}")
    return rows


def _log_add(*terms: Tensor) -> Tensor:
    """log sum e^x, for finite x."""
    top = terms[0].detach()
    for x in terms[1:]:
        top = ops.maximum(top, x.detach())
    total = ops.exp(terms[0] - top)
    for x in terms[1:]:
        total = total + ops.exp(x - top)
    return ops.log(total) + top


def _states(rows: list[list[int]], blank: int) -> tuple[list[list[int]], list[list[float]]]:
    """The labels with blanks around each, padded with blanks; and 0 where a state may be entered past the blank
    before it (between different labels), else _NEVER."""
    width = 2 * max(map(len, rows)) + 1
    states, skips = [], []
    for row in rows:
        line = [blank] * width
        line[1 : 2 * len(row) : 2] = row
        states.append(line)
        skips.append([0.0 if s > 1 and s % 2 and line[s] != line[s - 2] else _NEVER for s in range(width)])
    return states, skips


def _shifted(alpha: Tensor, by: int) -> Tensor:
    n, width = alpha.shape
    never = _core.full((n, min(by, width)), _NEVER, "float32")
    return ops.cat([never, alpha[:, : width - by]], 1) if width > by else never


def _paths(emitted: Tensor, rows: list[list[int]], skips: list[list[float]], steps: list[int]) -> Tensor:
    """The logarithm of all alignments' probability (Graves et al., 2006, equations 6 to 8). emitted (T, N, states)."""
    _, n, width = emitted.shape
    skip = _core.tensor(skips)
    start = _core.tensor([[0.0 if s == 0 or (s == 1 and row) else _NEVER for s in range(width)] for row in rows])
    ends = _core.tensor([[0.0 if 2 * len(r) - 1 <= s <= 2 * len(r) else _NEVER for s in range(width)] for r in rows])
    alpha, scale = start, _core.full((n, 1), 0.0, "float32")
    for t in range(max(steps, default=0)):
        after = alpha
        if t:
            after = _log_add(alpha, _shifted(alpha, 1), ops.maximum(_shifted(alpha, 2) + skip, _NEVER))
        after = ops.maximum(after + emitted[t], _NEVER)
        top = after.detach().amax(1, keepdim=True)  # kept apart: near 0 sums are exact to more digits
        after, total = after - top, scale + top
        if t >= min(steps):
            live = _core.tensor([[t < step] for step in steps])
            after, total = ops.where(ops.expand(live, n, width), after, alpha), ops.where(live, total, scale)
        alpha, scale = after, total
    final = ops.maximum(alpha + ends, _NEVER)
    top = final.detach().amax(1, keepdim=True)
    return (ops.log(ops.exp(final - top).sum(1, keepdim=True)) + top + scale).reshape(n)


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths, target_lengths, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """-log of the probability that log_probs (the logarithms of each step's probabilities) spell targets, over all
    alignments; the mean is that of each loss divided by its number of labels. As in torch the gradient is the one
    that log_softmax, which must come before, passes on unchanged. (Graves et al., 2006)

    Shape: log_probs (T, N, C) or (T, C), targets (N, S) or all labels one after the other; lengths (N) -> () or (N).
    """
    reduction = asked("ctc_loss", reduction)
    if tensor_only(log_probs, "ctc_loss", "log_probs").ndim not in (2, 3):
        raise RuntimeError(f"ctc_loss: log_probs must be (T, N, C) or (T, C), got shape {log_probs.shape}")
    batched = log_probs.ndim == 3
    lp = log_probs if batched else log_probs.unsqueeze(1)
    total, n, classes = lp.shape
    if not 0 <= blank < classes:
        raise RuntimeError(f"ctc_loss: blank must be 0 to {classes - 1}, got {blank}")
    steps = _lengths("input_lengths", input_lengths, n)
    labels = _lengths("target_lengths", target_lengths, n)
    if n == 0 or min(labels) < 0 or min(steps) < 0 or max(steps) > total:
        raise RuntimeError(f"ctc_loss: input_lengths {steps} and target_lengths {labels} do not fit {log_probs.shape}")
    rows = _targets(targets, labels, blank, classes)
    states, skips = _states(rows, blank)
    width = len(states[0])
    index = _core.tensor([[i * classes + c for i, line in enumerate(states) for c in line]], "int64")
    flat = lp.reshape(total, n * classes).t()
    emitted = _core.take_rows(flat, index.reshape(-1)).t().reshape(total, n, width)
    loss = -_paths(ops.maximum(emitted, _NEVER), rows, skips, steps)
    # e^log_probs in the gradient, 0 in the value
    lse = ops.log(ops.exp(lp).sum(2))
    live = _core.tensor([[float(t < step) for step in steps] for t in range(total)])
    loss = loss + ((lse - lse.detach()) * live).sum(0)
    loss = ops.where(loss.detach() > -0.5 * _NEVER, 0.0 if zero_infinity else float("inf"), loss)
    if reduction == "mean":
        return (loss / _core.tensor([float(max(count, 1)) for count in labels])).mean()
    return loss.sum() if reduction == "sum" else loss if batched else loss.reshape(())
