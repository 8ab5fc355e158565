"""What an optimizer keeps from step to step is never stale: after any edit of parameters, gradients, states or groups a
step has the bits of one that keeps nothing."""

import copy
import gc
import pickle
import threading
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pyengine as pe
from pyengine import _core, optim

SHAPES = [(3,), (4, 5), (), (0, 2), (70, 3)]
KINDS = {
    "SGD": lambda params: optim.SGD(params, lr=0.1),
    "momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9),
    "Adam": lambda params: optim.Adam(params, lr=0.1),
    "amsgrad": lambda params: optim.AdamW(params, lr=0.1, amsgrad=True),
    "NAdam": lambda params: optim.NAdam(params, lr=0.1),
    "RAdam": lambda params: optim.RAdam(params, lr=0.1),
    "Adamax": lambda params: optim.Adamax(params, lr=0.1),
    "Adagrad": lambda params: optim.Adagrad(params, lr=0.1),
    "Adadelta": lambda params: optim.Adadelta(params, lr=0.1),
    "RMSprop": lambda params: optim.RMSprop(params, lr=0.1, momentum=0.5, centered=True),
    "Rprop": lambda params: optim.Rprop(params, lr=0.1),
    "ASGD": lambda params: optim.ASGD(params, lr=0.1),
    "Lion": lambda params: optim.Lion(params, lr=0.1),
}


def drawn(seed, shape):
    return pe.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def fitting(seed, param):
    """Numbers in the memory order of param."""
    x = drawn(seed, param.shape)
    return x if x.stride() == param.stride() else drawn(seed, param.shape[::-1]).t()


def started(kind):
    params = [pe.nn.Parameter(drawn(i, shape)) for i, shape in enumerate(SHAPES)]
    return kind([{"params": params[:3]}, {"params": params[3:], "lr": 0.01}])


def all_params(optimizer):
    return [p for group in optimizer.param_groups for p in group["params"]]


# ---- edits: what may happen between two steps; i and seed choose where and with which numbers ----


def new_gradients(optimizer, i, seed):
    optimizer.zero_grad()
    for k, p in enumerate(all_params(optimizer)):
        p.grad = fitting(seed + k, p)


def written_gradients(optimizer, i, seed):
    optimizer.zero_grad(set_to_none=False)
    for k, p in enumerate(all_params(optimizer)):
        if p.grad is not None:
            p.grad.copy_(drawn(seed + k, p.shape))


def missing_gradient(optimizer, i, seed):
    all_params(optimizer)[i].grad = None


def replaced_state(optimizer, i, seed):
    entry = optimizer.state.get(all_params(optimizer)[i], {})
    for name, value in entry.items():
        if isinstance(value, pe.Tensor) and value.ndim:
            entry[name] = value.clone().abs()


def written_state(optimizer, i, seed):
    for value in optimizer.state.get(all_params(optimizer)[i], {}).values():
        if isinstance(value, pe.Tensor):
            value.mul_(0.5)


def forgotten_state(optimizer, i, seed):
    optimizer.state.pop(all_params(optimizer)[i], None)


def other_entry(optimizer, i, seed):
    param = all_params(optimizer)[i]
    if param in optimizer.state:
        optimizer.state[param] = {k: v.clone() if isinstance(v, pe.Tensor) else v
                                  for k, v in optimizer.state[param].items()}  # fmt: skip


def loaded(optimizer, i, seed):
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))


def moved(optimizer, i, seed):
    param = all_params(optimizer)[i]
    param.data = fitting(seed, param)


def reordered_memory(optimizer, i, seed):
    """The same memory in another order: gradient and states no longer fit and are dropped."""
    param = all_params(optimizer)[i]
    if param.ndim == 2:
        param.data = drawn(seed, param.shape[::-1]).t()
        param.grad = fitting(seed, param)
        optimizer.state.pop(param, None)


def swapped_parameter(optimizer, i, seed):
    group = optimizer.param_groups[i % 2]
    place = seed % len(group["params"])
    optimizer.state.pop(group["params"][place], None)
    group["params"][place] = pe.nn.Parameter(drawn(seed, (2, 3)))
    group["params"][place].grad = drawn(seed + 1, (2, 3))


def turned_group(optimizer, i, seed):
    optimizer.param_groups[i % 2]["params"].reverse()


def added_group(optimizer, i, seed):
    added = pe.nn.Parameter(drawn(seed, (5,)))
    added.grad = drawn(seed + 1, (5,))
    optimizer.add_param_group({"params": [added], "lr": 0.5})


def other_rate(optimizer, i, seed):
    optimizer.param_groups[i % 2]["lr"] = 0.01 * (1 + seed % 5)


def frozen(optimizer, i, seed):
    param = all_params(optimizer)[i]
    param.requires_grad_(not param.requires_grad)


EDITS = [new_gradients, written_gradients, missing_gradient, replaced_state, written_state, forgotten_state,
         other_entry, loaded, moved, reordered_memory, swapped_parameter, turned_group, added_group, other_rate,
         frozen]  # fmt: skip


def bits(optimizer):
    found = []
    for p in all_params(optimizer):
        entry = optimizer.state.get(p, {})
        values = [entry[name] for name in sorted(entry)]
        found.append([p, *values])
    return [[x.detach().numpy().tobytes() if isinstance(x, pe.Tensor) else x for x in row] for row in found]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(edits=st.lists(st.tuples(st.sampled_from(EDITS), st.integers(0, 4), st.integers(0, 999)), max_size=12))
def test_edits_between_steps(kind, edits):
    keeps, forgets = started(kind), started(kind)
    for edit, i, seed in [(new_gradients, 0, 1), (other_rate, 0, 1), *edits]:
        edit(keeps, i, seed)
        edit(forgets, i, seed)
        forgets._slots = _core.Slots()
        keeps.step()
        forgets.step()
        assert bits(keeps) == bits(forgets), edit.__name__


def test_a_wrong_state_is_refused_and_the_next_step_is_right():
    optimizer = started(KINDS["Adam"])
    new_gradients(optimizer, 0, 1)
    optimizer.step()
    param = optimizer.param_groups[0]["params"][1]
    right = optimizer.state[param]["exp_avg"]
    for wrong in (pe.zeros(4, 6), pe.zeros(4, 5).double()):
        optimizer.state[param]["exp_avg"] = wrong
        with pytest.raises(ValueError, match="exp_avg 1"):
            optimizer.step()
    optimizer.state[param]["exp_avg"] = right
    before = right.clone()
    optimizer.step()
    assert not pe.equal(before, right)


def test_gradients_are_not_held():
    """Else their memory would be there twice, and none could be added to in place."""
    optimizer = started(KINDS["Adam"])
    new_gradients(optimizer, 0, 1)
    optimizer.step()
    gradients = [weakref.ref(p.grad) for p in all_params(optimizer)]
    optimizer.zero_grad()
    gc.collect()
    assert [g() for g in gradients] == [None] * len(gradients)


def test_versions_count_each_write():
    optimizer = started(KINDS["Adam"])
    new_gradients(optimizer, 0, 1)
    optimizer.step()
    param = optimizer.param_groups[0]["params"][0]
    for _ in range(3):
        before = param._version, optimizer.state[param]["exp_avg"]._version
        optimizer.step()
        assert (param._version, optimizer.state[param]["exp_avg"]._version) == (before[0] + 1, before[1] + 1)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["deepcopy", "pickle"])
def test_copies_prepare_their_own(copied):
    optimizer = started(KINDS["Adam"])
    new_gradients(optimizer, 0, 1)
    optimizer.step()
    other = copied(optimizer)
    for p, q in zip(all_params(optimizer), all_params(other), strict=True):
        q.grad = p.grad.clone()
    before = bits(optimizer)
    other.step()
    assert bits(optimizer) == before
    optimizer.step()
    assert bits(optimizer) == bits(other)


def test_two_threads_on_one_optimizer():
    """The order of their steps is theirs; nothing is freed under either."""
    params = [pe.nn.Parameter(pe.ones(3000)) for _ in range(30)]
    optimizer = optim.SGD(params, lr=1.0)
    for p in params:
        p.grad = pe.ones(3000)

    def work():
        for _ in range(100):
            optimizer.step()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(p.amax().item() <= 0.0 for p in params)


def test_no_parameter_is_no_crash():
    with pytest.raises(TypeError):
        pe.nn.utils.clip_grad_norm_([None], 1.0)
    optimizer = started(KINDS["Adam"])
    optimizer.param_groups[0]["params"].append(None)
    new_gradients_before = [p for p in all_params(optimizer) if p is not None]
    for p in new_gradients_before:
        p.grad = pe.zeros_like(p)
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    optimizer.zero_grad()
    assert all(p.grad is None for p in new_gradients_before)


def test_zero_grad_in_place_and_on_the_tape():
    p = pe.nn.Parameter(pe.ones(3))
    optimizer = optim.SGD([p], lr=0.1)
    p.grad = held = pe.ones(3)
    version = held._version
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is held and held.tolist() == [0.0, 0.0, 0.0] and held._version == version + 1
    p.grad = None
    (p * p * p).sum().backward(create_graph=True)
    assert p.grad.grad_fn is not None
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.grad_fn is None and p.grad.tolist() == [0.0, 0.0, 0.0]
