"""torch's calls of convolutions and networks, in both layouts; at its best also packed, frozen and compiled."""

import ported
import torch
import torchlike

LAYOUTS = {"": lambda x: x, "channels_last": torchlike.last}


def conv(p, make, tuned):
    layer, x = torchlike.convolution(torch, p, make)
    calls = {"": [lambda: layer(x)]}
    if len(p["size"]) == 2:
        wide, image = torchlike.convolution(torch, p, make)[0].to(memory_format=torch.channels_last), torchlike.last(x)
        calls["channels_last"] = [lambda: wide(image)]
        if tuned and not p["transposed"]:
            how = p["padding"], p["stride"], [1, 1], p["groups"]
            packed = torch._C._nn.mkldnn_reorder_conv2d_weight(layer.weight.to_mkldnn(), *how, list(x.shape))
            fused = torch.ops.mkldnn._convolution_pointwise
            calls["packed"] = [lambda: fused(image, packed, layer.bias, *how, "none", [], "")]
    return calls


def conv_backward(p, make, tuned):
    layouts = LAYOUTS if len(p["size"]) == 2 else {"": LAYOUTS[""]}
    return {name: [torchlike.convolution_backward(torch, p, make, ready)] for name, ready in layouts.items()}


def network(p, make, tuned):
    model, x = torchlike.network(torch, ported.MODELS, p, make)
    model = ported.in_place(model)
    calls = {"": [lambda: model(x)]}
    wide = ported.in_place(torchlike.network(torch, ported.MODELS, p, make)[0]).to(memory_format=torch.channels_last)
    image = x.contiguous(memory_format=torch.channels_last)
    calls["channels_last"] = [lambda: wide(image)]
    if tuned:
        frozen = torch.jit.optimize_for_inference(torch.jit.trace(model, x))
        calls |= {"frozen": [lambda: frozen(x)], "compiled": [compiled_frozen(wide, image)]}
    return calls


def network_train(p, make, tuned):
    def wide(model, x):
        last = torch.channels_last
        return ported.in_place(model).to(memory_format=last), x.contiguous(memory_format=last)

    def compiled(model, x):
        return torch.compile(model), x

    kinds = {"": lambda model, x: (ported.in_place(model), x), "channels_last": wide}
    kinds |= {"compiled": compiled, "compiled channels_last": lambda *pair: compiled(*wide(*pair))} if tuned else {}
    return {name: [torchlike.train_network(torch, ported.MODELS, p, make, how)] for name, how in kinds.items()}


def text_network(p, make, tuned):
    model, ids = torchlike.text_network(torch, ported.MODELS, p, make)
    calls = {"": [lambda: model(ids)]}
    if tuned:
        frozen = torch.jit.optimize_for_inference(torch.jit.trace(model, ids))
        calls |= {"frozen": [lambda: frozen(ids)], "compiled": [compiled_frozen(model, ids)]}
    return calls


def compiled_frozen(model, *inputs):
    """A call of torch.compile's model, whose weights are packed while it compiles."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    made = torch.compile(model)
    return lambda: made(*inputs)


def text_network_train(p, make, tuned):
    kinds = {"": lambda model: model} | ({"compiled": torch.compile} if tuned else {})
    return {name: [torchlike.train_text_network(torch, ported.MODELS, p, make, how)] for name, how in kinds.items()}


def only(call):
    return lambda p, make, tuned: {"": [call(torch, p, make)]}


BUILDERS = {
    "recurrence": only(torchlike.recurrence_forward), "recurrence_train": only(torchlike.recurrence_train),
    "conv": conv, "conv_backward": conv_backward, "network": network, "network_train": network_train,
    "text_network": text_network, "text_network_train": text_network_train,
}  # fmt: skip
