"""The table of agreement with torch's own samples.

    python tests/versus_torch/agreement.py [operations|modules] [PATTERN]

runs every sample of torch.testing._internal's op_db or module_db that applies (left_out.py says what does not), forward
and backward in float32, and prints how many agree. An operation that the engine has not fails with all its samples.
"""

import re
import sys
import warnings
from collections import Counter

from crossing import Crossing, compared
from left_out import OUTSIDE, RANDOM

import pyengine as pe


class Table:
    """Counts of samples, and the first reason of each name's failures."""

    def __init__(self):
        self.counts = Counter()
        self.names = {}

    def add(self, name, verdict):
        passed, total, reason = self.names.get(name, (0, 0, None))
        self.names[name] = passed + (verdict is None), total + 1, reason or verdict
        self.counts["passed" if verdict is None else "not offered" if verdict == "not offered" else "failed"] += 1

    @property
    def share(self):
        return self.counts["passed"] / max(sum(self.counts.values()), 1)

    def lines(self):
        for name, (passed, total, reason) in sorted(self.names.items()):
            if passed < total:
                yield f"{name}: {passed} of {total}: {reason}"
        yield f"{self.share:.1%} of {sum(self.counts.values())} samples agree: {dict(self.counts)}"


def outside(name):
    return any(re.fullmatch(pattern, name) for pattern in OUTSIDE)


def offered(name):
    """Our function of torch's name."""
    special = {
        "__getitem__": lambda x, index: x[index],
        "T": lambda x: x.T,
        "mT": lambda x: x.mT,
        "zero_": lambda x: x.clone().zero_(),
        "slice": lambda x, dim=0, start=None, end=None, step=1: x[(slice(None),) * dim + (slice(start, end, step),)],
        "where": lambda x, condition, other: pe.where(condition, x, other),  # the order of torch's samples
        "einsum": lambda operands, equation: pe.einsum(equation, *operands),
    }
    if name == "nn.functional.embedding":  # torch's samples give the table first
        return lambda weight, index, **options: pe.nn.functional.embedding(index, weight, **options)
    if name == "nn.functional.embedding_bag":
        return lambda weight, index, *offsets, **options: pe.nn.functional.embedding_bag(
            index, weight, *offsets, **options
        )
    if name in special:
        return special[name]
    if name.startswith("__"):
        return getattr(pe.Tensor, name, None)
    where = pe
    for part in name.split("."):
        where = getattr(where, part, None)
        if where is None:
            break
    short = name.rpartition(".")[2]
    return where or getattr(pe.Tensor, short, None) or getattr(pe.nn.functional, short, None)


def told(error):
    return f"{type(error).__name__}: {' '.join(str(error).split())[:110]}"


def one_sample(torch, function, op, sample, random):
    """None, or what differs."""
    theirs = op(sample.input, *sample.args, **sample.kwargs)
    crossing = Crossing(torch)
    random = random or sample.kwargs.get("dropout_p", 0) > 0
    try:
        ours = function(*crossing.over([sample.input, *sample.args]), **crossing.over(dict(sample.kwargs)))
        verdict = compared(torch, ours, theirs, crossing.leaves, random, op.supports_autograd)
    except Exception as error:
        return told(error)
    return verdict and in_double(torch, function, op, sample, verdict)


def in_double(torch, function, op, sample, verdict):
    """Once more beside torch's float64, where its float32 may be the one that is off."""
    wide = Crossing(torch, torch.float64)
    try:
        arguments, named = wide.widened([sample.input, *sample.args]), wide.widened(dict(sample.kwargs))
        theirs = op(arguments[0], *arguments[1:], **named)
        ours = function(*wide.over(arguments), **wide.over(named))
        return compared(torch, ours, theirs, wide.leaves, False, op.supports_autograd) and verdict
    except Exception:
        return verdict


def operations(torch, pattern=None):
    from torch.testing._internal.common_methods_invocations import op_db

    table = Table()
    for op in op_db:
        if torch.float32 not in op.dtypes or outside(op.name) or (pattern and not re.search(pattern, op.name)):
            continue
        function, random = offered(op.name), re.fullmatch(RANDOM, op.name) is not None
        for sample in op.sample_inputs("cpu", torch.float32, requires_grad=op.supports_autograd):
            if crosses(torch, sample):
                table.add(op.name, one_sample(torch, function, op, sample, random) if function else "not offered")
    return table


def crosses(torch, sample):
    """No complex numbers among the arguments."""
    text = [sample.input, *sample.args, *sample.kwargs.values()]
    return not any(
        isinstance(x, complex)
        or (isinstance(x, torch.Tensor) and x.is_complex())
        or (isinstance(x, torch.dtype) and x.is_complex)
        for x in text
    )


def one_module(torch, info, sample, training):
    """None, or what differs."""
    build, call = sample.constructor_input, sample.forward_input
    theirs = info.module_cls(*build.args, **build.kwargs).train(training)
    try:
        expected = theirs(*call.args, **call.kwargs)
    except RuntimeError:
        return "outside"  # torch itself refuses the sample
    ours_class = getattr(pe.nn, info.name.rpartition(".")[2], None)
    if ours_class is None:
        return "not offered"
    crossing = Crossing(torch)
    try:
        ours = ours_class(*crossing.over(list(build.args)), **crossing.over(dict(build.kwargs))).train(training)
        ours.load_state_dict({name: crossing.over(t.detach()) for name, t in theirs.state_dict().items()})
        named = dict(ours.named_parameters())
        crossing.leaves = [(t, named[name]) for name, t in theirs.named_parameters() if t.requires_grad]
        random = training and ("Dropout" in info.name or getattr(theirs, "dropout", 0))
        result = ours(*crossing.over(list(call.args)), **crossing.over(dict(call.kwargs)))
        return compared(torch, result, expected, crossing.leaves, bool(random))
    except Exception as error:
        return told(error)


def modules(torch, pattern=None):
    from torch.testing._internal.common_modules import module_db

    table = Table()
    for info in module_db:
        if outside(info.name) or (pattern and not re.search(pattern, info.name)):
            continue
        for training in (False, True) if info.train_and_eval_differ else (True,):
            for sample in info.module_inputs_func(info, "cpu", torch.float32, True, training):
                if (verdict := one_module(torch, info, sample, training)) != "outside":
                    table.add(info.name, verdict)
    return table


def main(kind="operations", pattern=None):
    import torch

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    table = {"operations": operations, "modules": modules}[kind](torch, pattern)
    print("\n".join(table.lines()))


if __name__ == "__main__":
    main(*sys.argv[1:])
