"""Initializers: each distribution by a Kolmogorov-Smirnov test with a fixed seed, and what they refuse."""

import math

import numpy as np
import pytest
from scipy import stats

import pyengine as pe
from pyengine.nn import init

SHAPE = (120, 50, 3)
FAN_IN, FAN_OUT = 50 * 3, 120 * 3
PROBABLE = 1e-3  # with fixed seeds a correct draw passes for ever; a wrong one fails by orders of magnitude


def drawn(function, *arguments, shape=SHAPE, **named):
    tensor = pe.empty(*shape)
    assert function(tensor, *arguments, generator=pe.Generator(7), **named) is tensor
    return np.sort(tensor.numpy().ravel().astype(np.float64))


def assert_distributed(sample, distribution):
    assert stats.kstest(sample, distribution.cdf).pvalue > PROBABLE
    assert sample.mean() == pytest.approx(distribution.mean(), abs=5 * distribution.std() / math.sqrt(len(sample)))


def uniform(bound):
    return stats.uniform(-bound, 2 * bound)


XAVIER = math.sqrt(2 / (FAN_IN + FAN_OUT))
CASES = {
    "uniform": (init.uniform_, (-1, 3), {}, stats.uniform(-1, 4)),
    "normal": (init.normal_, (2.0, 0.5), {}, stats.norm(2, 0.5)),
    "xavier_uniform": (init.xavier_uniform_, (2.0,), {}, uniform(2 * math.sqrt(6 / (FAN_IN + FAN_OUT)))),
    "xavier_normal": (init.xavier_normal_, (), {}, stats.norm(0, XAVIER)),
    "kaiming_uniform": (init.kaiming_uniform_, (), {}, uniform(math.sqrt(6 / FAN_IN))),
    "kaiming_uniform_linear": (init.kaiming_uniform_, (math.sqrt(5),), {}, uniform(1 / math.sqrt(FAN_IN))),
    "kaiming_normal": (init.kaiming_normal_, (), {"mode": "fan_out", "nonlinearity": "relu"},
                       stats.norm(0, math.sqrt(2 / FAN_OUT))),
    "kaiming_normal_tanh": (init.kaiming_normal_, (), {"nonlinearity": "tanh"}, stats.norm(0, 5 / 3 / FAN_IN**0.5)),
    "lecun_uniform": (init.lecun_uniform_, (), {}, uniform(math.sqrt(3 / FAN_IN))),
    "lecun_normal": (init.lecun_normal_, (), {}, stats.norm(0, 1 / math.sqrt(FAN_IN))),
    "trunc_normal": (init.trunc_normal_, (), {}, stats.truncnorm(-2, 2)),
    "trunc_normal_shifted": (init.trunc_normal_, (1.0, 0.5, 0.0, 1.5), {}, stats.truncnorm(-2, 1, 1, 0.5)),
    "trunc_normal_wide": (init.trunc_normal_, (0, 1, -1e3, 1e3), {}, stats.norm()),
    "trunc_normal_upper_tail": (init.trunc_normal_, (0, 1, 6.0, 9.0), {}, stats.truncnorm(6, 9)),
    "trunc_normal_lower_tail": (init.trunc_normal_, (0, 1, -9.0, -6.0), {}, stats.truncnorm(-9, -6)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_distribution(name):
    function, arguments, named, distribution = CASES[name]
    sample = drawn(function, *arguments, **named)
    assert_distributed(sample, distribution)
    assert np.array_equal(sample, drawn(function, *arguments, **named)), "the generator decides the draw"
    if name.startswith("trunc_normal_") and "wide" not in name:
        low, high = arguments[2:]
        assert sample[0] >= low and sample[-1] <= high


def test_linear_starts_as_torch_does():
    pe.manual_seed(1)
    layer = pe.nn.Linear(100, 300)
    for parameter in (layer.weight, layer.bias):
        assert_distributed(np.sort(parameter.detach().numpy().ravel().astype(np.float64)), uniform(0.1))
    pe.manual_seed(1)
    assert pe.nn.Linear(100, 300).weight.tolist() == layer.weight.tolist()


def test_constants():
    x = pe.empty(2, 3)
    assert init.zeros_(x).tolist() == [[0.0] * 3] * 2
    assert init.ones_(x).tolist() == [[1.0] * 3] * 2
    assert init.constant_(x, 2.5).tolist() == [[2.5] * 3] * 2
    assert init.eye_(x).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_parameters_are_written_off_the_tape():
    functions = (init.normal_, init.uniform_, init.xavier_normal_, init.orthogonal_, init.trunc_normal_, init.ones_)
    for function in functions:
        parameter = pe.nn.Parameter(pe.zeros(3, 3))
        function(parameter)
        assert parameter.requires_grad and parameter.is_leaf and parameter.grad is None


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (6, 6), (4, 2, 3), (3, 1), (1, 3)])
def test_orthogonal(shape):
    q = init.orthogonal_(pe.empty(*shape), gain=2.0).double().numpy().reshape(shape[0], -1)
    small = q @ q.T if q.shape[0] <= q.shape[1] else q.T @ q
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


def test_orthogonal_is_uniform():
    """The square of an entry of a uniform orthogonal n x n matrix has the distribution Beta(1/2, (n - 1)/2), and its
    first diagonal entry is as often negative as positive: plain QR fails here."""
    n, generator = 5, pe.Generator(11)
    entries = np.array([init.orthogonal_(pe.empty(n, n), generator=generator).numpy() for _ in range(400)])
    for i, j in ((0, 0), (2, 3), (4, 4)):
        assert stats.kstest(entries[:, i, j].astype(np.float64) ** 2, stats.beta(0.5, 2).cdf).pvalue > PROBABLE
        assert stats.binomtest(int((entries[:, i, j] > 0).sum()), 400).pvalue > PROBABLE


def test_gains():
    assert init.calculate_gain("linear") == init.calculate_gain("conv2d") == init.calculate_gain("sigmoid") == 1
    assert init.calculate_gain("tanh") == 5 / 3
    assert init.calculate_gain("relu") == math.sqrt(2)
    assert init.calculate_gain("leaky_relu", 1) == 1
    assert init.calculate_gain("leaky_relu") == math.sqrt(2 / 1.0001)
    assert init.calculate_gain("selu") == 0.75
    with pytest.raises(ValueError, match="unknown nonlinearity 'step'"):
        init.calculate_gain("step")
    with pytest.raises(ValueError, match="slope"):
        init.calculate_gain("leaky_relu", "steep")


def test_refusals():
    vector = pe.empty(3)
    for function in (init.xavier_uniform_, init.kaiming_normal_, init.lecun_normal_, init.orthogonal_):
        with pytest.raises(ValueError, match=r"\(3,\)"):
            function(vector)
    with pytest.raises(ValueError, match=r"eye_.*\(3,\)"):
        init.eye_(vector)
    with pytest.raises(ValueError, match="fan_in"):
        init.kaiming_uniform_(pe.empty(2, 2), mode="fan")
    for arguments in ((0, 0), (0, 1, 2, 1), (0, 1, float("nan"), 1)):
        with pytest.raises(ValueError, match="trunc_normal_"):
            init.trunc_normal_(vector, *arguments)
    with pytest.raises(ValueError, match="next to nothing"):
        init.trunc_normal_(vector, 0, 1, 50, 60)
    with pytest.raises(TypeError, match="float32"):
        init.normal_(pe.zeros(2, dtype="int64"))


def test_empty_tensors():
    for function in (init.normal_, init.uniform_, init.xavier_uniform_, init.kaiming_normal_, init.lecun_uniform_,
                     init.orthogonal_, init.trunc_normal_, init.zeros_):  # fmt: skip
        assert function(pe.empty(0, 3)).shape == (0, 3)
