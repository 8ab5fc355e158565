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
    return result.to(pe.float32).numpy()


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
    bare = [(layer.weight, layer.bias) for layer in (torchlike.linear(pe, w, bias) for w in weights)]
    return {
        "": [lambda layer=layer: layer(x) for layer in layers],
        "unpacked": [lambda w=w, b=b: pe.nn.functional.linear(x, w, b) for w, b in bare],
    }


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
    "matmul": matmul, "matmul_bf16": matmul_bf16, "linear": linear, "mlp_train": mlp_train, "mlp_infer": mlp_infer,
}  # fmt: skip
