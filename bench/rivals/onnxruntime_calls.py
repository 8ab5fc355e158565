"""onnxruntime's calls: graphs of one operation, or of a whole network, with constant weights.

As it installs: session.run on NumPy arrays. At its best: inputs and outputs bound once, denormals as zero.
"""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from recurrent_graph import nodes_and_constants

THREADS, TUNED = 1, False
OWN_OPERATIONS = "com.microsoft"
ort.set_default_logger_severity(3)


def prepare(threads, tuned):
    global THREADS, TUNED
    THREADS, TUNED = threads, tuned
    # one pool for all sessions: a rotating case has a hundred
    ort.set_global_thread_pool_sizes(threads, 1)


def about():
    return {"version": ort.__version__, "threads": THREADS, "path": "MLAS, CPUExecutionProvider"}


def to_numpy(result):
    return result[0] if isinstance(result, list) else result.numpy()


def session(nodes, inputs, constants, y=np.float32):
    """A call of the graph from `inputs` to "y", of this type."""
    def described(name, dtype, shape):
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)

    graph = helper.make_graph(
        nodes, "g",
        [described(name, value.dtype, value.shape) for name, value in inputs.items()], [described("y", y, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    versions = [helper.make_opsetid("", 17), helper.make_opsetid(OWN_OPERATIONS, 1)]
    return started(helper.make_model(graph, opset_imports=versions, ir_version=9).SerializeToString(), inputs, y)


def started(model, inputs, y=np.float32):
    """A call of the model, given as the bytes of its file."""
    options = ort.SessionOptions()
    options.use_per_session_threads = False
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    if TUNED:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    made = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    if not TUNED:
        return lambda: made.run(None, inputs)
    binding = made.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))
    shape = made.run(None, inputs)[0].shape
    out = ort.OrtValue.ortvalue_from_shape_and_type(shape, y)
    binding.bind_ortvalue_output("y", out)

    def call():
        made.run_with_iobinding(binding)
        return out

    return call


def matmul(p, make):
    a, b = make.operands(p)
    # a transposed operand is stored transposed and turned in the graph, where the optimizer fuses it
    turn, nodes, inputs, names = {"a": p["transposed"] == "a", "b": p["transposed"] == "b"}, [], {}, []
    for name, value in (("a", a), ("b", b)):
        inputs[name] = np.ascontiguousarray(value.swapaxes(-1, -2) if turn[name] else value)
        names.append(name + "t" if turn[name] else name)
        if turn[name]:
            nodes.append(helper.make_node("Transpose", [name], [name + "t"], perm=[1, 0]))
    nodes.append(helper.make_node("MatMul", names, ["y"]))
    return {"": [session(nodes, inputs, {})]}


def linear(p, make):
    x, weights, bias = make.linear(p)
    gemm = [helper.make_node("Gemm", ["x", "w", "c"], ["y"], transB=1)]
    calls = {"": [session(gemm, {"x": x}, {"w": w, "c": bias}) for w in weights]}
    if TUNED:
        pair = [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Add", ["p", "c"], ["y"])]
        turned = (np.ascontiguousarray(w.T) for w in weights)
        calls["MatMul"] = [session(pair, {"x": x}, {"w": w, "c": bias}) for w in turned]
    return calls


def linear_int8(p, make):
    x, weights, bias = make.linear(p)
    weight = weights[0]  # they are alike: each session holds its own
    scale = (np.abs(weight).max(1) / 127).astype(np.float32)
    quantized = np.ascontiguousarray(np.rint(weight / scale[:, None]).astype(np.int8).T)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["i"]),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["s", "ws"], ["scale"]),
        helper.make_node("Mul", ["f", "scale"], ["m"]),
        helper.make_node("Add", ["m", "c"], ["y"]),
    ]
    return {"": [session(nodes, {"x": x}, {"w": quantized, "ws": scale, "c": bias}) for _ in weights]}


def matmul_int8(p, make):
    a, b = make.integers(p)
    nodes = [helper.make_node("MatMulInteger", ["a", "b"], ["y"])]
    return {"": [session(nodes, {"a": a.view(np.uint8)}, {"b": b}, np.int32)]}


def linear_int4(p, make):
    """MatMulNBits: symmetric, 8 is the zero. At its best it may round x to int8 (accuracy_level 4)."""
    x, weights, bias = make.linear(p)
    n, k, group = p["n"], p["k"], p["group"]
    parts = weights[0].reshape(n, k // group, group)
    scale = np.abs(parts).max(2) / 7
    q = (np.rint(parts / scale[..., None]) + 8).clip(0, 15).astype(np.uint8)
    constants = {"b": q[..., ::2] | q[..., 1::2] << 4, "s": scale.astype(np.float32).reshape(-1), "c": bias}

    def call(level):
        nodes = [helper.make_node("MatMulNBits", ["x", "b", "s", "", "", "c"], ["y"], domain=OWN_OPERATIONS, K=k, N=n,
                                  bits=4, block_size=group, accuracy_level=level)]  # fmt: skip
        return [session(nodes, {"x": x}, constants) for _ in weights]

    return {"": call(1), "int8": call(4)} if TUNED else {"": call(0)}


def mlp_infer(p, make):
    nodes, constants, layers = [], {}, make.layers(p)
    name = "x"
    for i, (w, b) in enumerate(layers):
        constants |= {f"w{i}": w, f"b{i}": b}
        last = i + 1 == len(layers)
        nodes.append(helper.make_node("Gemm", [name, f"w{i}", f"b{i}"], ["y" if last else f"g{i}"], transB=1))
        if not last:
            nodes.append(helper.make_node("Relu", [f"g{i}"], [f"r{i}"]))
            name = f"r{i}"
    return {"": [session(nodes, {"x": make.images(p)}, constants)]}


def conv(p, make):
    x, weight, bias = make.convolution(p)
    kind = "ConvTranspose" if p["transposed"] else "Conv"
    node = helper.make_node(kind, ["x", "w", "c"], ["y"], strides=p["stride"], pads=p["padding"] * 2, group=p["groups"])
    return {"": [session([node], {"x": x}, {"w": weight, "c": bias})]}


def recurrence(p, make):
    x, nodes, constants = nodes_and_constants(p, make)
    return {"": [session(nodes, {"x": x}, constants)]}


def network(p, make):
    """As torch exports it (which this interpreter must have, too)."""
    from ported import as_onnx

    model, x = as_onnx(p, make)
    return {"": [started(model, {"x": x})]}


BUILDERS = {
    "matmul": matmul, "linear": linear, "linear_int8": linear_int8, "linear_int4": linear_int4,
    "matmul_int8": matmul_int8, "mlp_infer": mlp_infer, "conv": conv, "network": network, "text_network": network,
    "recurrence": recurrence,
}  # fmt: skip
