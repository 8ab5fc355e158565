"""The same layer here and in torch: same parameters, results and gradients compared."""

import warnings

import numpy as np

import pyengine as pe


def flat(result):
    """All tensors of a result, in order."""
    if isinstance(result, (tuple, list)):
        return [x for part in result for x in flat(part)]
    return [] if result is None else [result]


def array(x):
    return np.asarray(x.detach().numpy())


def agree(ours, theirs, leaves, tolerance=2e-5):
    """Results and the gradients of a random sum of them at `leaves`, pairs of tensors, agree."""
    rng = np.random.default_rng(1)
    ours, theirs = flat(ours), flat(theirs)
    assert len(ours) == len(theirs)
    ours_sum = theirs_sum = None
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == tuple(b.shape)
        np.testing.assert_allclose(array(a), array(b), tolerance, tolerance)
        if b.dtype.is_floating_point and b.requires_grad:
            weight = rng.normal(size=a.shape).astype(np.float32)
            one, other = (a * pe.tensor(weight)).sum(), (b * b.new_tensor(weight)).sum()
            ours_sum = one if ours_sum is None else ours_sum + one
            theirs_sum = other if theirs_sum is None else theirs_sum + other
    if ours_sum is None or not leaves:
        return
    ours_sum.backward()
    theirs_sum.backward()
    for a, b in leaves:
        assert (a.grad is None) == (b.grad is None)
        if b.grad is not None:
            scale = max(1.0, float(b.grad.abs().max())) if b.grad.numel() else 1.0
            np.testing.assert_allclose(array(a.grad), array(b.grad), 5 * tolerance, 5 * tolerance * scale)


def pair(torch, shape, seed=0, grad=True, digits=None):
    """The same random numbers as a tensor of each."""
    x = np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)
    x = x if digits is None else x.round(digits)
    return pe.tensor(x).requires_grad_(grad), torch.tensor(x, requires_grad=grad)


def both(torch, name, options, *positional):
    """A layer of each with the same parameters, torch's read by load_state_dict."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = getattr(torch.nn, name)(*positional, **options)
        ours = getattr(pe.nn, name)(*positional, **options)
    ours.load_state_dict({key: pe.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict({key: torch.tensor(array(value)) for key, value in ours.state_dict().items()})
    return ours, theirs


def parameters(ours, theirs):
    named = dict(ours.named_parameters())
    assert list(named) == [name for name, _ in theirs.named_parameters()]
    return [(named[name], parameter) for name, parameter in theirs.named_parameters()]
