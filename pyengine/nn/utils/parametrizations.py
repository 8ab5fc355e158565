"""Weights of unit norm times a length, of spectral norm 1, and orthogonal ones."""

import pyengine as pe
from pyengine import Tensor, _core, no_grad
from pyengine.ops._method import rule

from ..module import Module
from .parametrize import register_parametrization

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _weight_of(module, name, what):
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"{what}: {type(module).__name__} has no parameter or buffer {name!r}")
    return weight


def _norm(x, dims, keepdim=True):
    return (x * x).sum(dims, keepdim).sqrt()


# ---- weight norm -----------------------------------------------------------------


class _WeightNorm(Module):
    """w = g v / |v|, the norm over all axes but dim."""

    def __init__(self, dim=0):
        super().__init__()
        self.dim = dim

    def _norm_of(self, v):
        if self.dim is None or self.dim == -1:
            return _norm(v, None, False)
        return _norm(v, tuple(i for i in range(v.ndim) if i != self.dim % v.ndim) or None) if v.ndim > 1 else v.abs()

    def forward(self, g, v):
        return v * (g / self._norm_of(v))

    def right_inverse(self, weight):
        return self._norm_of(weight), weight


def weight_norm(module, name="weight", dim=0):
    """module.<name> = g v / |v|: length and direction are learned apart. (Salimans & Kingma 2016)

    g and v are parametrizations.<name>.original0 and original1. dim: the axis that keeps a length each; None or -1: one
    length for all. State dicts of torch's older form (<name>_g, <name>_v) load too.

    >>> import pyengine as pe
    >>> layer = weight_norm(pe.nn.Linear(3, 2))
    >>> {name: p.shape for name, p in layer.named_parameters()}["parametrizations.weight.original0"]
    (2, 1)
    """
    weight = _weight_of(module, name, "weight_norm")
    if dim is not None and not -weight.ndim <= dim < weight.ndim:
        raise IndexError(f"weight_norm: axis {dim} is out of range for shape {weight.shape}")
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def older(module, state, prefix, *others):
        for i, part in enumerate("gv"):
            if f"{prefix}{name}_{part}" in state:
                state[f"{prefix}parametrizations.{name}.original{i}"] = state.pop(f"{prefix}{name}_{part}")

    module.register_load_state_dict_pre_hook(older)
    return module


# ---- spectral norm ---------------------------------------------------------------


class _SpectralNorm(Module):
    """w / sigma, sigma = u^T W v with the first singular vectors by power iteration."""

    def __init__(self, weight, n_power_iterations=1, dim=0, eps=1e-12):
        super().__init__()
        if not -weight.ndim <= dim < max(weight.ndim, 1):
            raise IndexError(f"spectral_norm: axis {dim} is out of range for shape {weight.shape}")
        if n_power_iterations <= 0:
            raise ValueError(f"spectral_norm: n_power_iterations must be positive, got {n_power_iterations}")
        self.dim = dim % max(weight.ndim, 1)
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim > 1:
            with no_grad():
                matrix = self._matrix(weight.detach())
                self.register_buffer("_u", self._unit(pe.randn(matrix.shape[0])))
                self.register_buffer("_v", self._unit(pe.randn(matrix.shape[1])))
                self._iterate(matrix, 15)

    def _unit(self, x):
        return x / _norm(x, None, False).clamp(min=self.eps)

    def _matrix(self, weight):
        if self.dim:
            weight = weight.permute(self.dim, *(i for i in range(weight.ndim) if i != self.dim))
        return weight.reshape(weight.shape[0], -1)

    def _iterate(self, matrix, times):
        for _ in range(times):
            self._u.copy_(self._unit(matrix @ self._v))
            self._v.copy_(self._unit(matrix.transpose(0, 1) @ self._u))

    def forward(self, weight):
        if weight.ndim == 1:
            return self._unit(weight)
        matrix = self._matrix(weight)
        if self.training:
            with no_grad():
                self._iterate(matrix.detach(), self.n_power_iterations)
        # clones: the next call writes _u and _v while this one's gradient still needs them
        sigma = (self._u.clone() * (matrix @ self._v.clone())).sum()
        return weight / sigma

    def right_inverse(self, value):
        return value


def spectral_norm(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """module.<name> = W / sigma(W), its largest singular value by power iteration, one step a call in training.
    (Miyato et al. 2018)

    Arguments: dim, the axis of outputs (1 for transposed convolutions, else 0).

    >>> import pyengine as pe
    >>> layer = spectral_norm(pe.nn.Linear(4, 4), n_power_iterations=20)
    >>> x = pe.randn(100, 4)
    >>> bool((layer.weight @ x.T).square().sum(0).sqrt().amax() <= x.square().sum(1).sqrt().amax() * 1.01)
    True
    """
    weight = _weight_of(module, name, "spectral_norm")
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return register_parametrization(module, name, _SpectralNorm(weight.detach(), n_power_iterations, dim, eps))


# ---- orthogonal weights ----------------------------------------------------------


def _inverse(a):
    """The inverse of a matrix, off the kernels: NumPy's, with the derivative -A^-T g A^-T."""
    import numpy

    made = pe.from_numpy(numpy.linalg.inv(a.detach().double().numpy()).astype(numpy.float32))
    return _core.record(made, "matrix_inverse", (a,), (made,))


@rule("matrix_inverse")
def _inverse_rule(node, g):
    (inverse,) = node.saved
    turned = inverse.transpose(0, 1)
    return -(turned @ g @ turned)


def _exponential(a):
    """e^A by scaling and squaring: a Taylor sum of A / 2^s, squared s times."""
    size = float(a.detach().abs().sum(1).amax().item())
    squarings = 0
    while size > 0.5:
        size, squarings = size / 2, squarings + 1
    a = a * (0.5**squarings)
    total = term = pe.eye(a.shape[0])
    for k in range(1, 11):  # 0.5^11 / 11! is far below a float's last bit
        term = (term @ a) * (1.0 / k)
        total = total + term
    for _ in range(squarings):
        total = total @ total
    return total


def _reflections(x):
    """The first columns of H_1 H_2 ... with H = 1 - tau v v^T, v the columns of x below a 1 on the diagonal."""
    n, k = x.shape
    made = pe.eye(n, k)
    unit = pe.eye(n, k)
    below = x * pe.from_numpy(_lower(n, k, -1)) + unit
    for i in reversed(range(k)):
        v = below[:, i : i + 1]
        made = made - (v * (2.0 / (v * v).sum())) @ (v.transpose(0, 1) @ made)
    return made


def _lower(n, k, diagonal):
    import numpy

    return numpy.tril(numpy.ones((n, k), numpy.float32), diagonal)


class _Orthogonal(Module):
    """base times an orthogonal function of x that is the identity where x starts."""

    def __init__(self, weight, orthogonal_map, use_trivialization):
        super().__init__()
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x):
        wide = x.shape[0] < x.shape[1]
        x = x.transpose(0, 1) if wide else x
        n, k = x.shape
        if self.orthogonal_map == "householder":
            q = _reflections(x) * pe.from_numpy(_sign_of_diagonal(x))
        else:
            x = x * pe.from_numpy(_lower(n, k, 0))
            if n != k:
                x = pe.cat([x, pe.zeros(n, n - k)], 1)
            skew = x - x.transpose(0, 1)
            q = _exponential(skew) if self.orthogonal_map == "matrix_exp" else _cayley(skew)
            q = q[:, :k]
        if self.use_trivialization:
            q = self.base @ q
        return q.transpose(0, 1) if wide else q

    def right_inverse(self, value):
        import numpy

        if not self.use_trivialization and self.orthogonal_map != "householder":
            raise NotImplementedError(f"orthogonal: {self.orthogonal_map} needs use_trivialization to be assigned")
        given = value.detach().double().numpy()
        wide = given.shape[0] < given.shape[1]
        tall = given.T if wide else given
        if not self.use_trivialization:
            made = _reflectors(tall)
            return pe.from_numpy(numpy.ascontiguousarray(made.T if wide else made).astype(numpy.float32))
        n, k = tall.shape
        rest = pe.randn(n, n - k).double().numpy() if n > k else numpy.zeros((n, 0))
        q, r = numpy.linalg.qr(numpy.concatenate([tall, rest], 1))
        self.base = pe.from_numpy((q * numpy.where(numpy.diag(r) < 0, -1.0, 1.0)).astype(numpy.float32))
        start = numpy.zeros(given.shape, numpy.float32)
        numpy.fill_diagonal(start, -1.0)  # H_i(e_i) turns its axis round, and the sign turns it back
        return pe.from_numpy(start)


def _sign_of_diagonal(x):
    import numpy

    return numpy.sign(numpy.diag(x.detach().numpy())).astype(numpy.float32)


def _cayley(skew):
    """(1 - A/2)^-1 (1 + A/2)."""
    unit = pe.eye(skew.shape[0])
    return _inverse(unit - skew * 0.5) @ (unit + skew * 0.5)


def _reflectors(q):
    """What _reflections times signs makes q (or its orthogonal factor) of: the columns below the diagonal, and the
    signs on it."""
    import numpy

    work, made = q.copy(), numpy.zeros_like(q)
    for i in range(q.shape[1]):
        column = work[i:, i]
        alpha = -numpy.copysign(numpy.linalg.norm(column), column[0])
        v = column.copy()
        v[0] -= alpha
        v /= v[0]
        work[i:] -= numpy.outer(v * (2.0 / (v @ v)), v @ work[i:])
        made[i + 1 :, i] = v[1:]
        made[i, i] = numpy.sign(work[i, i])
    return made


def orthogonal(module, name="weight", orthogonal_map=None, *, use_trivialization=True):
    """module.<name> has orthonormal rows or columns, whichever are fewer, whatever is learned.

    Arguments: orthogonal_map, "matrix_exp" (square matrices' default), "cayley", or "householder" (the others');
    use_trivialization, start from a fixed orthogonal base, so that any weight can be assigned. (Lezcano-Casado 2019)

    >>> import pyengine as pe
    >>> w = orthogonal(pe.nn.Linear(3, 3)).weight.detach()
    >>> bool((w @ w.T - pe.eye(3)).abs().amax() < 1e-5)
    True
    """
    weight = _weight_of(module, name, "orthogonal")
    if weight.ndim != 2:
        raise ValueError(f"orthogonal: a matrix is needed, got shape {weight.shape}")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[0] == weight.shape[1] else "householder"
    if orthogonal_map not in ("matrix_exp", "cayley", "householder"):
        raise ValueError(
            f"orthogonal: orthogonal_map must be 'matrix_exp', 'cayley' or 'householder', got {orthogonal_map!r}"
        )
    made = _Orthogonal(weight.detach(), orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
