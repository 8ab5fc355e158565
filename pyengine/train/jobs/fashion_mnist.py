"""Clothes in 28 x 28 pixels: convolutional networks learn Fashion-MNIST."""

from dataclasses import dataclass
from typing import ClassVar

from pyengine.data import load_fashion_mnist, shift_flip
from pyengine.data.fashion_mnist import DEVIATION, MEAN
from pyengine.models import resnet18, small_cnn
from pyengine.optim import AdamW
from pyengine.train.job import Data, Job, count_parameters
from pyengine.train.options import option

WEIGHT_DECAY = 1e-2
BLACK = -MEAN / DEVIATION  # what a pixel without light is

MODELS = {
    "cnn": lambda: small_cnn(num_classes=10),
    "resnet18": lambda: resnet18(num_classes=10, stem="3x3", in_channels=1),
}


@dataclass(kw_only=True)
class FashionMNIST(Job):
    """Trains a network on Fashion-MNIST, half of whose pictures are mirrored while learning. AdamW. Settings were
    chosen on the last 10,000 training images, with the others learned from."""

    name: ClassVar[str] = "fashion-mnist"
    told: ClassVar[str] = "clothes, 28x28 pixels, from Debian's dataset-fashion-mnist"
    warmup: ClassVar[float] = 0.2

    epochs: int = option(3, "passes through the data", above=0)
    batch_size: int = option(128, "images a step", above=0)
    lr: float = option(6e-3, "highest learning rate", above=0)
    model: str = option("cnn", "the network", choices=tuple(MODELS))
    data: str | None = option(None, "folder of the files, where it is another than Debian's", place=True)

    @property
    def stem(self):
        return f"fashion-mnist-{self.model}"

    def load(self):
        train, test = load_fashion_mnist(self.data)
        return Data(train, test, f"{len(train[1]):,} images to learn from, {len(test[1]):,} to test")

    def network(self, data):
        return MODELS[self.model]()

    def describe(self, model):
        return f"{self.model}, {count_parameters(model):,} parameters"

    def optimizer(self, model):
        return AdamW(model.parameters(), lr=self.lr, weight_decay=WEIGHT_DECAY)

    def augment(self, inputs):
        return shift_flip(inputs, 0, BLACK)

    def draw(self, model, history, path):
        from pyengine.train.report import draw_run

        draw_run(history, next(model.parameters())[:, 0], path, "training (mirrored)")


JOB = FashionMNIST
