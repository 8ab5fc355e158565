"""This engine's calls (pyengine/bench/worker.py says what an adapter is)."""

import pyengine as pe
from pyengine import _core
from pyengine.bench import torchlike


def prepare(threads, tuned):
    pe.set_num_threads(threads)
    pe.set_grad_enabled(False)


def about():
    return {"version": pe.__version__, "threads": pe.get_num_threads(), "path": _core.machine_info()["isa"]}


def to_numpy(result):
    return (result.to(pe.float32) if result.is_floating_point() else result).numpy()


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
    return {"": [lambda: pe.int8_matmul(unsigned, b)], "signed": [lambda: pe.int8_matmul(signed, b)]}


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
    step = torchlike.train(pe, p, make)

    def recorded():
        with pe.enable_grad():
            return step()

    return {"": [recorded]}


def mlp_infer(p, make):
    model, x = torchlike.perceptron(pe, p, make).eval(), pe.from_numpy(make.images(p))
    return {"": [lambda: model(x)]}


BUILDERS = {
    "matmul": matmul, "matmul_bf16": matmul_bf16, "linear": linear, "matmul_int8": matmul_int8,
    "linear_int8": linear_int8, "linear_int4": linear_int4, "mlp_train": mlp_train, "mlp_infer": mlp_infer,
}  # fmt: skip
