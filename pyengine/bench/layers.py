"""Cases of convolution, of recurrence, and of whole networks: sizes are read off pyengine.models, not typed.

A layer's name is its channels, kernel/stride, the size of its input and the batch.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pyengine as pe
from pyengine import models, nn
from pyengine.bench.cases import Case

Sizes = dict[str, Any]

BATCHES = (1, 16)
CIFAR_BATCH = 32
PICTURE = (2, 3, 224, 224)  # two: a norm in training needs several values a channel
# channels, kernel, stride, padding and length: CREPE's first and second layer, and one of a vocoder's size
AUDIO = ((1, 128, 512, 4, 0, 1532), (128, 16, 64, 1, 0, 191), (64, 64, 9, 1, 4, 4096))
# channels, kernel, stride, padding, side: a U-Net's step up, and a generator's
RECURRENT = (("LSTM", 4), ("GRU", 3))  # and their gates
STEPS, WIDTH = 128, 256
UP = ((128, 64, 2, 2, 0, 32), (256, 128, 4, 2, 1, 16))


def plain(sizes: Iterable[int], axes: int, transposed: bool = False) -> Sizes:
    inputs, outputs, kernel, stride, padding, side = sizes
    return {"in": inputs, "out": outputs, "kernel": [kernel] * axes, "stride": [stride] * axes,
            "padding": [padding] * axes, "size": [side] * axes, "groups": 1, "transposed": transposed}  # fmt: skip


def convolutions(model: nn.Module, shape: tuple[int, ...] = PICTURE) -> list[Sizes]:
    """The distinct convolutions that an image of `shape` passes, in order."""
    found: list[Sizes] = []

    def note(layer: Any, given: Any, output: Any) -> None:
        sizes = {"in": layer.in_channels, "out": layer.out_channels, "kernel": list(layer.kernel_size),
                 "stride": list(layer.stride), "padding": list(layer.padding), "size": list(given[0].shape[2:]),
                 "groups": layer.groups, "transposed": False}  # fmt: skip
        if sizes not in found:
            found.append(sizes)

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with pe.no_grad():
        model.train()(pe.zeros(*shape))
    return found


def convolution(sizes: Sizes, batch: int, group: str, backward: bool = False) -> Case:
    """Forward; or backward: the gradients to weight and input, of an image (3 channels or 1) to the weight alone."""
    p, axes = {**sizes, "batch": batch}, range(len(sizes["size"]))
    if p["transposed"]:
        out = [(p["size"][i] - 1) * p["stride"][i] + p["kernel"][i] - 2 * p["padding"][i] for i in axes]
    else:
        out = [(p["size"][i] + 2 * p["padding"][i] - p["kernel"][i]) // p["stride"][i] + 1 for i in axes]
    taps, area, kept = math.prod(p["kernel"]), math.prod(out), math.prod(p["size"])
    weight = p["in"] * p["out"] // p["groups"] * taps
    operations = 2 * batch * weight * (kept if p["transposed"] else area)
    x, y = batch * p["in"] * kept, batch * p["out"] * area
    moved = x + weight + y
    if backward:
        p["dx"] = p["in"] > 3
        operations *= 1 + p["dx"]
        moved = x + y + weight + (x + weight) * p["dx"]
    what = "depthwise " if p["groups"] > 1 else "up " if p["transposed"] else ""
    steps = "" if p["stride"][0] == 1 else f"/{p['stride'][0]}"
    channels = f"{p['in']}" if p["groups"] > 1 else f"{p['in']}-{p['out']}"
    kernel, side = ("x".join(map(str, p[key])) for key in ("kernel", "size"))
    name = f"{what}{channels} {kernel}{steps} of {side} b{batch}{' backward' if backward else ''}"
    return Case(name, "conv_backward" if backward else "conv", p, "fp32", operations, 4 * moved, 4 * moved,
                bandwidth="copy", fewer=taps > 1, group=group)  # fmt: skip


def recurrence(layer: str, gates: int, batch: int, training: bool = False) -> Case:
    """All steps of a recurrent layer; training: forward and the gradients to input and weights."""
    rows, weights = STEPS * batch, 2 * gates * WIDTH * WIDTH
    params = {"layer": layer, "in": WIDTH, "hidden": WIDTH, "steps": STEPS, "batch": batch}
    name = f"{layer} {WIDTH}-{WIDTH} of {STEPS} steps b{batch}{' training' if training else ''}"
    # training: y and the gradients of x and y come and go beside x
    moved = 4 * ((4 if training else 2) * rows * WIDTH + (2 if training else 1) * weights)
    return Case(name, "recurrence_train" if training else "recurrence", params, "fp32",
                2 * rows * weights * (3 if training else 1), moved, moved, agree=1e-3, bandwidth="copy",
                group=f"recurrence{' training' if training else f' b{batch}'}")  # fmt: skip


def layer_cases() -> list[Case]:
    resnet, v2 = convolutions(models.resnet50()), convolutions(models.mobilenet_v2())
    v3 = convolutions(models.mobilenet_v3_large())
    v2_depthwise = [sizes for sizes in v2 if sizes["groups"] > 1]
    depthwise = [*v2_depthwise, *(s for s in v3 if s["groups"] > 1 and s not in v2_depthwise)]
    cifar = convolutions(models.resnet18(num_classes=10, stem="3x3"), (2, 3, 32, 32))
    digits = convolutions(models.small_cnn(), (2, 1, 28, 28))
    cases = []
    for batch in BATCHES:
        cases += [convolution(sizes, batch, f"ResNet-50 b{batch}") for sizes in resnet]
        cases += [convolution(sizes, batch, f"depthwise b{batch}") for sizes in depthwise]
        cases += [convolution(sizes, batch, "stems") for sizes in (v2[0], v3[0])]
        cases += [convolution(plain(sizes, 1), batch, "1d") for sizes in AUDIO]
        cases += [convolution(plain(sizes, 2, True), batch, "transposed") for sizes in UP]
    cases += [convolution(sizes, CIFAR_BATCH, "CIFAR") for sizes in cifar]
    cases += [convolution(sizes, 64, "small CNN") for sizes in digits]
    # backward: all but most 1x1 layers, which are products
    wide = [s for s in resnet if s["kernel"] != [1, 1] or (s["size"][0] == 56 and s["stride"] == [1, 1])]
    for group, batch, chosen in (("ResNet-50", 16, wide), ("depthwise", 16, v2_depthwise), ("stems", 16, v2[:1]),
                                 ("CIFAR", CIFAR_BATCH, cifar), ("small CNN", 64, digits)):  # fmt: skip
        cases += [convolution(sizes, batch, f"{group} backward", backward=True) for sizes in chosen]
    for how in ((1,), (32,), (32, True)):
        cases += [recurrence(*layer, *how) for layer in RECURRENT]
    return cases


def network(what: str, make: Callable[..., nn.Module], shape: tuple[int, ...], training: bool = False,
            **options: Any) -> Case:  # fmt: skip
    """A whole network on one batch; training is a step of SGD with momentum."""
    model = make(**options)
    flops = shape[0] * pe.summary(model, (1, *shape[1:])).total_flops
    weights = 4 * sum(p.numel() for p in model.parameters())
    params = {"network": make.__name__, "options": options, "shape": list(shape), "classes": options.get("num_classes")}
    name = f"{what} b{shape[0]} {'training' if training else 'inference'}"
    if training:  # weights, gradients and momenta; the gradient of the images is not asked for
        first = convolution(convolutions(model, (2, *shape[1:]))[0], shape[0], "")
        # a sum that rounds otherwise turns some ReLUs over, and the first layer's gradient with them
        return Case(name, "network_train", params, "fp32", 3 * flops - first.operations, 5 * weights, 3 * weights,
                    agree=0.02, fewer=True, group="training")  # fmt: skip
    return Case(name, "network", params, "fp32", flops, weights, weights, agree=1e-3, fewer=True, group="inference")


def network_cases() -> list[Case]:
    return [
        network("ResNet-18 of 32x32", models.resnet18, (32, 3, 32, 32), True, num_classes=10, stem="3x3"),
        network("small CNN of 28x28", models.small_cnn, (64, 1, 28, 28), True, num_classes=10),
        *(network("ResNet-50", models.resnet50, (batch, 3, 224, 224)) for batch in (1, 32)),
        *(network("MobileNetV2", models.mobilenet_v2, (batch, 3, 224, 224)) for batch in (1, 32)),
    ]
