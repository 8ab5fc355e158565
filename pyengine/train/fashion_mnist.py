"""Clothes in 28 x 28 pixels: convolutional networks learn Fashion-MNIST."""

import pyengine as pe
from pyengine.data import load_fashion_mnist, shift_flip
from pyengine.data.fashion_mnist import DEVIATION, MEAN
from pyengine.models import resnet18, small_cnn
from pyengine.optim import AdamW

from .job import count_parameters, finish, folder_of
from .loop import fit

WEIGHT_DECAY = 1e-2
WARMUP = 0.2
BLACK = -MEAN / DEVIATION  # what a pixel without light is

MODELS = {
    "cnn": lambda: small_cnn(num_classes=10),
    "resnet18": lambda: resnet18(num_classes=10, stem="3x3", in_channels=1),
}


def fashion_model(name):
    """The network of this name, "cnn" or "resnet18", for images (N, 1, 28, 28)."""
    if name not in MODELS:
        raise ValueError(f"fashion-mnist: the model must be one of {sorted(MODELS)}, got {name!r}")
    return MODELS[name]()


def mirrored(images):
    """Half of the images mirrored: how the networks see them while learning."""
    return shift_flip(images, 0, BLACK)


def train_fashion_mnist(
    out=".", *, model="cnn", folder=None, epochs=3, batch_size=128, lr=6e-3, seed=0, data=None, progress=True, say=print
):
    """Trains a network on Fashion-MNIST and writes out/fashion-mnist-MODEL.safetensors and, where matplotlib is
    installed, a picture beside it.

    AdamW; the learning rate rises for a fifth of the steps and falls along half a cosine. Everything random follows
    from seed. Settings were chosen on the last 10,000 training images, with the others learned from.
    Arguments: model, "cnn" or "resnet18"; folder, where the IDX files are (Debian's); data, (train, test) in place
    of them.
    Errors: FileNotFoundError that says what to install.
    """
    place = folder_of(out)
    network_name = f"fashion-mnist-{model}"
    pe.manual_seed(seed)
    network = fashion_model(model)
    train, test = load_fashion_mnist(folder) if data is None else data
    say(f"fashion-mnist: {len(train[1]):,} images to learn from, {len(test[1]):,} to test")
    say(f"model:  {model}, {count_parameters(network):,} parameters")
    optimizer = AdamW(network.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
    history = fit(
        network,
        optimizer,
        train,
        test,
        epochs=epochs,
        batch_size=batch_size,
        warmup=WARMUP,
        augment=mirrored,
        progress=progress,
    )
    filters = next(network.parameters())[:, 0]
    told = {"model": model, "seed": str(seed)}
    return finish(network, history, place, network_name, told, filters, "training (mirrored)", say)
