"""This engine's calls (pyengine/bench/worker.py says what an adapter is)."""

import pyengine as pe
from pyengine import _core, models
from pyengine.bench import torchlike
from pyengine.bench import torchlike_ops as ops

RECORDED = {"mlp_train", "network_train", "text_network_train", "conv_backward", "both_ways", "tape",
            "recurrence_train", "attention_backward"}  # fmt: skip
WIDE = 8  # channels from which on a network hands its images on channels-last


def prepare(threads, tuned):
    pe.set_num_threads(threads)


def record(on):
    pe.set_grad_enabled(on)


def about():
    return {"version": pe.__version__, "threads": pe.get_num_threads(), "path": _core.machine_info()["isa"]}


def to_numpy(result):
    if isinstance(result, list):
        return [to_numpy(one) for one in result]
    return (result.detach().to(pe.float32) if result.is_floating_point() else result).numpy()


def matmul(p, make):
    a, b = map(pe.from_numpy, make.operands(p))
    return {"": [lambda: a @ b]}


def matmul_bf16(p, make):
    a, b = (pe.from_numpy(operand).to(pe.bfloat16) for operand in make.operands(p))
    return {"": [lambda: a @ b]}


def linear(p, make):
    """As nn.Linear in inference does it (with its weight packed, where it packs), and as a bare product."""
    x, weights, bias = make.linear(p)
    x = pe.from_numpy(x)
    layers = [torchlike.linear(pe, weight, bias).eval() for weight in weights]
    for layer in layers:
        pe.pack(layer.weight)  # as its second call would: of many that take turns, that one is timed
    bare = [(layer.weight, layer.bias) for layer in (torchlike.linear(pe, w, bias) for w in weights)]
    return {
        "": [lambda layer=layer: layer(x) for layer in layers],
        "unpacked": [lambda w=w, b=b: pe.nn.functional.linear(x, w, b) for w, b in bare],
    }


def matmul_int8(p, make):
    a, b = make.integers(p)
    signed, unsigned, b = pe.from_numpy(a), pe.from_numpy(a.view("uint8")), pe.from_numpy(b)
    packed = pe.QuantizedWeight.from_int8(b.T)
    return {"": [lambda: pe.int8_matmul(unsigned, b)], "signed": [lambda: pe.int8_matmul(signed, b)],
            "packed": [lambda: pe.int8_matmul(unsigned, packed)]}  # fmt: skip


def quantized(p, make, **how):
    x, weights, bias = make.linear(p)
    x, bias = pe.from_numpy(x), pe.from_numpy(bias)
    rounded = [pe.QuantizedWeight.from_float(pe.from_numpy(w), **how) for w in weights]
    return {"": [lambda w=w: pe.quantized_linear(x, w, bias) for w in rounded]}


def linear_int8(p, make):
    return quantized(p, make)


def linear_int4(p, make):
    return quantized(p, make, bits=4, group=p["group"])


def mlp_train(p, make):
    return {"": [torchlike.train(pe, p, make)]}


def mlp_infer(p, make):
    model, x = torchlike.perceptron(pe, p, make).eval(), pe.from_numpy(make.images(p))
    return {"": [lambda: model(x)]}


def layout(x):
    """Images as the layer before would hand them on."""
    return torchlike.last(x) if x.ndim == 4 and x.shape[1] >= WIDE else x


def conv(p, make):
    layer, x = torchlike.convolution(pe, p, make)
    x = layout(x)
    return {"": [lambda: layer(x)]}


def network(p, make):
    model, x = torchlike.network(pe, models, p, make)
    return {"": [lambda: model(x)]}


def text_network(p, make):
    model, ids = torchlike.text_network(pe, models, p, make)
    return {"": [lambda: model(ids)]}


def only(call, *how):
    """The builder of one call that every engine has alike."""
    return lambda p, make: {"": [call(pe, *how, p, make)]}


BUILDERS = {
    "matmul": matmul, "matmul_bf16": matmul_bf16, "linear": linear, "matmul_int8": matmul_int8,
    "linear_int8": linear_int8, "linear_int4": linear_int4, "mlp_train": mlp_train, "mlp_infer": mlp_infer,
    "conv": conv, "conv_backward": lambda p, make: {"": [torchlike.convolution_backward(pe, p, make, layout)]},
    "network": network, "network_train": only(torchlike.train_network, models), "simple": only(ops.simple),
    "text_network": text_network, "text_network_train": only(torchlike.train_text_network, models),
    "recurrence": only(torchlike.recurrence_forward), "recurrence_train": only(torchlike.recurrence_train),
    "attention": only(ops.attention), "attention_backward": only(ops.attention_backward),
    "both_ways": only(ops.both_ways), "tape": only(ops.tape), "optimizer": only(ops.optimizer),
}  # fmt: skip
