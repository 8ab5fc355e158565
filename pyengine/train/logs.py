"""What a run says: a bar, a line an epoch, files of its history."""

import json
import math
import sys

from pyengine.io.atomic import replace_file

from .trainer import Callback


class ProgressBar(Callback):
    """A bar of steps with their rate and the time left, and a line an epoch above it."""

    every = 20  # steps between two changes of the loss that it shows

    def fit_begin(self, trainer):
        from tqdm import tqdm

        count = trainer.batches
        steps = None if count is None else -(-count // trainer.accumulate) * trainer.epochs
        self.bar = tqdm(total=steps, initial=trainer.step, unit="step", leave=False, dynamic_ncols=True)

    def after_step(self, trainer):
        if trainer.step % self.every == 0:
            self.bar.set_postfix_str(f"loss {trainer.loss_value:.4f}", refresh=False)
        self.bar.update()

    def epoch_end(self, trainer):
        self.bar.write(self.line(trainer), file=sys.stdout)

    def fit_end(self, trainer):
        if trainer.stop:
            self.bar.write(f"stopped in epoch {trainer.epoch + trainer.inside}: {trainer.stop}", file=sys.stdout)
        self.bar.close()

    def line(self, trainer):
        """The line of the epoch that has ended."""
        numbers = ((name, value) for name, value in trainer.history[-1].items() if isinstance(value, float))
        told = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in numbers)
        return f"epoch {trainer.epoch:3d}/{trainer.epochs}  {told}"


class _File(Callback):
    """Writes the whole history after each epoch: a run that goes on from a checkpoint leaves no line twice."""

    def __init__(self, path):
        self.path = path

    def epoch_end(self, trainer):
        replace_file(self.path, self.text(trainer.history).encode())


class CSVLog(_File):
    """The history as a table at path, a line an epoch, for spreadsheets."""

    def text(self, history):
        """The lines."""
        import csv
        import io

        file = io.StringIO()
        writer = csv.DictWriter(file, list(dict.fromkeys(name for entry in history for name in entry)))
        writer.writeheader()
        writer.writerows(history)
        return file.getvalue()


class JSONLog(_File):
    """The history at path as one JSON object a line (NaN and infinities as null)."""

    def text(self, history):
        """The lines."""
        finite = [{name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in entry.items()}
                  for entry in history]  # fmt: skip
        return "".join(json.dumps(entry) + "\n" for entry in finite)


class TensorBoardLog(Callback):
    """The history as scalars for TensorBoard, written by tensorboardX. Errors: ImportError where that is missing."""

    def __init__(self, folder):
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            raise ImportError("TensorBoardLog: pip install tensorboardX") from None
        self.writer = SummaryWriter(str(folder))

    def epoch_end(self, trainer):
        for name, value in trainer.history[-1].items():
            if isinstance(value, (int, float)):
                self.writer.add_scalar(name, value, trainer.step)

    def fit_end(self, trainer):
        self.writer.flush()
