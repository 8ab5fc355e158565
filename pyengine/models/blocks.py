"""What several networks are made of."""

import pyengine as pe
from pyengine import nn
from pyengine.io import load_model


def conv_norm(inputs, outputs, kernel, stride=1, groups=1, activation=nn.ReLU, eps=1e-5, momentum=0.1):
    """Convolution that keeps the size at stride 1, batch norm, and an activation unless that is None."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps, momentum),
    ]
    return nn.Sequential(*layers, *([] if activation is None else [activation()]))


def divisible(channels, by=8):
    """The multiple of `by` nearest to channels, at least `by`, and never less than 9/10 of channels."""
    near = max(by, int(channels + by / 2) // by * by)
    return near + by if near < 0.9 * channels else near


def draw_weights(model, linear_deviation=None):
    """Convolutions from N(0, 2 / fan_out), He et al. 2015, and linear layers from N(0, linear_deviation^2), both with
    biases of 0; linear layers stay as they are where that is None."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear) and linear_deviation is not None:
            nn.init.normal_(layer.weight, 0.0, linear_deviation)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def with_weights(model, weights):
    """model with the weights of the file (None: as it is)."""
    if weights is not None:
        load_model(model, weights)
    return model


def drop_path(x, p, training):
    """x in training with whole samples set to 0 with probability p, the others divided by 1 - p. (Huang et al. 2016)"""
    if not training or p == 0.0:
        return x
    kept = (pe.rand(x.shape[0]) >= p).float() * (1.0 / (1.0 - p))
    return x * kept.reshape(-1, *[1] * (x.ndim - 1))
