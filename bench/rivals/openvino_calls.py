"""OpenVINO's calls: compiled graphs with constant weights, one inference request each.

As it installs: its defaults but the thread count. At its best: LATENCY, one stream, float32, memory set once.
"""

import numpy as np
import openvino as ov
from openvino import opset13 as op

THREADS, TUNED = 1, False
CORE = ov.Core()
FOUND = {"path": "CPU plugin"}


def prepare(threads, tuned):
    global THREADS, TUNED
    THREADS, TUNED = threads, tuned
    y = op.matmul(op.parameter([64, 64], np.float32), np.ones((64, 64), np.float32), False, True)
    model = compiled(y)
    kernels = [node.get_rt_info()["primitiveType"].astype(str) for node in model.get_runtime_model().get_ops()
               if node.get_friendly_name().startswith("MatMul")]  # fmt: skip
    FOUND["path"] = f"CPU plugin, {', '.join(kernels) or 'unknown kernel'}"


def about():
    return {"version": ov.__version__.partition("-")[0], "threads": THREADS, **FOUND}


def to_numpy(result):
    return result


def compiled(y):
    return started(ov.Model([y], parameters(y)))


def started(model):
    config = {"INFERENCE_NUM_THREADS": THREADS}
    if TUNED:
        config |= {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_PRECISION_HINT": "f32"}
    return CORE.compile_model(model, "CPU", config)


def parameters(y):
    """The inputs of the graph that ends in y, by name."""
    seen, todo, found = set(), [y], []
    while todo:
        node = todo.pop()
        if node.get_friendly_name() in seen:
            continue
        seen.add(node.get_friendly_name())
        if node.get_type_name() == "Parameter":
            found.append(node)
        todo += [value.get_node() for value in node.input_values()]
    return sorted(found, key=lambda node: node.get_friendly_name())


def request(y, *values):
    """A call of the graph of y, whose parameters are named in the order of `values`."""
    return asked(compiled(y), *values)


def asked(model, *values):
    made = model.create_infer_request()
    kept = [np.ascontiguousarray(value) for value in values]  # shared with the request, which does not keep it
    for i, value in enumerate(kept):
        made.set_input_tensor(i, ov.Tensor(value, shared_memory=True))

    def call(kept=kept):
        made.infer()
        return made.get_output_tensor(0).data

    return call


def matmul(p, make):
    a, b = make.operands(p)
    turned = p["transposed"]
    a, b = (a.swapaxes(-1, -2) if turned == "a" else a), (b.swapaxes(-1, -2) if turned == "b" else b)
    left, right = op.parameter(list(a.shape), np.float32, "a"), op.parameter(list(b.shape), np.float32, "b")
    return {"": [request(op.matmul(left, right, turned == "a", turned == "b"), a, b)]}


def layer(x, weight, bias):
    return op.add(op.matmul(x, weight, False, True), bias)


def linear(p, make):
    x, weights, bias = make.linear(p)
    shape = list(x.shape)
    return {"": [request(layer(op.parameter(shape, np.float32, "x"), w, bias[None, :]), x) for w in weights]}


def mlp_infer(p, make):
    x, layers = make.images(p), make.layers(p)
    y = op.parameter(list(x.shape), np.float32, "x")
    for i, (w, b) in enumerate(layers):
        y = layer(y, w, b[None, :])
        if i + 1 < len(layers):
            y = op.relu(y)
    return {"": [request(y, x)]}


def conv(p, make):
    """Images as they are; at its best also channels-last on both sides."""
    x, weight, bias = make.convolution(p)
    axes, steps, border, groups = len(p["size"]), p["stride"], p["padding"], p["groups"]
    even, bias = [1] * axes, bias.reshape(-1, *[1] * axes)

    def layer(x):
        if p["transposed"]:
            y = op.convolution_backprop_data(x, weight, steps, pads_begin=border, pads_end=border, dilations=even)
        elif groups == 1:
            y = op.convolution(x, weight, steps, border, border, even)
        else:
            parts = weight.reshape(groups, -1, *weight.shape[1:])
            y = op.group_convolution(x, parts, steps, border, border, even)
        return op.add(y, bias)

    calls = {"": [request(layer(op.parameter(list(x.shape), np.float32, "x")), x)]}
    if TUNED and axes == 2:
        turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        image = op.transpose(op.parameter(list(turned.shape), np.float32, "x"), [0, 3, 1, 2])
        call = request(op.transpose(layer(image), [0, 2, 3, 1]), turned)
        calls["channels_last"] = [lambda: call().transpose(0, 3, 1, 2)]
    return calls


def recurrence(p, make):
    from recurrent_graph import as_bytes

    x, model = as_bytes(p, make)
    return {"": [asked(started(CORE.read_model(model)), x)]}


def network(p, make):
    """The ONNX file that torch exports (which this interpreter must have, too)."""
    from ported import as_onnx

    model, x = as_onnx(p, make)
    return {"": [asked(started(CORE.read_model(model)), x)]}


BUILDERS = {
    "matmul": matmul, "linear": linear, "mlp_infer": mlp_infer, "conv": conv, "network": network,
    "text_network": network, "recurrence": recurrence,
}  # fmt: skip
