"""What records of GradientFlow say: what is wrong, at which layer first, and what to try."""

import math
import statistics
from typing import NamedTuple

_SMALLER, _LARGER = 1e-4, 1e3  # than at the first layer on the signal's way: then it vanishes or explodes
_DEAD = 0.5  # share of a layer's units
_HASTY, _IDLE, _REWRITTEN = 0.1, 1e-6, 1.0  # update / weight; 1e-3 is healthy (Karpathy, CS231n, "Neural Networks 3")

_ADVICE = {
    "not finite": "Lower the learning rate or warm it up, clip the gradients' norm (GradientClipping(1.0)), and look "
    "for log, sqrt and divisions near 0 in the loss and for NaN in the inputs; train.callbacks.NaNGuard goes back to "
    "good weights by itself.",
    "dead units": "Lower the learning rate, start with kaiming_normal_ weights and biases at 0, put a normalization "
    "in front of the activation, or take LeakyReLU, GELU or SiLU, whose slope is nowhere 0 for good.",
    "exploding outputs": "Scale the initialization to the activation (kaiming_normal_ for ReLU, xavier_normal_ for "
    "tanh, or init.lsuv_), normalize between the layers (LayerNorm, BatchNorm), and normalize the inputs.",
    "exploding gradients": "Clip the gradients' norm (GradientClipping(1.0)), scale the initialization down "
    "(kaiming_normal_, orthogonal_), normalize between the layers, and lower the learning rate.",
    "vanishing outputs": "Scale the initialization up (kaiming_normal_ for ReLU, xavier_normal_ for tanh, or "
    "init.lsuv_) or normalize between the layers (LayerNorm, BatchNorm).",
    "vanishing gradients": "Take ReLU, GELU or SiLU in place of sigmoid and tanh, start with kaiming_normal_ or "
    "orthogonal_ weights, normalize between the layers (LayerNorm, BatchNorm), or add residual connections.",
    "no gradient": "Let forward use the layer, look for detach(), no_grad() and .item() on the way to the loss, or "
    "freeze it with requires_grad_(False).",
    "large updates": "Lower the learning rate (by 10, then by 3), warm it up, or clip the gradients' norm; a layer "
    "that starts at 0 needs a rate of its own.",
    "small updates": "Raise the learning rate, or give this layer a parameter group with a higher one; where gradients "
    "vanish, see to that first.",
}
_FOLLOWS = {  # a kind -> what it follows from
    "vanishing gradients": {"wholly dead"},
    "vanishing outputs": {"wholly dead"},
    "small updates": {"vanishing gradients", "wholly dead"},
}


class Finding(NamedTuple):
    """One thing that is wrong: what it is called, the first layer where it is, the step in which it was seen, what was
    measured, what to try, in sentences, and of which class the layer is."""

    kind: str
    layer: str
    step: int
    measured: str
    advice: str
    module: str

    @property
    def title(self):
        """What and where, in a line."""
        return f"{self.kind[0].upper()}{self.kind[1:]}, first at {self.layer} ({self.module}), step {self.step}"

    def __str__(self):
        return f"{self.title}: {self.measured}\n  {self.advice}"


class FlowReport(list):
    """Findings, which print as paragraphs."""

    def __str__(self):
        return "\n".join(map(str, self)) or "nothing found: signals and gradients reach every layer"


def findings(records):
    """The Findings of a list of FlowRecords, the most urgent first.

    What is judged by its size is the median over the second half of the records before the first NaN: the first steps
    of a good run may be wild. What follows from something else that is found is left out."""
    if not records:
        return []
    spoiled, finite = _not_finite(records)
    recent = finite[len(finite) // 2 :]
    layers, step = list(records[-1].layers), recent[-1].step
    outputs, signals, ratios = (_medians(recent, layers, field) for field in ("output", "signal", "ratio"))
    dead = _dead(recent[-1])
    found = [
        spoiled,
        dead,
        *_off_course(outputs[:-1], "outputs", "the first layer", step),
        *_off_course(signals[::-1], "gradients", "the last layer, where they start", step),
        _without_gradient(records),
        _too_large(ratios, finite),
        _too_small(finite),
    ]
    causes = {each[0] for each in found if each}
    if dead and dead[-1] == 1:
        causes.add("wholly dead")
    urgent = [each for each in found if each and not causes & _FOLLOWS.get(each[0], set())]
    kinds = {name: flow.kind for name, flow in records[-1].layers.items()}
    return [Finding(*each[:4], _ADVICE[each[0]], kinds.get(each[1], "")) for each in urgent]


def _medians(records, layers, field):
    """(layer, median of field over the records in which it is finite), of layers that have any."""
    found = []
    for name in layers:
        values = [getattr(record.layers[name], field) for record in records if name in record.layers]
        values = [value for value in values if value is not None and math.isfinite(value)]
        if values:
            found.append((name, statistics.median(values)))
    return found


def _bad(value):
    return value is not None and not math.isfinite(value)


def _not_finite(records):
    """Where NaN or infinity came from, and the records before it (at least the first). Weights that are bad spoil
    outputs, these spoil gradients (backwards) and these the weights of the next step."""
    for number, record in enumerate(records):
        forward = list(record.layers.items())
        for what, field, order in (("its weights have", "weight", forward), ("its output has", "output", forward),
                                   ("the gradient by its output has", "signal", forward[::-1]),
                                   ("its gradient has", "gradient", forward[::-1]),
                                   ("its update has", "update", forward)):  # fmt: skip
            values = [(name, getattr(flow, field)) for name, flow in order if getattr(flow, field) is not None]
            bad = [(name, value) for name, value in values if not math.isfinite(value)]
            if bad:
                told = f"{what} the norm {bad[0][1]}{_others(bad)}"
                if number and len(bad) == len(values) > 1:
                    told += "; all are spoiled by now, every=1 shows where it begins"
                return ("not finite", bad[0][0], record.step, told), records[: max(number, 1)]
    return None, records


def _others(bad):
    """How many layers more."""
    return f" (and {len(bad) - 1} layer{'s' * (len(bad) > 2)} more)" if len(bad) > 1 else ""


def _dead(record):
    bad = [(name, flow.dead) for name, flow in record.layers.items() if flow.dead is not None and flow.dead >= _DEAD]
    if not bad:
        return None
    told = f"{bad[0][1]:.0%} of its units fired for no row of the observed batches{_others(bad)}"
    return "dead units", bad[0][0], record.step, told, max(share for _, share in bad)


def _off_course(sizes, what, whose, step):
    """Findings about sizes, (layer, size) on the signal's way, that have left the first one's neighbourhood and do not
    come back: where the signal recovers (beside a residual branch that starts at 0) nothing is lost. The last layer's
    output is not asked: its bias may hide what came before, and in some networks it starts at 0."""
    if len(sizes) < 2:
        return
    first = sizes[0][1]
    if first == 0 and not any(size for _, size in sizes):
        yield f"vanishing {what}", sizes[0][0], step, f"all {what} are exactly 0"
    if first == 0:
        return
    kinds = (f"vanishing {what}", lambda share: share < _SMALLER), (f"exploding {what}", lambda share: share > _LARGER)
    for kind, out in kinds:
        shares = [size / first for _, size in sizes]
        place = len(shares)
        while place and out(shares[place - 1]):
            place -= 1
        if place < len(shares):
            there = f", and {shares[-1]:.2g} times at {sizes[-1][0]}" if place + 1 < len(shares) else ""
            told = f"{what} here are {shares[place]:.2g} times those of {whose}{there}"
            yield kind, sizes[place][0], step, f"{told}; so it is at {len(sizes) - place} of {len(sizes)} layers"


def _without_gradient(records):
    """Layers that learn nothing because nothing asks for it."""
    bad = [name for name, flow in records[-1].layers.items() if flow.weight is not None
           and all(record.layers[name].gradient is None for record in records if name in record.layers)]  # fmt: skip
    return ("no gradient", bad[0], records[-1].step, f"no observed step gave it one{_others(bad)}") if bad else None


def _too_large(ratios, records):
    """Updates that are large against the weights: most of the time, or once as large as the weights."""
    for record in records:
        bad = [(name, flow.ratio) for name, flow in record.layers.items() if flow.ratio and flow.ratio > _REWRITTEN]
        if bad:
            break
    else:
        bad, record = [(name, ratio) for name, ratio in ratios if ratio > _HASTY], records[-1]
    told = "a step changes the weights by {:.2g} times their norm, about 1e-3 is healthy"
    return ("large updates", bad[0][0], record.step, told.format(bad[0][1]) + _others(bad)) if bad else None


def _too_small(records):
    """Updates that were so small in every step that nothing is learned."""
    most = {}
    for record in records:
        for name, flow in record.layers.items():
            if flow.ratio is not None and flow.gradient is not None:
                most[name] = max(most.get(name, 0.0), flow.ratio)
    bad = [(name, ratio) for name, ratio in most.items() if ratio < _IDLE]
    told = "no step changed the weights by more than {:.2g} times their norm, about 1e-3 is healthy"
    return ("small updates", bad[0][0], records[-1].step, told.format(bad[0][1]) + _others(bad)) if bad else None
