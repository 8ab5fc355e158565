"""A recurrent layer as an ONNX graph, for those who read one: their gates come in another order than torch's."""

import numpy as np
from onnx import helper, numpy_helper

ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2)}  # i o f c of i f g o; z r h of r z n


def nodes_and_constants(p, make):
    """x, the nodes from "x" to "y" (T, 1, N, hidden), and their constants."""
    x, *weights = make.recurrence(p)
    order, size = ORDER[p["layer"]], p["hidden"]
    turned = [np.concatenate([w[i * size : (i + 1) * size] for i in order]) for w in weights]
    constants = {"w": turned[0][None], "r": turned[1][None], "b": np.concatenate(turned[2:])[None]}
    after = {"linear_before_reset": 1} if p["layer"] == "GRU" else {}
    return x, [helper.make_node(p["layer"], ["x", "w", "r", "b"], ["y"], hidden_size=size, **after)], constants


def as_bytes(p, make):
    """x, and the bytes of a file."""
    x, nodes, constants = nodes_and_constants(p, make)
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", x.shape), ("y", None))]
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], held)
    return x, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
