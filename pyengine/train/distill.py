"""Knowledge distillation: a small network learns what a large one answers."""

from pyengine import no_grad
from pyengine.nn import Module
from pyengine.nn.functional import cross_entropy, kl_div, log_softmax, softmax

from .trainer import Trainer


class DistillationLoss(Module):
    """alpha T^2 KL(softmax(t / T) || softmax(s / T)) + (1 - alpha) CE(s, label), the mean over the batch, of a
    student's scores s and its teacher's t. (Hinton, Vinyals & Dean 2015)

    At a temperature T above 1 the teacher's smaller probabilities, which say what resembles what, count more; T^2
    keeps the gradient's size as T changes.

    Arguments: temperature; alpha, the teacher's share. Without labels only the teacher counts.
    Shape: s (N, classes), t (N, classes), labels (N) -> ().

    >>> import pyengine as pe
    >>> student, teacher = pe.tensor([[1.0, 0.0]]), pe.tensor([[3.0, 0.0]])
    >>> round(DistillationLoss(temperature=2.0, alpha=0.5)(student, teacher, pe.tensor([0])).item(), 4)
    0.3371
    >>> round(DistillationLoss()(teacher, teacher).item(), 4)
    0.0
    """

    def __init__(self, temperature=2.0, alpha=0.9):
        super().__init__()
        if not temperature > 0 or not 0 <= alpha <= 1:
            raise ValueError(f"DistillationLoss: temperature={temperature} must be above 0, alpha={alpha} in [0, 1]")
        self.temperature, self.alpha = temperature, alpha

    def forward(self, student, teacher, labels=None):
        if student.shape != teacher.shape:
            raise ValueError(f"DistillationLoss: the student's scores have shape {student.shape}, the teacher's "
                             f"{teacher.shape}")  # fmt: skip
        heat = self.temperature
        soft = kl_div(log_softmax(student / heat, 1), softmax(teacher / heat, 1), reduction="batchmean") * heat**2
        return soft if labels is None else self.alpha * soft + (1 - self.alpha) * cross_entropy(student, labels)

    def extra_repr(self):
        return f"temperature={self.temperature}, alpha={self.alpha}"


class Distiller(Trainer):
    """A Trainer whose model, the student, learns from a teacher, which reads the same batches, augmented alike, and
    does not change: loss(student's outputs, teacher's outputs, targets).

    Batches are (inputs ..., targets); or inputs alone, (x,), whatever a teacher can read: then the loss is that of the
    two outputs, and metrics compare the student's with the teacher's. Checkpoints do not have the teacher in them.

    Arguments: student; teacher; loss, a DistillationLoss or another function; optimizer and options, as Trainer's.

    >>> import pyengine as pe
    >>> teacher, student = pe.nn.Linear(4, 3), pe.nn.Linear(4, 3)
    >>> optimizer = pe.optim.Adam(student.parameters(), lr=0.05)
    >>> distiller = Distiller(student, teacher, DistillationLoss(), optimizer, progress=False)
    >>> history = distiller.fit((pe.randn(256, 4),), epochs=20)
    >>> history[-1]["loss"] < 0.1 * history[0]["loss"]
    True
    """

    def __init__(self, student, teacher, loss, optimizer, **options):
        super().__init__(student, loss, optimizer, **options)
        self.teacher = teacher

    def compute(self, batch):
        """(loss, the student's outputs, targets) of a batch."""
        inputs = list(batch[:-1]) or list(batch)
        if self.augment is not None and self.model.training:
            inputs[0] = self.augment(inputs[0])
        outputs = self.model(*inputs) if self.model.training else self.judged(*inputs)
        with no_grad():
            answers = self.teacher.eval()(*inputs)
        if len(batch) > 1:
            return self.loss(outputs, answers, batch[-1]), outputs, batch[-1]
        return self.loss(outputs, answers), outputs, answers
