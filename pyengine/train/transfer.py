"""From one task to another: a head swapped, layers that thaw one by one, and the recipe of both."""

from pyengine.nn import CrossEntropyLoss, Linear, Module
from pyengine.nn.batch_norm import _BatchNorm
from pyengine.optim import AdamW, decay_groups, layers_by_depth

from .callbacks import LRSchedule
from .schedule import rise_and_fall
from .trainer import Callback, Trainer, loader_of

WARMUP = 0.1  # of the steps


class GradualUnfreezing(Callback):
    """Only the last layer learns at first, and every `epochs` epochs one more, from the last to the first: what was
    learned before is not lost to the gradients of a head that knows nothing. (Howard & Ruder 2018)

    Layers are those of pyengine.optim.layers_by_depth; what belongs to none is learned with the first. Batch norms
    that are frozen keep their statistics. The optimizer gets all parameters: it leaves alone what has no gradient.
    What is frozen follows from the epoch alone, so a run that goes on from a checkpoint goes on bit for bit.

    Arguments: epochs from one layer to the next; layers, how many learn in the first epoch.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(4, 4), pe.nn.ReLU(), pe.nn.Linear(4, 2))
    >>> optimizer = pe.optim.Adam(net.parameters())
    >>> data = pe.randn(8, 4), pe.zeros(8, dtype=pe.int64)
    >>> trainer = Trainer(net, pe.nn.CrossEntropyLoss(), optimizer, callbacks=[GradualUnfreezing()], progress=False)
    >>> before = net[0].weight.tolist()
    >>> _ = trainer.fit(data, epochs=1)
    >>> net[0].weight.tolist() == before
    True
    >>> _ = trainer.fit(data, epochs=2)
    >>> net[0].weight.tolist() == before
    False
    """

    def __init__(self, epochs=1, layers=1):
        if epochs < 1 or layers < 1:
            raise ValueError(f"GradualUnfreezing: epochs={epochs} and layers={layers} must be at least 1")
        self.epochs, self.layers = epochs, layers

    def fit_begin(self, trainer):
        self._learned = [p for p in trainer.model.parameters() if p.requires_grad]  # what learns in the end
        self.epoch_begin(trainer)

    def epoch_begin(self, trainer):
        layers = [layer for _, layer in layers_by_depth(trainer.model)]
        learning = self.layers + trainer.epoch // self.epochs
        thawed = layers[-learning:] if learning < len(layers) else [trainer.model]
        ids = {id(p) for layer in thawed for p in layer.parameters()}
        self._let_learn(trainer.model, lambda parameter: id(parameter) in ids)

    def fit_end(self, trainer):
        self._let_learn(trainer.model, lambda parameter: True)

    def _let_learn(self, model, chosen):
        for parameter in self._learned:
            parameter.requires_grad_(chosen(parameter))
        for module in model.modules():
            if isinstance(module, _BatchNorm) and module.weight is not None:
                module.train(model.training and module.weight.requires_grad)


def replace_head(model, head):
    """Puts head in the place of the model's last Linear; the name of that place.

    Arguments: head, a module, or a number of outputs: a new Linear as wide as the one before.
    Errors: ValueError for a model without a Linear that is a part of it; TypeError for a head that is neither.

    >>> import pyengine as pe
    >>> net = pe.models.resnet18()
    >>> replace_head(net, 5), net.fc.weight.shape
    ('fc', (5, 512))
    """
    name, last = None, None
    for place, module in model.named_modules():
        if isinstance(module, Linear) and place:
            name, last = place, module
    if last is None:
        raise ValueError(f"replace_head: {type(model).__name__} has no Linear in it; give the model a head by hand")
    if isinstance(head, int) and not isinstance(head, bool) and head > 0:
        head = Linear(last.in_features, head, bias=last.bias is not None)
    if not isinstance(head, Module):
        raise TypeError(f"replace_head: head must be a Module or a positive number of outputs, got {head!r}")
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, head)
    return name


def finetune(
    model, train, validation=None, *, head=None, epochs=5, batch_size=32, lr=1e-3, depth_factor=1 / 2.6,
    thaw=1, weight_decay=1e-2, loss=None, metrics=(), callbacks=(), augment=None, resume=None, progress=True,
):  # fmt: skip
    """Trains a model that has learned something else on a new task; the Trainer, which has the model and the history.

    The recipe of Howard & Ruder (2018): a new head; layers thaw from the last to the first, one every `thaw` epochs;
    the deeper a layer, the slower it learns; the rate rises for a tenth of the steps and falls along half a cosine.
    AdamW; biases and norms do not decay.

    Arguments: model; train, validation, batch_size, resume, as Trainer.fit's; head, what replace_head takes, or None
    to keep the model's own; lr, the last layer's highest rate; depth_factor, a layer's rate over that of the one behind
    it; thaw, epochs from one layer to the next, or 0: all learn from the start; loss (cross entropy); metrics,
    callbacks, augment, progress, as Trainer's.

    >>> import pyengine as pe
    >>> net = pe.nn.Sequential(pe.nn.Linear(4, 8), pe.nn.Tanh(), pe.nn.Linear(8, 3))  # which has learned something
    >>> x = pe.randn(64, 4)
    >>> trainer = finetune(net, (x, (x[:, 0] > 0).long()), head=2, epochs=4, lr=0.1, progress=False)
    >>> net[2].weight.shape, trainer.history[-1]["loss"] < trainer.history[0]["loss"]
    ((2, 8), True)
    """
    if head is not None:
        replace_head(model, head)
    loader = loader_of(train, batch_size, True)
    optimizer = AdamW(decay_groups(model, weight_decay, lr, depth_factor), lr)
    steps = epochs * len(loader)
    own = [LRSchedule(rise_and_fall(optimizer, steps, round(WARMUP * steps)), "step")]
    if thaw:
        own.append(GradualUnfreezing(thaw))
    trainer = Trainer(
        model, CrossEntropyLoss() if loss is None else loss, optimizer,
        metrics=metrics, callbacks=[*own, *callbacks], augment=augment, progress=progress,
    )  # fmt: skip
    trainer.fit(loader, validation, epochs=epochs, resume=resume)
    return trainer
