"""The calls of zentorch, AMD's plugin for torch: its own operations on packed weights, without torch.compile's cost."""

import torch
import torch_calls
import zentorch

OPS = torch.ops.zentorch
prepare, record, to_numpy = torch_calls.prepare, torch_calls.record, torch_calls.to_numpy
RECORDED = torch_calls.RECORDED


def about():
    return {**torch_calls.about(), "version": f"{zentorch.__version__} on torch {torch.__version__}"}


def matmul(p, make):
    a, b = map(torch.from_numpy, make.operands(p))
    product = OPS.zentorch_bmm if p["batch"] > 1 else OPS.zentorch_mm
    return {"": [lambda: product(a, b)]}


def matmul_bf16(p, make):
    a, b = (torch.from_numpy(operand).bfloat16() for operand in make.operands(p))
    return {"": [lambda: OPS.zentorch_mm(a, b)]}


def linear(p, make):
    x, weights, bias = make.linear(p)
    x, bias = torch.from_numpy(x), torch.from_numpy(bias)
    packed = [OPS.zentorch_weight_prepack_for_linear(torch.from_numpy(w)) for w in weights]
    return {"packed": [lambda w=w: OPS.zentorch_linear_unary(x, w, bias, is_weight_prepacked=True) for w in packed]}


def linear_int8(p, make):
    x, weights, bias = make.linear(p)
    x, weight, bias = torch.from_numpy(x), torch.from_numpy(weights[0]), torch.from_numpy(bias)
    scales = weight.abs().amax(1) / 127
    rounded = [(weight / scales[:, None]).round().to(torch.int8) for _ in weights]
    packed = [OPS.zentorch_weight_prepack_for_dynamic_qlinear(w) for w in rounded]
    call = OPS.zentorch_dynamic_qlinear
    return {"packed": [lambda w=w: call(x, w, scales, bias, is_weight_prepacked=True) for w in packed]}


def mlp_infer(p, make):
    x, layers = torch.from_numpy(make.images(p)), []
    for weight, bias in make.layers(p):
        layers.append((OPS.zentorch_weight_prepack_for_linear(torch.from_numpy(weight)), torch.from_numpy(bias)))

    def forward():
        y = x
        for i, (w, b) in enumerate(layers):
            act = "relu" if i + 1 < len(layers) else "none"
            y = OPS.zentorch_linear_unary(y, w, b, is_weight_prepacked=True, post_op=act)
        return y

    return {"packed": [forward]}


BUILDERS = {
    "matmul": matmul, "matmul_bf16": matmul_bf16, "linear": linear, "linear_int8": linear_int8, "mlp_infer": mlp_infer,
}  # fmt: skip
