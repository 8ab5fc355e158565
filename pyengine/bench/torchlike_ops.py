"""Operations and optimizers under PyTorch's names: `engine` is pyengine or torch."""

import operator


def simple(engine, p, make):
    """A call of one operation; reductions are over rows."""
    (x, y), name = (engine.from_numpy(make.array(*p["shape"], seed=seed)) for seed in (1, 2)), p["op"]
    if name in ("add", "mul"):
        function = getattr(operator, name)
        return lambda: function(x, y)
    if name in ("sum", "mean"):
        method = getattr(x, name)
        return lambda: method(1)
    function = {"max": engine.amax, "gelu": engine.nn.functional.gelu}.get(name) or getattr(engine, name)
    return (lambda: function(x, 1)) if name == "max" else lambda: function(x)


def both_ways(engine, p, make):
    """Forward and the gradients to rows (and to weights)."""
    functional, grad, (rows, columns) = engine.nn.functional, engine.autograd.grad, p["shape"]
    x, given = (engine.from_numpy(make.array(rows, columns, seed=seed)) for seed in (1, 2))
    w, b = (engine.from_numpy(make.array(columns, seed=seed)).requires_grad_() for seed in (3, 4))
    labels = engine.from_numpy(make.np.random.default_rng(7).integers(0, columns, rows))
    x.requires_grad_()
    if p["op"] == "cross_entropy":
        return lambda: list(grad(functional.cross_entropy(x, labels), [x]))
    forward, asked = {
        "softmax": (lambda: functional.softmax(x, -1), [x]),
        "layer_norm": (lambda: functional.layer_norm(x, (columns,), w, b), [x, w, b]),
        "rms_norm": (lambda: functional.rms_norm(x, (columns,), w), [x, w]),
    }[p["op"]]

    def call():
        y = forward()
        return [y, *grad(y, asked, given)]

    return call


def operands(engine, p, make):
    """query, key and value."""
    return [engine.from_numpy(make.array(*p[name], seed=seed)) for seed, name in enumerate(("query", "key", "key"))]


def attention(engine, p, make):
    attend, qkv = engine.nn.functional.scaled_dot_product_attention, operands(engine, p, make)
    grouped = p["query"][1] != p["key"][1]
    return lambda: attend(*qkv, is_causal=p["causal"], enable_gqa=grouped)


def attention_backward(engine, p, make):
    """The gradients alone."""
    qkv, given = operands(engine, p, make), engine.from_numpy(make.array(*p["query"], seed=3))
    for x in qkv:
        x.requires_grad_()
    y = engine.nn.functional.scaled_dot_product_attention(*qkv, is_causal=p["causal"])
    return lambda: list(engine.autograd.grad(y, qkv, given, retain_graph=True))


def tape(engine, p, make):
    """A chain of products and sums on a few floats, and back: what each operation costs beside its arithmetic."""
    x, w = (engine.from_numpy(make.array(p["n"], seed=seed)).requires_grad_() for seed in (1, 2))

    def call():
        y = x
        for _ in range(p["operations"] // 2):
            y = y * w + x
        y.sum().backward()
        found = [y.detach(), x.grad]
        x.grad = w.grad = None
        return found

    return call


def parameters(engine, p, make):
    found = []
    for seed, shape in enumerate(p["shapes"]):
        found.append(engine.nn.Parameter(engine.from_numpy(make.array(*shape, seed=seed)).clone()))
        found[-1].grad = engine.from_numpy(make.array(*shape, seed=seed + 1)).clone()
    return found


def optimizer(engine, p, make, kind=None, **how):
    """A step; after the first, what became of three weights' tensors."""
    weights = parameters(engine, p, make)
    made = (kind or getattr(engine.optim, p["name"]))(weights, **p["options"], **how)

    def call():
        made.step()
        return [w.detach() for w in (weights[0], weights[2], weights[-1])]

    return call
