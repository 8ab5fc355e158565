"""Language models of one text: a small GPT or LSTM learns which character, or piece of a word, comes next."""

import math
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import ClassVar

from pyengine.data import ArrayDataset, DataLoader
from pyengine.models.generation import generate
from pyengine.nn.functional import cross_entropy
from pyengine.optim import AdamW, decay_groups
from pyengine.train.callbacks import GradientClipping
from pyengine.train.job import Data, Job, count_parameters
from pyengine.train.options import option
from pyengine.train.text_model import PRESETS, SPELLINGS, RandomWindows, text_net, windows

VALIDATION = 0.1  # of the text, its end
LOOKS = 10  # at the validation part
LOOK_WINDOWS = 64  # of each, the same at every look
DECAY = 0.1
CLIP = 1.0
TEMPERATURE = 0.8


def read_text(filename):
    """The text of a UTF-8 file; "king-james" is the Bible of Debian's bible-kjv, a verse a line.

    Errors: FileNotFoundError; ValueError for a file that is no UTF-8 text.
    """
    if str(filename) == "king-james":
        from pyengine.data import load_king_james

        return "\n".join(verse.text for verse in load_king_james()) + "\n"
    try:
        return Path(filename).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{filename}: no UTF-8 text: {error}") from None


@dataclass(kw_only=True)
class Text(Job):
    """Trains a language model on a text, and lets it write.

    AdamW (betas 0.9 and 0.95, decay of matrices alone); the learning rate rises for a tenth of the steps and falls
    along half a cosine; gradients are clipped to the norm 1. The first nine tenths of the text are learned from, the
    rest is looked at ten times. The header of the weights has the alphabet, or a tokenizer.json.
    """

    name: ClassVar[str] = "text"
    told: ClassVar[str] = "a small language model of one text, which then writes"
    warmup: ClassVar[float] = 0.1
    unit: ClassVar[str] = "look"

    file: str = option(MISSING, "UTF-8 text; king-james: the Bible of Debian's bible-kjv", place=True, positional=True)
    model: str = option("gpt", "the network", choices=("gpt", "lstm"))
    tokenizer: str = option("char", "characters, or pieces by the tokenizers library", choices=("char", "bpe"))
    preset: str = option("tiny", "small: 6 layers, 384 wide, 256 tokens of context", choices=tuple(PRESETS))
    steps: int | None = option(None, "tiny: 1000, small: 1500", above=0)
    batch_size: int | None = option(None, "windows a step; tiny: 32, small: 8", above=0)
    lr: float | None = option(None, "highest learning rate; tiny: 2e-3, small: 1e-3", above=0)
    dropout: float = option(0.0, "share of what is dropped while learning", least=0, below=1)
    sample: int = option(400, "tokens to write at the end", above=0)
    prompt: str = option("\n", "what the sample goes on with")

    def __post_init__(self):
        super().__post_init__()
        sizes = PRESETS[self.preset]
        for name in ("steps", "batch_size", "lr"):
            if getattr(self, name) is None:
                setattr(self, name, sizes[name])

    @property
    def stem(self):
        return f"text-{self.model}"

    @property
    def context(self):
        """Tokens of a window."""
        return PRESETS[self.preset]["context"]

    def load(self):
        import numpy

        text = read_text(self.file)
        spelling = SPELLINGS[self.tokenizer](text)
        ids = numpy.array(spelling.encode(text), numpy.int64)
        learned, held_out = numpy.split(ids, [round(len(ids) * (1 - VALIDATION))])
        if len(held_out) < self.context + 2:
            raise ValueError(f"train text: {len(ids)} tokens are too few: a tenth must be more than {self.context + 1}")
        told = (f"{len(text):,} characters, {len(ids):,} tokens of {len(spelling)} kinds; the last {len(held_out):,} "
                "are not learned from")  # fmt: skip
        return Data(learned, held_out, told, (spelling, len(ids) / len(text)))

    def network(self, data):
        return text_net(self.model, len(data.extra[0]), PRESETS[self.preset], self.dropout)

    def describe(self, model):
        return (f"{self.model}, {self.preset}, {count_parameters(model):,} parameters; {self.steps} steps of "
                f"{self.batch_size} x {self.context} tokens")  # fmt: skip

    def optimizer(self, model):
        return AdamW(decay_groups(model, DECAY), self.lr, (0.9, 0.95))

    def loader(self, data):
        every = -(-self.steps // LOOKS)
        return RandomWindows(data.train, self.context, self.batch_size, self.steps, every, self.seed)

    def validation(self, data):
        """Windows that lie evenly over what is held out."""
        import numpy

        ids, length = data.held_out, self.context
        count = min(LOOK_WINDOWS, max(1, (len(ids) - 1) // length))
        starts = numpy.linspace(0, len(ids) - length - 1, count).astype(numpy.int64)
        return DataLoader(ArrayDataset(*windows(ids, starts, length)), self.batch_size)

    def rounds(self, loader):
        return -(-self.steps // loader.every), self.steps

    def judge(self):
        return lambda logits, targets: cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))

    def metrics(self):
        return []

    def measures(self):
        return []

    def callbacks(self, optimizer, steps):
        return [*super().callbacks(optimizer, steps), GradientClipping(CLIP)]

    def figures(self, found, data):
        bits = found["loss"] * data.extra[1] / math.log(2)
        return {**found, "perplexity": math.exp(found["loss"]), "bits_a_character": bits}

    def line(self, entry):
        return f"loss {entry['loss']:.4f}  validation {entry['val_loss']:.4f}"

    def result(self, history, data):
        found = self.figures({"loss": history[-1]["val_loss"]}, data)
        return f"validation: {found['loss']:.4f} nats a token, {found['bits_a_character']:.3f} bits a character"

    def metadata(self, data):
        return {"tokenizer": self.tokenizer, "spelling": data.extra[0].written()}

    def read_written(self, weights, spelling):
        """The trained net of a file of weights and its spelling, as metadata() has it there. Errors: ValueError or
        RuntimeError that names the file."""
        from pyengine.io import load_file
        from pyengine.models.transformer_blocks import with_state

        try:
            found = SPELLINGS[self.tokenizer].read(spelling)
            net = text_net(self.model, len(found), PRESETS[self.preset], 0.0)
        except ModuleNotFoundError:
            raise
        except Exception as error:  # the tokenizers library raises Exception itself
            raise ValueError(f"{weights}: no spelling of tokens: {error}") from None
        return with_state(net, load_file(weights), weights).eval(), found

    def draw(self, model, history, path):
        from pyengine.train.report import draw_losses

        draw_losses(history, path)

    def farewell(self, model, data, weights, say):
        say(f"\n{self.written(model.eval(), data.extra[0])}")

    def written(self, model, spelling):
        """The prompt and what follows it; the first token where it has none that is known."""
        known = spelling.encode(self.prompt) or [0]
        length = min(self.sample, self.context - 1) if self.model == "gpt" else self.sample
        count = max(length - len(known), 0)
        return spelling.decode([*known, *generate(model, known, count, temperature=TEMPERATURE, seed=self.seed)])


JOB = Text
