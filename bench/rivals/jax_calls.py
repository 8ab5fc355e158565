"""jax's calls: jitted functions, waited for. Its CPU threads follow the processors that the process may use."""

import os

import numpy as np

THREADS = 1


def prepare(threads, tuned):
    global THREADS
    THREADS = threads
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])  # before jax makes its pool


def about():
    import jax
    import jaxlib

    return {"version": f"{jax.__version__}, jaxlib {jaxlib.__version__}", "threads": THREADS,
            "path": f"XLA {jax.default_backend()}"}  # fmt: skip


def to_numpy(result):
    if isinstance(result, tuple):
        return [to_numpy(one) for one in result]
    return np.asarray(result, np.float32)


def compiled(function, *values):
    import jax

    values = [jax.device_put(value) for value in values]
    run = jax.jit(function)
    return lambda: jax.block_until_ready(run(*values))


def matmul(p, make):
    return {"": [compiled(lambda a, b: a @ b, *make.operands(p))]}


def matmul_bf16(p, make):
    import jax.numpy as jnp

    return {"": [compiled(lambda a, b: a @ b, *(jnp.asarray(v, jnp.bfloat16) for v in make.operands(p)))]}


def linear(p, make):
    import jax

    x, weights, bias = make.linear(p)
    run = jax.jit(lambda x, w, b: x @ w.T + b)
    x, bias, weights = jax.device_put(x), jax.device_put(bias), [jax.device_put(w) for w in weights]
    return {"": [lambda w=w: run(x, w, bias).block_until_ready() for w in weights]}


def convolution(p, make):
    """The function, and its input and weight."""
    import jax

    border = [(each, each) for each in p["padding"]]
    names = ("NCHW", "OIHW", "NCHW") if len(p["size"]) == 2 else ("NCH", "OIH", "NCH")
    x, weight, bias = make.convolution(p)

    def call(x, w):
        return jax.lax.conv_general_dilated(x, w, p["stride"], border, dimension_numbers=names,
                                            feature_group_count=p["groups"])  # fmt: skip

    return call, x, weight, bias.reshape(-1, *[1] * len(p["size"]))


def conv(p, make):
    if p["transposed"] or p["groups"] > 1:  # depthwise XLA is 50 times slower than the others, and takes their rounds
        return {}
    call, x, weight, bias = convolution(p, make)
    return {"": [compiled(lambda x, w, b: call(x, w) + b, x, weight, bias)]}


def conv_backward(p, make):
    if p["groups"] > 1:
        return {}
    import jax

    call, x, weight, _ = convolution(p, make)
    y = jax.eval_shape(call, x, weight)

    def gradients(x, w, given):
        dx, dw = jax.vjp(call, x, w)[1](given)
        return (dw, dx) if p["dx"] else (dw,)

    return {"": [compiled(gradients, x, weight, make.array(*y.shape, seed=2))]}


def forward(layers, x):
    import jax.numpy as jnp

    for w, b in layers[:-1]:
        x = jnp.maximum(x @ w.T + b, 0)
    return x @ layers[-1][0].T + layers[-1][1]


def mlp_infer(p, make):
    return {"": [compiled(forward, [tuple(pair) for pair in make.layers(p)], make.images(p))]}


def mlp_train(p, make):
    import jax
    import jax.numpy as jnp

    x, labels = jax.device_put(make.images(p)), jax.device_put(make.labels(p))

    def loss_of(layers):
        logits = jax.nn.log_softmax(forward(layers, x))
        return -jnp.mean(jnp.take_along_axis(logits, labels[:, None], 1))

    def sgd(state):
        layers, *_ = state
        loss, grads = jax.value_and_grad(loss_of)(layers)
        return (loss, grads[0][0]), (jax.tree.map(lambda w, g: w - 1e-3 * g, layers, grads),)

    def adam(state):
        layers, m, v, t = state
        loss, grads = jax.value_and_grad(loss_of)(layers)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)

        def moved(w, m, v):
            return w - 1e-5 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)

        return (loss, grads[0][0]), (jax.tree.map(moved, layers, m, v), m, v, t)

    layers = [tuple(map(jax.device_put, pair)) for pair in make.layers(p)]
    m, v = (jax.tree.map(jnp.zeros_like, layers) for _ in range(2))
    held = {"state": (layers,) if p["optimizer"] == "sgd" else (layers, m, v, jnp.float32(0))}
    step = jax.jit(sgd if p["optimizer"] == "sgd" else adam, donate_argnums=0)

    def call():
        result, held["state"] = step(held["state"])
        return jax.block_until_ready(result)

    return {"": [call]}


BUILDERS = {
    "matmul": matmul, "matmul_bf16": matmul_bf16, "linear": linear, "mlp_infer": mlp_infer, "mlp_train": mlp_train,
    "conv": conv, "conv_backward": conv_backward,
}  # fmt: skip
