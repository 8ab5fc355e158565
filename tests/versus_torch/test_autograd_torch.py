"""The same programs in torch and here: the order of hooks, accumulated gradients, kinds of errors, keys, text."""

import importlib.util

import numpy as np
import pytest
from require import require

import pyengine as pe


@pytest.fixture(scope="module")
def torch():
    require("torch", importlib.util.find_spec("torch"), "torch is not installed (pip install torch)")
    import torch

    return torch


def both(torch, program):
    """What program(library, its checkpoint function) gives in either library, numbers as float64."""
    from torch.utils.checkpoint import checkpoint

    ours = program(pe, pe.utils.checkpoint.checkpoint)
    theirs = program(torch, lambda f, *args: checkpoint(f, *args, use_reentrant=False))
    return ours, theirs


def same(torch, program):
    ours, theirs = both(torch, program)
    assert flat(ours, pe.Tensor) == pytest.approx(flat(theirs, torch.Tensor), rel=1e-5, abs=1e-6)


def flat(value, tensor):
    """The numbers and names in a structure, in order."""
    if isinstance(value, tensor):
        return [float(x) for x in value.detach().numpy().ravel()]
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in flat(part, tensor)]
    return [value]


def tokens(value, tensor):
    """Names apart from numbers: what ran in which order."""
    if isinstance(value, (tuple, list)):
        return [x for part in value for x in tokens(part, tensor)]
    return [value] if isinstance(value, str) else []


def order(torch, program):
    ours, theirs = both(torch, program)
    assert tokens(ours, pe.Tensor) == tokens(theirs, torch.Tensor)
    numbers = [
        [x for x in flat(r, kind) if not isinstance(x, str)] for r, kind in ((ours, pe.Tensor), (theirs, torch.Tensor))
    ]
    np.testing.assert_allclose(numbers[0], numbers[1], rtol=1e-5, atol=1e-6)


# ---- hooks -----------------------------------------------------------------------


def test_order_of_tensor_hooks(torch):
    def program(lib, _):
        log = []
        x = lib.tensor([1.0, 2.0], requires_grad=True)
        w = lib.tensor([3.0, 4.0], requires_grad=True)

        def note(name):
            return lambda g: log.append((name, g)) or None

        h = x * w
        for tensor, name in ((x, "x"), (w, "w"), (h, "h")):
            tensor.register_hook(note(name))
            tensor.register_hook(lambda g: g * 2.0)
            tensor.register_hook(note(name + " again"))
        for leaf, name in ((x, "x whole"), (w, "w whole")):
            leaf.register_post_accumulate_grad_hook(lambda p, name=name: log.append((name, p.grad)) or None)
        h.retain_grad()
        h.grad_fn.register_hook(lambda ins, outs: log.append(("node", *ins, *outs)) or None)
        h.grad_fn.register_prehook(lambda outs: log.append(("before node", *outs)) or None)
        (h * h + w).sum().backward()
        return log, h.grad, x.grad, w.grad

    order(torch, program)


def test_order_along_a_chain(torch):
    """Leaves are done as soon as the last gradient has come, not at the end."""

    def program(lib, _):
        log = []
        leaves = [lib.tensor([float(i + 1)], requires_grad=True) for i in range(4)]
        y = leaves[0]
        for i, leaf in enumerate(leaves[1:], 1):
            leaf.register_post_accumulate_grad_hook(lambda p, i=i: log.append(f"leaf {i}") or None)
            y = y * leaf
            y.register_hook(lambda g, i=i: log.append(f"product {i}") or None)
        (y + leaves[2]).sum().backward()
        return log, [leaf.grad for leaf in leaves]

    order(torch, program)


def test_module_hooks(torch):
    def program(lib, _):
        log = []
        nn = lib.nn
        layer, act = nn.Linear(2, 2), nn.Tanh()
        with lib.no_grad():
            layer.weight.copy_(lib.tensor([[0.5, -1.0], [0.25, 2.0]]))
            layer.bias.copy_(lib.tensor([0.1, 0.2]))
        for module, name in ((layer, "layer"), (act, "act")):
            module.register_forward_pre_hook(lambda m, args, name=name: log.append((name + " pre", args[0])) or None)
            module.register_forward_hook(lambda m, args, y, name=name: log.append((name + " post", y)) or None)
            module.register_full_backward_pre_hook(
                lambda m, go, name=name: log.append((name + " back pre", *go)) or None
            )
            module.register_full_backward_hook(
                lambda m, gi, go, name=name: log.append((name + " back", [g for g in gi if g is not None], *go)) or None
            )
        act.register_full_backward_hook(lambda m, gi, go: (gi[0] * 3.0,))
        act(layer(lib.tensor([[1.0, -0.5]]))).sum().backward()
        return log, layer.weight.grad, layer.bias.grad

    order(torch, program)


def test_accumulation_and_checkpoint(torch):
    def program(lib, checkpoint):
        x = lib.tensor([0.5, -1.5], requires_grad=True)
        w = lib.tensor([2.0, 3.0], requires_grad=True)
        for _ in range(3):
            (x * w).sin().sum().backward()
        y = checkpoint(lambda t: (t * w).exp() * t, x * 1.0)
        y.backward(lib.tensor([1.0, 0.5]))
        first = lib.autograd.grad((x * x * w).sum(), x, create_graph=True)[0]
        (first * first).sum().backward(inputs=[w])
        return x.grad, w.grad, first

    same(torch, program)


def test_functional(torch):
    def program(lib, _):
        f = lib.autograd.functional
        a = lib.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])
        x, v = lib.tensor([0.2, -0.4, 0.6]), lib.tensor([1.0, 2.0, 3.0])

        def vector(x):
            return (a @ x).sin()

        def scalar(x):
            return vector(x).exp().sum()

        return (f.jacobian(vector, x), f.hessian(scalar, x), f.jvp(vector, x, v), f.hvp(scalar, x, v),
                f.vjp(vector, x, lib.tensor([1.0, -2.0])), f.vhp(scalar, x, v))  # fmt: skip

    same(torch, program)


def test_custom_functions(torch):
    def program(lib, _):
        log = []

        class Scaled(lib.autograd.Function):
            @staticmethod
            def forward(ctx, x, factor):
                ctx.save_for_backward(x)
                ctx.factor = factor
                log.append(f"needs {ctx.needs_input_grad}")
                return x * factor, x * x

            @staticmethod
            def backward(ctx, g, h):
                (x,) = ctx.saved_tensors
                return g * ctx.factor + 2.0 * x * h, None

        x = lib.tensor([1.0, -2.0], requires_grad=True)
        a, b = Scaled.apply(x, 3.0)
        (first,) = lib.autograd.grad((a * b).sum(), x, create_graph=True)
        (second,) = lib.autograd.grad(first.sum(), x)
        a, _ = Scaled.apply(x, 3.0)
        a.sum().backward()
        return log, first, second, x.grad, a.output_nr

    order(torch, program)


# ---- errors ----------------------------------------------------------------------


def hook_of_wrong_shape(lib):
    x = lib.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda g: lib.ones(3))
    x.sum().backward()


def double_backward(lib):
    y = lib.tensor([1.0], requires_grad=True).exp()
    y.backward()
    y.backward()


def make(lib, backward):
    return type("Made", (lib.autograd.Function,), {"forward": staticmethod(lambda ctx, x: x * 2.0),
                                                   "backward": staticmethod(backward)})  # fmt: skip


def leaf(lib):
    return lib.tensor([1.0, 2.0], requires_grad=True)


ERRORS = {
    "no gradient for a vector": lambda lib: (leaf(lib) * 2.0).backward(),
    "gradient of another shape": lambda lib: (leaf(lib) * 2.0).backward(lib.ones(3)),
    "gradient that is no tensor": lambda lib: (leaf(lib) * 2.0).backward(3.0),
    "nothing requires grad": lambda lib: lib.ones(1).backward(),
    "second backward": double_backward,
    "assigned grad of another shape": lambda lib: setattr(leaf(lib), "grad", lib.ones(3)),
    "assigned grad that is no tensor": lambda lib: setattr(leaf(lib), "grad", 3.0),
    "hook of wrong shape": hook_of_wrong_shape,
    "hook on what has no gradient": lambda lib: lib.ones(2).register_hook(lambda g: g),
    "hook of a result": lambda lib: (leaf(lib) * 2).register_post_accumulate_grad_hook(lambda g: g),
    "retain_grad without gradient": lambda lib: lib.ones(2).retain_grad(),
    "unused input": lambda lib: lib.autograd.grad(leaf(lib).sum(), leaf(lib)),
    "materialize without unused": lambda lib: lib.autograd.grad(leaf(lib).sum(), leaf(lib), allow_unused=False,
                                                                materialize_grads=True),
    "input without gradient": lambda lib: lib.autograd.grad(leaf(lib).sum(), lib.ones(2)),
    "too many gradients": lambda lib: make(lib, lambda ctx, g: (g, g)).apply(leaf(lib)).sum().backward(),
    "gradient of no fitting shape": lambda lib: make(lib, lambda ctx, g: lib.ones(3)).apply(leaf(lib)).sum().backward(),
    "no backward": lambda lib: type("F", (lib.autograd.Function,), {
        "forward": staticmethod(lambda ctx, x: x * 2.0)}).apply(leaf(lib)).sum().backward(),
    "unflatten": lambda lib: lib.nn.Unflatten(1, (3, 3))(lib.zeros(5, 8)),
    "parametrize nothing": lambda lib: lib.nn.utils.parametrize.register_parametrization(
        lib.nn.Linear(2, 2), "nothing", lib.nn.Identity()),
    "remove nothing": lambda lib: lib.nn.utils.parametrize.remove_parametrizations(lib.nn.Linear(2, 2), "weight"),
    "missing keys": lambda lib: lib.nn.Linear(2, 2).load_state_dict({}),
    "no such buffer": lambda lib: lib.nn.Linear(2, 2).get_buffer("nothing"),
    "forgotten pre-hook result": lambda lib: [
        layer.register_forward_pre_hook(lambda m, a, k: 3, with_kwargs=True) and layer(lib.ones(1))
        for layer in [lib.nn.Identity()]],
    "sparse_ of a vector": lambda lib: lib.nn.init.sparse_(lib.empty(3), 0.5),
    "dirac_ of a matrix": lambda lib: lib.nn.init.dirac_(lib.empty(3, 3)),
    "extra state without setter": lambda lib: lib.nn.Linear(2, 2).load_state_dict({"weight": lib.ones(3, 2)}),
    "parameter list index": lambda lib: lib.nn.ParameterList([lib.ones(1)])[3],
    "module dict key": lambda lib: lib.nn.ModuleDict()["none"],
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_of_the_same_kind(torch, name):
    with pytest.raises(Exception) as theirs:
        ERRORS[name](torch)
    with pytest.raises(type(theirs.value)):
        ERRORS[name](pe)


# ---- modules ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["weight_norm", "spectral_norm", "orthogonal"])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_parametrizations(torch, how, shape):
    """The same keys and text, a state that loads, the same outputs and gradients."""
    layers = [getattr(lib.nn.utils.parametrizations, how)(lib.nn.Linear(shape[1], shape[0])) for lib in (pe, torch)]
    ours, theirs = layers
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():  # away from the start
        for name, p in theirs.named_parameters():
            if how != "orthogonal" or shape[0] == shape[1]:
                p.add_(torch.randn_like(p) * 0.1)
            elif "original" in name:
                p.add_(torch.tril(torch.randn_like(p) if shape[0] > shape[1] else torch.randn_like(p).T, -1)
                       .reshape(p.shape) * 0.1 if shape[0] > shape[1] else
                       torch.triu(torch.randn_like(p), 1) * 0.1)  # fmt: skip
    ours.load_state_dict(theirs.state_dict())
    x = np.random.default_rng(0).standard_normal((6, shape[1])).astype(np.float32)
    y, z = ours(pe.from_numpy(x)), theirs(torch.from_numpy(x))
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-4, atol=1e-5)
    y.square().sum().backward()
    z.square().sum().backward()
    for (name, p), (_, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def test_initializers(torch):
    for lib in (pe, torch):
        w = lib.nn.init.sparse_(lib.empty(10, 7), 0.3).numpy()
        assert ((w == 0).sum(0) == 3).all()
    for shape, groups in (((4, 2, 3), 1), ((6, 2, 3, 4), 3), ((4, 4, 2, 1, 3), 2)):
        ours = pe.nn.init.dirac_(pe.empty(*shape), groups).numpy()
        assert np.array_equal(ours, torch.nn.init.dirac_(torch.empty(*shape), groups).numpy())


def test_containers_print_alike(torch):
    def program(lib):
        nn = lib.nn
        return repr(nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.ModuleList([nn.ReLU()])})), repr(
            nn.Unflatten(1, (2, 4))
        )

    assert program(pe) == program(torch)


def test_files_of_tied_models_are_read_by_the_other(torch, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")

    def tied(lib):
        net = lib.nn.Sequential(lib.nn.Linear(3, 3), lib.nn.Linear(3, 3))
        net[1].weight = net[0].weight
        return net

    ours, theirs = tied(pe), tied(torch)
    pe.io.save_model(ours, tmp_path / "ours.safetensors")
    safetensors.load_model(theirs, tmp_path / "ours.safetensors")
    assert theirs[1].weight.tolist() == ours[0].weight.tolist()
    other = tied(torch)
    safetensors.save_model(other, str(tmp_path / "theirs.safetensors"))
    pe.io.load_model(ours, tmp_path / "theirs.safetensors")
    assert ours[1].weight is ours[0].weight and ours[0].weight.tolist() == other[0].weight.tolist()
