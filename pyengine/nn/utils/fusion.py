"""Batch norm in evaluation folded into the layer before it, under torch.nn.utils.fusion's names."""

import copy

from ..parameter import Parameter

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def folded(weight, bias, running_mean, running_var, eps, scale, shift, axis=0):
    """(weight, bias) of the layer whose outputs are those of (weight, bias) after batch norm:

        w' = w s,  b' = (b - mean) s + shift,  s = scale / sqrt(var + eps)

    bias, scale and shift may be None. axis: of weight, along which outputs lie."""
    s = (running_var + eps).rsqrt()
    if scale is not None:
        s = s * scale
    shape = [1] * weight.ndim
    shape[axis] = -1
    centre = -running_mean if bias is None else bias - running_mean
    return weight * s.reshape(shape), centre * s if shift is None else centre * s + shift


def fuse_conv_bn_weights(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, transpose=False):
    """Weight and bias (Parameters) of a convolution that does what convolution and batch norm do in evaluation.

    Arguments: weight and bias of the convolution; running mean, running variance, eps, weight and bias of the norm
    (both biases and the norm's weight may be None); transpose, for a transposed convolution (in one group).
    """
    w, b = folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, int(transpose))
    learned = conv_w.requires_grad, conv_b is not None and conv_b.requires_grad
    return Parameter(w.detach(), learned[0]), Parameter(b.detach(), learned[1])


def fuse_conv_bn_eval(conv, bn, transpose=False):
    """A copy of conv that does what conv and bn do one after the other, both in evaluation mode.

    >>> conv, bn = pe.nn.Conv2d(3, 8, 3).eval(), pe.nn.BatchNorm2d(8).eval()
    >>> x = pe.randn(1, 3, 6, 6)
    >>> pe.allclose(fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-5)
    True
    """
    return _fused("fuse_conv_bn_eval", conv, bn, lambda *args: fuse_conv_bn_weights(*args, transpose))


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b):
    """fuse_conv_bn_weights for a linear layer."""
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def fuse_linear_bn_eval(linear, bn):
    """A copy of linear that does what linear and bn do one after the other, both in evaluation mode."""
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            f"fuse_linear_bn_eval: a norm of {bn.num_features} features does not fit {linear.out_features} outputs"
        )
    return _fused("fuse_linear_bn_eval", linear, bn, fuse_linear_bn_weights)


def _fused(what, layer, bn, fuse):
    if layer.training or bn.training:
        raise AssertionError(f"{what}: both modules must be in evaluation mode: call eval() first")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError(f"{what}: the norm must have running statistics")
    made = copy.deepcopy(layer)
    given = layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    made.weight, made.bias = fuse(*given)
    return made
