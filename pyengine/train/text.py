"""Language models of one file: a small GPT or LSTM learns which character, or piece of a word, comes next."""

import math
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pyengine as pe
from pyengine.io import save_file
from pyengine.models.generation import generate
from pyengine.nn import Module, utils
from pyengine.nn.functional import cross_entropy
from pyengine.optim import AdamW, decay_groups

from .job import count_parameters, folder_of
from .schedule import rise_and_fall
from .text_model import PRESETS, Characters, Pieces, text_net, windows

VALIDATION = 0.1  # of the text, its end
WARMUP = 0.1  # of the steps
LOOKS = 10  # at the validation part
LOOK_WINDOWS = 64  # of each, the same at every look
DECAY = 0.1
CLIP = 1.0
TEMPERATURE = 0.8


class TextRun(NamedTuple):
    """What train_text leaves: the model, its tokenizer, (step, training loss, validation loss) of each look in nats a
    token, the sample, and the files."""

    model: Module
    tokenizer: object
    history: list
    sample: str
    weights: Path
    picture: Path | None


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


def train_text(
    text, out=".", *, model="gpt", tokenizer="char", preset="tiny", steps=None, batch_size=None, lr=None, dropout=0.0,
    seed=0, sample=400, prompt="\n", progress=True, say=print,
):  # fmt: skip
    """Trains a language model on a text and writes out/text-MODEL.safetensors, with the alphabet (or tokenizer.json) in
    its metadata, and, where matplotlib is installed, the loss curves in out/text-MODEL.png; then it writes a sample.

    AdamW (betas 0.9 and 0.95, decay of matrices alone); the learning rate rises for a tenth of the steps and falls
    along half a cosine; gradients are clipped to the norm 1. The first nine tenths of the text are learned from, the
    rest is looked at ten times. Everything random follows from seed, nothing depends on the number of threads.
    Arguments: model, "gpt" or "lstm"; tokenizer, "char" or "bpe" (the tokenizers library); preset, "tiny" or "small"
    (6 layers, 384 wide, 256 tokens); steps, batch_size and lr in place of the preset's; sample, tokens to write.
    Errors: ValueError for a text that is too short; FloatingPointError when the loss is no finite number any more.
    """
    if preset not in PRESETS or tokenizer not in ("char", "bpe"):
        raise ValueError(
            f"train text: preset is one of {sorted(PRESETS)}, tokenizer 'char' or 'bpe', got {preset!r}, {tokenizer!r}"
        )
    sizes = {**PRESETS[preset]}
    sizes |= {name: value for name, value in (("steps", steps), ("batch_size", batch_size), ("lr", lr)) if value}
    folder, spelling = folder_of(out), Characters(text) if tokenizer == "char" else Pieces(text)
    learned, looked_at = _parts(spelling.encode(text), sizes["context"])
    tokens = len(learned) + len(looked_at)
    say(
        f"text:   {len(text):,} characters, {tokens:,} tokens of {len(spelling)} kinds; "
        f"the last {len(looked_at):,} are not learned from"
    )
    pe.manual_seed(seed)
    net = text_net(model, len(spelling), sizes, dropout)
    say(f"model:  {model}, {preset}, {count_parameters(net):,} parameters; {sizes['steps']} steps of "
        f"{sizes['batch_size']} x {sizes['context']} tokens")  # fmt: skip
    history = _learn(net, learned, looked_at, sizes, seed, progress)
    per_character = tokens / len(text) / math.log(2)
    say(f"validation: {history[-1][2]:.4f} nats a token, {history[-1][2] * per_character:.3f} bits a character")
    weights = folder / f"text-{model}.safetensors"
    told = {"model": model, "preset": preset, "tokenizer": tokenizer, "seed": str(seed), "spelling": spelling.written()}
    save_file(net.state_dict(), weights, told)
    say(f"wrote {weights}")
    picture = _draw(history, folder / f"text-{model}.png", say)
    written = _sample(net, spelling, prompt, min(sample, sizes["context"] - 1) if model == "gpt" else sample, seed)
    say(f"\n{written}")
    return TextRun(net, spelling, history, written, weights, picture)


def _parts(ids, context):
    import numpy

    ids = numpy.array(ids, numpy.int64)
    cut = round(len(ids) * (1 - VALIDATION))
    if len(ids) - cut < context + 2:
        raise ValueError(f"train text: {len(ids)} tokens are too few: a tenth must be more than {context + 1}")
    return ids[:cut], ids[cut:]


def _loss(net, inputs, targets):
    logits = net(inputs)
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def _learn(net, learned, looked_at, sizes, seed, progress):
    """Runs all steps; (step, training loss since the last look, validation loss) of each look."""
    import numpy

    steps, length = sizes["steps"], sizes["context"]
    dice, optimizer = numpy.random.default_rng(seed), AdamW(decay_groups(net, DECAY), sizes["lr"], (0.9, 0.95))
    schedule = rise_and_fall(optimizer, steps, round(WARMUP * steps))
    looks = {round(steps * (i + 1) / LOOKS) for i in range(LOOKS)}
    history, total, since, begin = [], 0.0, 0, time.perf_counter()
    net.train()
    from tqdm import tqdm

    with tqdm(total=steps, unit="step", leave=False, dynamic_ncols=True, disable=not progress) as bar:
        for step in range(1, steps + 1):
            batch = windows(learned, dice.integers(0, len(learned) - length, sizes["batch_size"]), length)
            optimizer.zero_grad()
            loss = _loss(net, *batch)
            loss.backward()
            utils.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            schedule.step()
            total, since = total + loss.item(), since + 1
            bar.update()
            if step not in looks:
                continue
            if not math.isfinite(total):
                raise FloatingPointError(f"train text: the loss is {total} at step {step}; a smaller lr may help")
            history.append((step, total / since, evaluate_text(net, looked_at, sizes)))
            rate = step * sizes["batch_size"] * length / (time.perf_counter() - begin)
            if progress:
                line = f"step {step:5d}/{steps}  loss {total / since:.4f}  validation {history[-1][2]:.4f}"
                bar.write(f"{line}  {rate:,.0f} tokens/s", file=sys.stdout)
            total, since = 0.0, 0
    return history


@pe.no_grad()
def evaluate_text(net, ids, sizes):
    """Mean loss of windows that lie evenly over ids (an array), the same ones at every call."""
    import numpy

    was, length = net.training, sizes["context"]
    net.eval()
    count = min(LOOK_WINDOWS, max(1, (len(ids) - 1) // length))
    starts = numpy.linspace(0, len(ids) - length - 1, count).astype(numpy.int64)
    losses = [_loss(net, *windows(ids, part, length)).item() * len(part)
              for part in numpy.array_split(starts, -(-count // sizes["batch_size"]))]  # fmt: skip
    net.train(was)
    return sum(losses) / count


def _sample(net, spelling, prompt, count, seed):
    """prompt and what follows it; the first token where it has none that is known."""
    known = spelling.encode(prompt) or [0]
    net.eval()
    return spelling.decode(
        [*known, *generate(net, known, max(count - len(known), 0), temperature=TEMPERATURE, seed=seed)]
    )


def _draw(history, path, say):
    from .report import draw_losses, has_matplotlib

    if not has_matplotlib():
        say('no picture: matplotlib is not installed (pip install "pyengine[plot]")')
        return None
    draw_losses(history, path)
    say(f"wrote {path}")
    return path
