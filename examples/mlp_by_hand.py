"""A multilayer perceptron with nothing hidden: formulas, derivatives by the chain rule, steps downhill.

    h = max(0, x W1^T + b1)        z = h W2^T + b2        loss = mean of -log softmax(z)[label]

The gradients are written out by hand, compared once with what backward() finds, and then used to learn the
digits that ship with the package. Run: python examples/mlp_by_hand.py
"""

import pyengine as pe
from pyengine.data import batches, load_digits
from pyengine.ops import cross_entropy, linear, log_softmax, relu, softmax

HIDDEN, CLASSES, EPOCHS, BATCH, RATE = 128, 10, 20, 32, 0.2


def start(generator):
    """Weights ~ N(0, 2 / inputs) (He et al. 2015), biases 0."""
    w1 = pe.randn(HIDDEN, 64, generator=generator) * (2 / 64) ** 0.5
    w2 = pe.randn(CLASSES, HIDDEN, generator=generator) * (2 / HIDDEN) ** 0.5
    return [w1, pe.zeros(HIDDEN), w2, pe.zeros(CLASSES)]


def forward(x, w1, b1, w2, b2):
    h = relu(linear(x, w1, b1))
    return h, linear(h, w2, b2)


def gradients(x, label, w1, b1, w2, b2):
    """The loss and its derivatives by w1, b1, w2, b2."""
    h, z = forward(x, w1, b1, w2, b2)
    truth = (label.reshape(-1, 1) == pe.arange(CLASSES)).float()  # one-hot rows
    loss = -(log_softmax(z, 1) * truth).sum() / len(x)
    dz = (softmax(z, 1) - truth) / len(x)
    dh = (dz @ w2) * (h > 0).float()
    return loss, [dh.t() @ x, dh.sum(0), dz.t() @ h, dz.sum(0)]


def compare_with_tape(x, label, weights):
    """The largest difference between the gradients above and those of backward()."""
    leaves = [w.clone().requires_grad_() for w in weights]
    cross_entropy(forward(x, *leaves)[1], label).backward()
    _, ours = gradients(x, label, *weights)
    return max((leaf.grad - mine).abs().amax().item() for leaf, mine in zip(leaves, ours, strict=True))


def accuracy(data, weights):
    _, z = forward(pe.from_numpy(data.images).reshape(-1, 64), *weights)
    return (z.argmax(1) == pe.from_numpy(data.labels)).float().mean().item()


def main():
    train, test = load_digits()
    generator = pe.Generator(0)
    weights = start(generator)
    for epoch in range(1, EPOCHS + 1):
        for images, label in batches(*train, BATCH, generator):
            x = images.reshape(-1, 64)
            if epoch == 1 and label.shape[0] == BATCH:
                assert compare_with_tape(x, label, weights) < 1e-6
            loss, slopes = gradients(x, label, *weights)
            for weight, slope in zip(weights, slopes, strict=True):
                weight -= RATE * slope
        print(f"epoch {epoch:2d}  loss {loss.item():.4f}  test accuracy {accuracy(test, weights):.2%}")
    return accuracy(test, weights)


if __name__ == "__main__":
    main()
