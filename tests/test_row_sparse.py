"""Row-sparse gradients: what layers with sparse=True give, and steps that touch the rows in use alone."""

import copy
import pickle

import numpy as np
import pytest

import pyengine as pe
from pyengine import _core, nn, optim
from pyengine.nn import functional as F

rng = np.random.default_rng(3)
ROWS, WIDTH = 50, 6
TABLE = rng.normal(size=(ROWS, WIDTH)).astype(np.float32)
IDS = rng.integers(0, 25, (4, 30))
ABOVE = rng.normal(size=(4, 30, WIDTH)).astype(np.float32)


def lookup(weight, sparse, **options):
    return F.embedding(pe.tensor(IDS), weight, sparse=sparse, **options)


def bags(weight, sparse, mode="mean", **options):
    return F.embedding_bag(pe.tensor(IDS), weight, mode=mode, sparse=sparse, **options)


def gradients(function, **options):
    """The gradient as rows and as it is without."""
    found = []
    for sparse in (True, False):
        weight = nn.Parameter(pe.tensor(TABLE))
        out = function(weight, sparse, **options)
        (out * pe.tensor(ABOVE.reshape(-1, WIDTH)[: out.numel() // WIDTH].reshape(out.shape))).sum().backward()
        found.append(weight.grad)
    return found


@pytest.mark.parametrize(
    ("function", "options"),
    [(lookup, {}), (lookup, {"padding_idx": 4}), (lookup, {"scale_grad_by_freq": True}), (bags, {}),
     (bags, {"mode": "sum", "padding_idx": 4}), (bags, {"mode": "sum", "scale_grad_by_freq": True}),
     (bags, {"mode": "sum", "per_sample_weights": pe.tensor(rng.normal(size=(4, 30)).astype(np.float32))})],
)  # fmt: skip
def test_rows_are_those_of_the_dense_gradient(function, options):
    rows, dense = gradients(function, **options)
    assert rows.is_sparse and rows.shape == (ROWS, WIDTH) and rows.dtype is pe.float32
    used = np.setdiff1d(np.unique(IDS), [options.get("padding_idx", -1)])
    np.testing.assert_array_equal(rows.indices().numpy(), used[None])
    np.testing.assert_allclose(rows.to_dense().numpy(), dense.numpy(), rtol=1e-5, atol=1e-6)


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "SGD maximize": lambda p: optim.SGD(p, lr=0.1, maximize=True),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.1, initial_accumulator_value=0.5),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_dense_gradients(name):
    after = []
    for sparse in (True, False):
        table = nn.Embedding(ROWS, WIDTH, sparse=sparse, _weight=pe.tensor(TABLE))
        optimizer = OPTIMIZERS[name](table.parameters())
        for turn in range(3):
            optimizer.zero_grad(set_to_none=turn != 1)
            for part in range(2):  # gradients accumulate
                (table(pe.tensor((IDS + turn + part) % ROWS)) * pe.tensor(ABOVE)).sum().backward()
            nn.utils.clip_grad_norm_(table.parameters(), 1.0)
            optimizer.step()
        after.append(table.weight.detach().numpy())
    np.testing.assert_allclose(after[0], after[1], rtol=1e-6, atol=1e-7)
    assert not np.array_equal(after[0], TABLE)


def test_lazy_adam_is_its_formula():
    table = nn.Embedding(ROWS, WIDTH, sparse=True, _weight=pe.tensor(TABLE))
    optimizer = optim.SparseAdam(table.parameters(), lr=0.01, betas=(0.8, 0.95), eps=1e-3)
    p, m, v = TABLE.astype(np.float64), np.zeros((ROWS, WIDTH)), np.zeros((ROWS, WIDTH))
    for step in (1, 2, 3):
        ids = (IDS + 7 * step) % ROWS
        optimizer.zero_grad()
        (table(pe.tensor(ids)) * pe.tensor(ABOVE)).sum().backward()
        optimizer.step()
        g = np.zeros((ROWS, WIDTH))
        np.add.at(g, ids, ABOVE.astype(np.float64))
        used = np.unique(ids)
        m[used] += 0.2 * (g[used] - m[used])
        v[used] += 0.05 * (g[used] ** 2 - v[used])
        rate = 0.01 * np.sqrt(1 - 0.95**step) / (1 - 0.8**step)
        p[used] -= rate * m[used] / (np.sqrt(v[used]) + 1e-3)
    np.testing.assert_allclose(table.weight.detach().numpy(), p, rtol=1e-5, atol=1e-6)
    other = optim.SparseAdam(copy.deepcopy(table).parameters())
    other.load_state_dict(optimizer.state_dict())
    (state,) = other.state.values()
    assert state["step"] == 3
    np.testing.assert_allclose(state["exp_avg"].numpy(), m, rtol=1e-4, atol=1e-6)


def test_rows_that_are_not_used_stay_as_they_are():
    table = nn.Embedding(ROWS, WIDTH, sparse=True, _weight=pe.tensor(TABLE))
    optimizer = optim.SparseAdam(table.parameters())
    for _ in range(2):
        optimizer.zero_grad()
        table(pe.tensor(IDS)).sum().backward()
        optimizer.step()
    unused = np.setdiff1d(np.arange(ROWS), IDS)
    np.testing.assert_array_equal(table.weight.detach().numpy()[unused], TABLE[unused])


@pytest.mark.parametrize("first", ["rows", "dense"])
def test_tied_weights_get_both_gradients(first):
    def loss(weight, sparse):
        x = F.embedding(pe.tensor(IDS[0]), weight, sparse=sparse)
        return F.linear(x, weight).square().sum()

    found = []
    for sparse in (True, False):
        weight = nn.Parameter(pe.tensor(TABLE))
        if first == "rows":
            F.embedding(pe.tensor(IDS[1]), weight, sparse=sparse).sum().backward()
        loss(weight, sparse).backward()
        loss(weight, sparse).backward()
        found.append(weight.grad.numpy())
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-4)


def test_bits_do_not_depend_on_threads():
    ids = pe.tensor(rng.integers(0, 3000, 40000))
    above = pe.tensor(rng.normal(size=(40000, 33)).astype(np.float32))
    per, offsets, results = pe.tensor(rng.normal(size=40000).astype(np.float32)), pe.arange(0, 40000, 7), []
    for threads in (1, 2, 3):
        with pe.num_threads(threads):
            weight = nn.Parameter(pe.ones(3000, 33))
            (F.embedding(ids, weight, sparse=True) * above).sum().backward()
            out = F.embedding_bag(ids, weight, offsets, mode="sum", sparse=True, per_sample_weights=per)
            out.square().sum().backward()
            results.append((weight.grad.values().numpy(), out.detach().numpy()))
    for result in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_where_rows_would_not_do_the_gradient_is_dense():
    weight = nn.Parameter(pe.tensor(TABLE))
    assert not hasattr(pe.grad(lookup(weight, True).sum(), [weight])[0], "is_sparse")
    (first,) = pe.grad((lookup(weight, True) ** 3).sum(), [weight], create_graph=True)
    assert pe.grad(first.sum(), [weight])[0].shape == (ROWS, WIDTH)
    handle = weight.register_hook(lambda g: 2 * g)
    lookup(weight, True).sum().backward()
    handle.remove()
    assert isinstance(weight.grad, pe.Tensor) and weight.grad.max().item() == 2 * np.bincount(IDS.reshape(-1)).max()


def test_as_an_object():
    g = pe.RowSparse(pe.tensor([3, 1, 3]), pe.tensor([[1.0, 2], [3, 4], [5, 6]]), (5, 2))
    assert g._nnz() == 2 and g.size() == (5, 2) and g.size(1) == 2 and g.ndim == 2 and "2 rows" in repr(g)
    assert g.coalesce() is g and g.is_coalesced() and g.detach() is g and not g.requires_grad
    again = pickle.loads(pickle.dumps(g)).plus(g)
    np.testing.assert_array_equal(again.to_dense().numpy(), 2 * g.to_dense().numpy())
    weight = nn.Parameter(pe.zeros(5, 2))
    weight.grad = g
    assert weight.grad is g and copy.deepcopy(weight).grad.to_dense().tolist() == g.to_dense().tolist()
    assert nn.utils.clip_grad_norm_([weight], 1e9).item() == pytest.approx((36 + 64 + 9 + 16) ** 0.5)
    nn.utils.clip_grad_value_([weight], 5.0)
    assert weight.grad.values().tolist() == [[3, 4], [5, 5]]
    optim.SGD([weight]).zero_grad(set_to_none=False)
    assert weight.grad is g and g._nnz() == 0 and not g.to_dense().numpy().any()
    weight.grad = None
    assert weight.grad is None
    assert pe.RowSparse(pe.tensor([2]), pe.ones(1, 3, 4), (5, 3, 4)).to_dense().sum().item() == 12
    with pytest.raises(AttributeError, match="to_dense"):
        g.reshape(-1)


def sparse_layer():
    table = nn.Embedding(ROWS, WIDTH, sparse=True)
    table(pe.tensor(IDS)).sum().backward()
    return table


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: optim.AdamW(sparse_layer().parameters()).step(), RuntimeError, "AdamW.*SparseAdam"),
        (lambda: optim.Muon(sparse_layer().parameters()).step(), RuntimeError, "Muon.*SparseAdam"),
        (lambda: optim.SGD(sparse_layer().parameters(), momentum=0.9).step(), RuntimeError, "momentum"),
        (lambda: optim.Adagrad(sparse_layer().parameters(), weight_decay=0.9).step(), RuntimeError, "weight_decay"),
        (lambda: pe.RowSparse(pe.tensor([5]), pe.ones(1, 2), (5, 2)), IndexError, "5"),
        (lambda: pe.RowSparse(pe.tensor([0]), pe.ones(2, 2), (5, 2)), ValueError, "rows"),
        (lambda: setattr(nn.Parameter(pe.ones(4, 2)), "grad", pe.RowSparse(pe.tensor([0]), pe.ones(1, 2), (5, 2))),
         TypeError, "RowSparse"),
        (lambda: nn.Embedding(5, 2)(pe.tensor([[0, 1], [7, 0]])), IndexError, "embedding: entry 2 .*is 7.*0 to 4"),
        (lambda: nn.EmbeddingBag(5, 2)(pe.tensor([[0, -1]])), IndexError, "embedding_bag: entry 1 .*is -1"),
        (lambda: _core.step_rows("sgd", pe.zeros(4, 2), pe.tensor([1, 1]), pe.ones(2, 2), [], (1, 0, 0)), IndexError,
         "ascending"),
        (lambda: _core.step_rows("sgd", pe.zeros(4, 2), pe.tensor([4]), pe.ones(1, 2), [], (1, 0, 0)), IndexError, "4"),
        (lambda: _core.step_rows("sgd", pe.zeros(4, 2), pe.tensor([1]), pe.ones(1, 3), [], (1, 0, 0)), ValueError,
         "fit"),
        (lambda: _core.sum_bags(pe.zeros(4, 2), pe.tensor([0]), pe.tensor([0, 2])), ValueError, "offsets"),
        (lambda: _core.sum_bags(pe.zeros(4, 2), pe.tensor([4]), pe.tensor([0, 1])), IndexError, "4"),
    ],
)  # fmt: skip
def test_what_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_a_dense_gradient_is_refused_by_sparse_adam():
    weight = nn.Parameter(pe.zeros(3, 2))
    weight.grad = pe.ones(3, 2)
    with pytest.raises(RuntimeError, match="dense"):
        optim.SparseAdam([weight]).step()
