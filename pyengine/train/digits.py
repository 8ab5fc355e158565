"""The main job: a small network learns to read the digits that ship with the package."""

import pyengine as pe
from pyengine.data import distort, load_digits
from pyengine.io import load_file
from pyengine.nn import Dropout, Flatten, Linear, ReLU, Sequential
from pyengine.optim import AdamW

from .job import count_parameters, finish, folder_of
from .loop import fit

HIDDEN = (512, 512)
DROPOUT = 0.1
LABEL_SMOOTHING = 0.1
WEIGHT_DECAY = 1e-2


def digits_model():
    """64 -> 512 -> 512 -> 10 with ReLU and dropout between, for images (N, 8, 8)."""
    layers, size = [Flatten()], 64
    for hidden in HIDDEN:
        layers += [Linear(size, hidden), ReLU(), Dropout(DROPOUT)]
        size = hidden
    return Sequential(*layers, Linear(size, 10))


def describe(model):
    """The model in one line: sizes of the layers and number of parameters."""
    linear = [layer for layer in model.modules() if isinstance(layer, Linear)]
    sizes = [linear[0].in_features, *(layer.out_features for layer in linear)]
    return f"{' -> '.join(map(str, sizes))}, ReLU, dropout {DROPOUT}: {count_parameters(model):,} parameters"


def train_digits(out=".", *, epochs=80, batch_size=64, lr=3e-3, seed=0, data=None, progress=True, say=print):
    """Trains digits_model and writes out/digits.safetensors and, where matplotlib is installed, out/digits.png.

    Everything random follows from seed. The files' bytes do not depend on the number of threads.
    The settings were chosen on none of the test images: by four parts, one after the other, of those images that
    are neither in load_digits()[1] nor among the last 360 of the file, each part read by a network that learned
    from the other three (python -m bench digits --validation). data: (train, test) in place of load_digits().
    """
    folder = folder_of(out)
    train, test = load_digits() if data is None else data
    say(
        f"digits: {len(train.labels):,} images to learn from, {len(test.labels)} to test "
        "(every fifth; the same people wrote both)"
    )
    pe.manual_seed(seed)
    model = digits_model()
    say(f"model:  {describe(model)}")
    optimizer = AdamW(model.parameters(), lr=lr, weight_decay=WEIGHT_DECAY)
    history = fit(
        model,
        optimizer,
        train,
        test,
        epochs=epochs,
        batch_size=batch_size,
        augment=distort,
        label_smoothing=LABEL_SMOOTHING,
        progress=progress,
    )
    filters = model[1].weight.reshape(-1, 8, 8)
    told = {"model": describe(model), "seed": str(seed)}
    return finish(model, history, folder, "digits", told, filters, "training (distorted, smoothed, dropout)", say)


def load_digits_model(weights):
    """The trained model of a file that train_digits wrote. Errors: ValueError that names the file."""
    model = digits_model()
    try:
        model.load_state_dict(load_file(weights))
    except RuntimeError as error:
        raise ValueError(f"{weights}: not the weights of the digits model: {error}") from None
    return model.eval()
