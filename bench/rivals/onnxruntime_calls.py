"""onnxruntime's calls: graphs of one operation, or of a whole network, with constant weights.

As it installs: session.run on NumPy arrays. At its best: inputs and outputs bound once, denormals as zero.
"""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

THREADS, TUNED = 1, False
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


def session(nodes, inputs, constants):
    """Calls of a graph from `inputs` to "y"; an input that is None is left out of the feed."""
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.use_per_session_threads = False
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    if TUNED:
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    made = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    if not TUNED:
        return lambda: made.run(None, inputs)
    binding = made.io_binding()
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))
    shape = made.run(None, inputs)[0].shape
    out = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32)
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
    x, (weight,), bias = make.linear(p)
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
    return {"": [session(nodes, {"x": x}, {"w": quantized, "ws": scale, "c": bias})]}


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


BUILDERS = {"matmul": matmul, "linear": linear, "linear_int8": linear_int8, "mlp_infer": mlp_infer}
