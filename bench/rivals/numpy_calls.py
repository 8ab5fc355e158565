"""NumPy's calls: what its OpenBLAS makes of them. At its best the result's memory is given, not allocated."""

import numpy as np

THREADS, TUNED = 1, False


def prepare(threads, tuned):
    global THREADS, TUNED
    THREADS, TUNED = threads, tuned  # OPENBLAS_NUM_THREADS is in the environment


def about():
    try:
        import threadpoolctl

        blas = next(lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas")
        path, threads = f"{blas['internal_api']} {blas['version']}, core {blas['architecture']}", blas["num_threads"]
    except (ImportError, StopIteration):
        blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        path, threads = f"{blas['name']} {blas['version']}, core unknown (needs threadpoolctl)", THREADS
    return {"version": np.__version__, "threads": threads, "path": path}


def to_numpy(result):
    return result


def matmul(p, make):
    a, b = make.operands(p)
    if TUNED:
        out = np.empty((*a.shape[:-1], b.shape[-1]), np.float32)
        return {"": [lambda: np.matmul(a, b, out=out)]}
    return {"": [lambda: a @ b]}


def linear(p, make):
    x, weights, bias = make.linear(p)

    def plain(w):
        y = x @ w
        y += bias
        return y

    calls = {"": [lambda w=w: plain(w.T) for w in weights]}
    if TUNED:
        turned = [np.ascontiguousarray(w.T) for w in weights]
        calls["(in, out)"] = [lambda w=w: plain(w) for w in turned]
    return calls


def mlp_infer(p, make):
    x, layers = make.images(p), [(w.T, b) for w, b in make.layers(p)]

    def forward(layers):
        y = x
        for w, b in layers[:-1]:
            y = y @ w
            y += b
            np.maximum(y, 0, out=y)
        return y @ layers[-1][0] + layers[-1][1]

    calls = {"": [lambda: forward(layers)]}
    if TUNED:
        turned = [(np.ascontiguousarray(w), b) for w, b in layers]
        calls["(in, out)"] = [lambda: forward(turned)]
    return calls


BUILDERS = {"matmul": matmul, "linear": linear, "mlp_infer": mlp_infer}
