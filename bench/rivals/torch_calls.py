"""torch's calls. As it installs: torch.mm and nn.Linear. At its best also what torch.compile with freezing would call:
oneDNN's and MKL's linear with packed weights. The environment of the best setting is in bench/rivals/__init__.py."""

import warnings

import torch
import torch_layers
import torch_ops
from torchlike import linear as linear_layer
from torchlike import perceptron, train

TUNED = False
RECORDED = {"mlp_train", "network_train", "text_network_train", "conv_backward", "both_ways", "tape",
            "recurrence_train", "attention_backward"}  # fmt: skip


def prepare(threads, tuned):
    global TUNED
    TUNED = tuned
    torch.set_num_threads(threads)
    warnings.simplefilter("ignore")


def record(on):
    torch.set_grad_enabled(on)


def about():
    return {"version": torch.__version__, "threads": torch.get_num_threads(),
            "path": f"ATen {torch.backends.cpu.get_cpu_capability()}"}  # fmt: skip


def to_numpy(result):
    if isinstance(result, list):
        return [to_numpy(one) for one in result]
    return result.detach().float().numpy()


def onednn(x, w, b):
    return torch.ops.mkldnn._linear_pointwise(x, w, b, "none", [], "")


def matmul(p, make):
    a, b = map(torch.from_numpy, make.operands(p))
    calls = {"": [lambda: a @ b]}
    if TUNED and p["batch"] == 1 and p["transposed"] != "a":
        turned = b.T if p["transposed"] == "b" else b.T.contiguous()
        calls["oneDNN"] = [lambda: onednn(a, turned, None)]
    return calls


def matmul_bf16(p, make):
    a, b = (torch.from_numpy(operand).bfloat16() for operand in make.operands(p))
    turned = b.T.contiguous()
    calls = {"": [lambda: a @ b]}
    if TUNED:
        calls["oneDNN"] = [lambda: onednn(a, turned, None)]
    return calls


def linear(p, make):
    x, weights, bias = make.linear(p)
    x, bias, weights = torch.from_numpy(x), torch.from_numpy(bias), [torch.from_numpy(w) for w in weights]
    calls = {"": [lambda w=w: torch.nn.functional.linear(x, w, bias) for w in weights]}
    if TUNED:
        rows = p["rows"]
        packed = [torch.ops.mkldnn._reorder_linear_weight(w, rows) for w in weights]
        calls["oneDNN packed"] = [lambda w=w: onednn(x, w, bias) for w in packed]
        mkl = [(torch.ops.mkl._mkl_reorder_linear_weight(w, rows), w) for w in weights]
        calls["MKL packed"] = [lambda m=m, w=w: torch.ops.mkl._mkl_linear(x, m, w, bias, rows) for m, w in mkl]
    return calls


def linear_int8(p, make):
    x, weights, bias = make.linear(p)
    x, calls = torch.from_numpy(x), {}
    for engine in [e for e in ("x86", "onednn") if e in torch.backends.quantized.supported_engines]:
        torch.backends.quantized.engine = engine
        net = torch.nn.Sequential(*(linear_layer(torch, weight, bias) for weight in weights))
        net = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)
        calls["" if engine == "x86" else engine] = [lambda layer=layer: layer(x) for layer in net]
        if not TUNED:
            break
    return calls


def matmul_int8(p, make):
    a, b = map(torch.from_numpy, make.integers(p))
    return {"": [lambda: torch._int_mm(a, b)]}


def mlp_train(p, make):
    return {"": [train(torch, p, make)]}


def mlp_infer(p, make):
    model, x = perceptron(torch, p, make).eval(), torch.from_numpy(make.images(p))
    calls = {"": [lambda: model(x)]}
    if TUNED:
        layers = [(torch.ops.mkldnn._reorder_linear_weight(torch.from_numpy(w), p["batch"]), torch.from_numpy(b))
                  for w, b in make.layers(p)]  # fmt: skip
        act = ["relu"] * (len(layers) - 1) + ["none"]

        def packed():
            y = x
            for (w, b), name in zip(layers, act, strict=True):
                y = torch.ops.mkldnn._linear_pointwise(y, w, b, name, [], "")
            return y

        def traced():
            with torch.inference_mode():
                return frozen(x)

        frozen = torch.jit.freeze(torch.jit.trace(model, x))
        calls |= {"oneDNN packed": [packed], "frozen": [traced]}
    return calls


BUILDERS = {
    "matmul": matmul, "matmul_bf16": matmul_bf16, "linear": linear, "linear_int8": linear_int8,
    "matmul_int8": matmul_int8, "mlp_train": mlp_train, "mlp_infer": mlp_infer,
    **{kind: lambda p, make, build=build: build(p, make, TUNED)
       for kind, build in {**torch_layers.BUILDERS, **torch_ops.BUILDERS}.items()},
}  # fmt: skip
