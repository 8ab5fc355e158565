"""Shapes, indexing and products beside torch: its own samples forward and backward, its own wrong calls, and images in
many sizes."""

import itertools

import agreement
import numpy as np
import pytest
from crossing import Crossing
from require import require

import pyengine as pe
from pyengine.nn import functional as F

try:
    import torch
except ImportError:
    torch = None

SHAPES = """split chunk tensor_split hsplit vsplit dsplit unbind narrow select flip fliplr flipud roll rot90 repeat tile
repeat_interleave movedim unflatten ravel hstack vstack dstack column_stack cat broadcast_to broadcast_tensors
broadcast_shapes atleast_1d atleast_2d atleast_3d squeeze expand_as view_as reshape_as meshgrid cartesian_prod
block_diag diag diagonal diag_embed diagflat trace tril triu tril_indices triu_indices unfold nn.functional.pad
nn.functional.unfold nn.functional.one_hot"""
INDICES = """gather scatter scatter_add scatter_reduce index_select index_add index_copy index_fill index_put take
take_along_dim masked_fill masked_select masked_scatter nonzero argwhere where topk sort argsort kthvalue msort unique
unique_consecutive bincount searchsorted bucketize histc linspace logspace full_like empty_like rand_like randn_like
randint randint_like bernoulli multinomial new_zeros new_ones new_full new_empty type_as __getitem__"""
PRODUCTS = """mm bmm mv dot vdot inner outer ger addmv addbmm addr einsum tensordot kron linalg.multi_dot
linalg.matrix_power linalg.cross linalg.vecdot cross matrix_power chain_matmul cdist nn.functional.bilinear
nn.functional.cosine_similarity nn.functional.normalize nn.functional.pairwise_distance nn.functional.pdist
nn.functional.pixel_shuffle nn.functional.pixel_unshuffle nn.functional.channel_shuffle nn.functional.interpolate
nn.functional.upsample_nearest nn.functional.upsample_bilinear nn.functional.grid_sample"""
NAMES = f"{SHAPES} {INDICES} {PRODUCTS}".split()

# cat's word for shapes that do not fit is ValueError; complex numbers are none to a float tensor
OTHER_ERRORS = {"hstack", "vstack", "dstack", "cat", "masked_fill", "narrow"}


@pytest.fixture(autouse=True)
def torch_is_there():
    require("torch", torch is not None, "torch is not installed: pip install torch")


def operations(name):
    """torch's entries of a name."""
    pytest.importorskip("expecttest")
    from torch.testing._internal.common_methods_invocations import op_db

    torch.manual_seed(0)
    return [op for op in op_db if op.name == name and torch.float32 in op.dtypes]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_samples(name):
    random = agreement.re.fullmatch(agreement.RANDOM, name) is not None
    for op in operations(name):
        for sample in op.sample_inputs("cpu", torch.float32, requires_grad=op.supports_autograd):
            if agreement.crosses(torch, sample):
                wrong = agreement.one_sample(torch, agreement.offered(name), op, sample, random)
                assert wrong is None, (wrong, sample)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OTHER_ERRORS])
@pytest.mark.filterwarnings("ignore")
def test_error_types(name):
    for op in operations(name):
        for case in op.error_inputs("cpu") if op.error_inputs_func else ():
            sample, crossing = case.sample_input, Crossing(torch)
            if "out" in sample.kwargs or not agreement.crosses(torch, sample):
                continue
            try:
                arguments = crossing.over([sample.input, *sample.args])
                named = crossing.over(dict(sample.kwargs))
            except (TypeError, KeyError):  # of a type that this engine has not
                continue
            with pytest.raises(case.error_type):
                agreement.offered(name)(*arguments, **named)


def both(ours, theirs, *shapes, rtol=1e-4, atol=1e-5):
    """Values and gradients of two functions of the same random inputs."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=s).astype(np.float32) for s in shapes]
    leaves = [pe.tensor(v, requires_grad=True) for v in values]
    other = [torch.tensor(v, requires_grad=True) for v in values]
    a, b = ours(*leaves), theirs(*other)
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol, atol)
    g = rng.normal(size=a.shape).astype(np.float32)
    a.backward(pe.tensor(g))
    b.backward(torch.tensor(g))
    for x, y in zip(leaves, other, strict=True):
        mine = np.zeros(x.shape) if x.grad is None else x.grad.numpy()
        np.testing.assert_allclose(mine, y.grad.numpy(), rtol, atol)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(1, 1), (3, 8), (14, 10), (5, 13), (7, 5), (2, 31)])
def test_interpolate_sizes(mode, size):
    options = [{}]
    if mode.startswith("bi"):
        options = [{"align_corners": a, "antialias": b} for a, b in itertools.product((False, True), (False, True))]
    for option in options:
        call = {"size": size, "mode": mode, **option}
        both(lambda x, call=call: F.interpolate(x, **call),
             lambda x, call=call: torch.nn.functional.interpolate(x, **call), (2, 3, 7, 5))  # fmt: skip


@pytest.mark.parametrize("scale", [0.3, 0.5, 1.7, 2, (2.5, 0.6)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
@pytest.mark.parametrize("recompute", [None, True])
def test_interpolate_factors(scale, mode, recompute):
    call = {"scale_factor": scale, "mode": mode, "recompute_scale_factor": recompute}
    both(lambda x: F.interpolate(x, **call), lambda x: torch.nn.functional.interpolate(x, **call), (1, 2, 9, 10))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grids(mode, padding, align):
    call = {"mode": mode, "padding_mode": padding, "align_corners": align}

    def through(functional):
        def run(x, theta):
            return functional.grid_sample(x, functional.affine_grid(theta, (2, 3, 5, 6), align), **call)

        return run

    rng = np.random.default_rng(1)
    theta = rng.normal(size=(2, 2, 3)).astype(np.float32)
    image = rng.normal(size=(2, 3, 4, 7)).astype(np.float32)
    mine, other = ((m(image), m(theta)) for m in (pe.tensor, torch.tensor))
    a, b = through(F)(*mine), through(torch.nn.functional)(*other)
    np.testing.assert_allclose(a.numpy(), b.numpy(), 1e-3, 1e-4)
    both(through(F), through(torch.nn.functional), (2, 3, 4, 7), (2, 2, 3), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("geometry", list(itertools.product([1, 2, (3, 2)], [1, 2], [0, (1, 2)], [1, (2, 1)])), ids=str)
def test_columns(geometry):
    both(lambda x: F.unfold(x, *geometry), lambda x: torch.nn.functional.unfold(x, *geometry), (2, 3, 9, 8))
    columns = torch.nn.functional.unfold(torch.zeros(2, 3, 9, 8), *geometry).shape
    both(lambda x: F.fold(x, (9, 8), *geometry), lambda x: torch.nn.functional.fold(x, (9, 8), *geometry), columns)


EQUATIONS = {
    "bhqd,bhkd->bhqk": ((2, 3, 4, 5), (2, 3, 6, 5)), "...ij,jk": ((2, 3, 4, 5), (5, 6)), "ii->i": ((4, 4),),
    "i...,j->...ij": ((3, 1, 2), (4,)), "ab,bc,cd,da->": ((2, 3), (3, 4), (4, 5), (5, 2)),
    "b...,b...->b": ((2, 3, 4),) * 2,
    "ij,ij->j": ((3, 1), (3, 4)), "aab,bcc->ac": ((3, 3, 2), (2, 4, 4)), "ZA,aZ": ((2, 3), (4, 2)),
}  # fmt: skip


@pytest.mark.parametrize("equation", EQUATIONS)
def test_equations(equation):
    shapes = EQUATIONS[equation]
    both(lambda *x: pe.einsum(equation, *x), lambda *x: torch.einsum(equation, *x), *shapes)
