"""gradcheck: a derivative against differences of the function."""

from pyengine._core import Tensor, grad
from pyengine.autograd.mode import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """What gradcheck raises: which derivative differs, and how far."""


def _tensors(outputs):
    outputs = outputs if isinstance(outputs, (tuple, list)) else (outputs,)
    return [y for y in outputs if isinstance(y, Tensor) and y.is_floating_point()]


def _values(func, inputs):
    """func's outputs as float64 arrays."""
    with no_grad():
        return [y.detach().double().numpy().copy() for y in _tensors(func(*inputs))]


def _numerical(func, inputs, position, eps):
    """d outputs / d inputs[position] by a difference of fourth order: one array (elements of x, elements of y) each."""
    import numpy

    x = inputs[position]
    start = x.detach().numpy().copy()
    flat, columns = start.reshape(-1), []
    for i in range(start.size):
        sums = None
        value, h = flat[i], numpy.float32(eps) * max(1.0, abs(float(flat[i])))
        taken = []
        for step, factor in ((2, -1.0), (1, 8.0), (-1, -8.0), (-2, 1.0)):
            moved = start.copy()
            moved.reshape(-1)[i] = value + numpy.float32(step * h)
            taken.append(float(moved.reshape(-1)[i]))
            with no_grad():
                x.copy_(moved)
            terms = [factor * y for y in _values(func, inputs)]
            sums = terms if sums is None else [a + b for a, b in zip(sums, terms, strict=True)]
        width = (8 * (taken[1] - taken[2]) - (taken[0] - taken[3])) / 12  # h as float32 took it
        columns.append([(s / (12 * width)).reshape(-1) for s in sums])
    with no_grad():
        x.copy_(start)
    count = len(_values(func, inputs))
    size = [y.size for y in _values(func, inputs)]
    return [numpy.array([c[k] for c in columns]).reshape(start.size, size[k]) for k in range(count)]


def _analytical(outputs, inputs, wanted, k):
    """d outputs[k] / d inputs[i] for i in wanted by one backward pass an element."""
    import numpy

    from pyengine import from_numpy

    y = outputs[k]
    jacobians = [numpy.zeros((inputs[i].numel(), y.numel())) for i in wanted]
    for j in range(y.numel()):
        seed = numpy.zeros(y.shape, numpy.float32)
        seed.reshape(-1)[j] = 1.0
        if not y.requires_grad:
            break
        gradients = grad(y, [inputs[i] for i in wanted], from_numpy(seed), retain_graph=True, allow_unused=True)
        for jacobian, g in zip(jacobians, gradients, strict=True):
            if g is not None:
                jacobian[:, j] = g.detach().double().numpy().reshape(-1)
    return jacobians


def _compare(analytical, numerical, where, eps, rtol, atol):
    import numpy

    gap = numpy.abs(analytical - numerical)
    bad = ~(gap <= atol + rtol * numpy.abs(numerical))
    if bad.any():
        worst = numpy.unravel_index(numpy.argmax(numpy.where(bad, numpy.nan_to_num(gap, nan=numpy.inf), -1)), gap.shape)
        raise GradcheckError(
            f"gradcheck: the derivative of output {where[0]} with respect to input {where[1]} is wrong: at element "
            f"{worst[0]} of the input and {worst[1]} of the output {analytical[worst]:.6g} was computed, "
            f"{numerical[worst]:.6g} is the difference quotient (eps={eps}, rtol={rtol}, atol={atol})"
        )


def gradcheck(func, inputs, *, eps=1e-2, atol=2e-3, rtol=2e-3, raise_exception=True, nondet_tol=0.0, fast_mode=False):
    """Compares the derivatives of func at inputs with differences of func; True, or a GradcheckError.

    The engine computes in float32, so eps is wide and the difference is one of fourth order (points at eps and 2 eps to
    both sides, times |x| where that is above 1): its error is about 1e-5 where func is smooth. Within 2 eps of a kink
    (relu at 0) it is meaningless. torch's defaults are for float64.

    Arguments: inputs, a Tensor or a tuple; those with requires_grad are checked. raise_exception, False returns False.
    nondet_tol, how far two backward passes may differ. fast_mode is accepted and does the same.

    >>> import pyengine as pe
    >>> gradcheck(pe.sin, pe.tensor([0.5, 1.0], requires_grad=True))
    True
    """
    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    try:
        return _gradcheck(func, inputs, eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False


def _gradcheck(func, inputs, eps, atol, rtol, nondet_tol):
    import numpy

    wanted = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ValueError("gradcheck: at least one input must require grad")
    for i in wanted:
        if not inputs[i].is_leaf:
            raise ValueError(f"gradcheck: input {i} is no leaf: pass x.detach().requires_grad_()")
    numerical = {i: _numerical(func, inputs, i, eps) for i in wanted}
    with enable_grad():  # after the differences, which write the inputs
        outputs = _tensors(func(*inputs))
    for k in range(len(outputs)):
        analytical = _analytical_twice(outputs, inputs, wanted, k, nondet_tol)
        for i, jacobian in zip(wanted, analytical, strict=True):
            if not numpy.isfinite(numerical[i][k]).all():
                raise GradcheckError(f"gradcheck: output {k} is not finite near input {i}")
            _compare(jacobian, numerical[i][k], (k, i), eps, rtol, atol)
    return True


def _analytical_twice(outputs, inputs, wanted, k, nondet_tol):
    import numpy

    first, second = (_analytical(outputs, inputs, wanted, k) for _ in range(2))
    for i, a, b in zip(wanted, first, second, strict=True):
        if a.size and not (numpy.abs(a - b) <= nondet_tol).all():
            raise GradcheckError(f"gradcheck: two backward passes of output {k} differ at input {i}")
    return first


def gradgradcheck(func, inputs, grad_outputs=None, *, eps=1e-2, atol=5e-3, rtol=5e-3, raise_exception=True,
                  nondet_tol=0.0, fast_mode=False):  # fmt: skip
    """gradcheck of func's gradient: are second derivatives right? grad_outputs: the outputs' own gradients, normal
    draws of a seed of their own where not given.

    >>> import pyengine as pe
    >>> gradgradcheck(pe.exp, pe.tensor([0.5, 1.0], requires_grad=True))
    True
    """
    from pyengine import Generator, ops

    inputs = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    wanted = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    outputs = [y for y in _tensors(func(*inputs)) if y.requires_grad]
    if grad_outputs is None:
        generator = Generator(0)
        seeds = [ops.randn(*y.shape, generator=generator).requires_grad_() for y in outputs]
    else:
        seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)

    def gradients(*args):
        given, weights = args[: len(inputs)], args[len(inputs) :]
        with enable_grad():
            ys = [y for y in _tensors(func(*given)) if y.requires_grad]
            xs = [x for x in given if isinstance(x, Tensor) and x.requires_grad]
            return grad(ys, xs, list(weights), create_graph=True, allow_unused=True, materialize_grads=True)

    if not wanted or not outputs:
        raise ValueError("gradgradcheck: at least one input must require grad and reach an output")
    return gradcheck(gradients, (*inputs, *seeds), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
                     nondet_tol=nondet_tol, fast_mode=fast_mode)  # fmt: skip
