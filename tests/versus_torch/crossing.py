"""Between torch's samples and this engine: arguments there, results and gradients back."""

import numpy as np

import pyengine as pe

RTOL, ATOL = 2e-4, 2e-5  # float32, sums in another order
DROPPED = {"device", "layout", "pin_memory", "generator", "pass_inplace_op"}


class Crossing:
    """The arguments of one sample on both sides. `leaves` are the pairs of tensors that want gradients."""

    def __init__(self, torch, dtype=None):
        self.torch = torch
        self.dtype = dtype  # of torch's side, where it is to be wider than ours
        self.leaves = []
        self.known = {}  # a tensor given twice stays one

    def widened(self, value):
        """Torch's own arguments with float32 tensors in float64."""
        if isinstance(value, self.torch.Tensor):
            wide = value.detach().to(self.dtype) if value.dtype is self.torch.float32 else value
            return wide.requires_grad_(value.requires_grad) if wide is not value else value
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(map(self.widened, value)) if type(value) in (list, tuple) else value
        if isinstance(value, dict):
            return {name: self.widened(entry) for name, entry in value.items()}
        return value

    def layer(self, theirs):
        """Our encoder layer with the sizes and the weights of torch's."""
        ours = pe.nn.TransformerEncoderLayer(
            theirs.self_attn.embed_dim, theirs.self_attn.num_heads, theirs.linear1.out_features, theirs.dropout.p,
            self.over(theirs.activation), theirs.norm1.eps, theirs.self_attn.batch_first, theirs.norm_first,
            theirs.linear1.bias is not None,
        )  # fmt: skip
        ours.load_state_dict({name: self.over(t.detach()) for name, t in theirs.state_dict().items()})
        return ours.train(theirs.training)

    def over(self, value):
        """value as this engine takes it."""
        torch = self.torch
        if isinstance(value, torch.Tensor):
            if id(value) not in self.known:
                self.known[id(value)] = value, self.tensor(value)
            return self.known[id(value)][1]
        if isinstance(value, torch.nn.TransformerEncoderLayer):
            return self.layer(value)
        if callable(value) and getattr(value, "__name__", "") in pe.nn.functional.__all__:
            return getattr(pe.nn.functional, value.__name__)
        if isinstance(value, torch.memory_format):
            return getattr(pe, str(value).removeprefix("torch."))
        if isinstance(value, torch.dtype):
            return pe._core.dtype_of(str(value).removeprefix("torch."))
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(map(self.over, value)) if type(value) in (list, tuple) else tuple(map(self.over, value))
        if isinstance(value, dict):
            return {name: self.over(entry) for name, entry in value.items() if name not in DROPPED}
        return value

    def tensor(self, value):
        flat = value.detach().clone()  # torch's lazy zeros become real ones
        if self.dtype is not None and flat.dtype is self.dtype:
            flat = flat.float()
        if flat.dtype in (self.torch.bfloat16, self.torch.float16):
            ours = pe.tensor(flat.float().numpy()).to(str(flat.dtype).removeprefix("torch."))
        else:
            ours = pe.tensor(np.array(flat.resolve_conj().numpy()))
        if value.requires_grad:
            ours.requires_grad_()
            self.leaves.append((value, ours))
        return ours


def tensors_of(result, kind):
    """All tensors of a result, in order."""
    if isinstance(result, kind):
        return [result]
    if isinstance(result, dict):
        return [t for entry in result.values() for t in tensors_of(entry, kind)]
    if isinstance(result, (list, tuple)):
        return [t for entry in result for t in tensors_of(entry, kind)]
    return []


def array(tensor):
    tensor = tensor.detach()
    return (tensor.float() if str(tensor.dtype).endswith(("bfloat16", "float16")) else tensor).numpy()


def difference(ours, theirs, what):
    """None, or how two tensors differ."""
    a, b = array(ours), array(theirs)
    if a.shape != b.shape:
        return f"{what}: shape {a.shape}, torch {b.shape}"
    if (a.dtype.kind in "fc") != (b.dtype.kind in "fc") or (a.dtype.kind == "b") != (b.dtype.kind == "b"):
        return f"{what}: {a.dtype}, torch {b.dtype}"
    if a.dtype.kind in "fc" and not np.allclose(a, b, RTOL, ATOL * max(1.0, largest(b)), equal_nan=True):
        return f"{what}: off by {np.nanmax(np.abs(a.astype(float) - b)):.3g}, largest {largest(b):.3g}"
    if a.dtype.kind not in "fc" and not np.array_equal(a, b):
        return f"{what}: other values"
    return None


def largest(x):
    finite = np.abs(x[np.isfinite(x)])
    return float(finite.max()) if finite.size else 0.0


def weights(shape):
    """Fixed numbers that make one loss of a result, none of them 0."""
    count = int(np.prod(shape))
    return (1.25 + np.cos(np.arange(count))).astype(np.float32).reshape(shape)


def compared(torch, ours, theirs, leaves, random=False, backward=True):
    """None where results and gradients agree; else what does not."""
    a, b = tensors_of(ours, pe.Tensor), tensors_of(theirs, torch.Tensor)
    if len(a) != len(b):
        return f"{len(a)} results, torch {len(b)}"
    if not b:
        return None if ours == theirs or random else f"{ours!r}, torch {theirs!r}"
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if random:
            if tuple(x.shape) != tuple(y.shape):
                return f"result {i}: shape {x.shape}, torch {tuple(y.shape)}"
        elif wrong := difference(x, y, f"result {i}"):
            return wrong
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if y.requires_grad and y.is_floating_point()]
    if random or not backward or not leaves or not pairs:
        return None
    if missing := [i for i, (x, _) in enumerate(pairs) if not x.requires_grad]:
        return f"result {missing[0]} does not require grad"
    loss = sum((y * torch.tensor(weights(tuple(y.shape)), dtype=y.dtype)).sum() for _, y in pairs)
    expected = torch.autograd.grad(loss, [t for t, _ in leaves], allow_unused=True)
    total = None
    for x, y in pairs:
        term = (x * pe.tensor(weights(tuple(y.shape)))).sum()
        total = term if total is None else total + term
    total.backward()
    for i, ((_, leaf), want) in enumerate(zip(leaves, expected, strict=True)):
        if want is None:
            if leaf.grad is not None and np.any(array(leaf.grad)):
                return f"gradient {i}: torch has none"
        elif leaf.grad is None:
            if np.any(want.numpy()):
                return f"gradient {i}: none"
        elif wrong := difference(leaf.grad, want, f"gradient {i}"):
            return wrong
    return None
