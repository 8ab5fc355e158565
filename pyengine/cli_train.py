"""The command `pyengine train text`."""

import argparse


def train_text_command(arguments):
    """Runs `pyengine train text` with these arguments; the exit status."""
    options = _parser().parse_args(arguments)
    import pyengine
    from pyengine.train.text import read_text, train_text

    if options.threads is not None:
        pyengine.set_num_threads(options.threads)
    chosen = {name: value for name, value in vars(options).items() if name not in ("file", "threads", "quiet")}
    train_text(read_text(options.file), progress=not options.quiet, **chosen)
    return 0


def _parser():
    from pyengine.cli import _positive as positive

    told = "A small language model of one text: learns, writes its weights and loss curves, and then text of its own."
    parser = argparse.ArgumentParser(prog="pyengine train text", description=told)
    parser.add_argument("file", metavar="FILE", help="UTF-8 text; king-james: the Bible of Debian's bible-kjv")
    parser.add_argument("--model", choices=["gpt", "lstm"], default="gpt", help="(%(default)s)")
    parser.add_argument("--tokenizer", choices=["char", "bpe"], default="char",
                        help="characters, or pieces by the tokenizers library (%(default)s)")  # fmt: skip
    parser.add_argument("--preset", choices=["tiny", "small"], default="tiny",
                        help="small: 6 layers, 384 wide, 256 tokens of context (%(default)s)")  # fmt: skip
    parser.add_argument("--steps", type=positive(int), help="(tiny: 1000, small: 1500)")
    parser.add_argument("--batch-size", type=positive(int), help="windows a step (tiny: 32, small: 8)")
    parser.add_argument("--lr", type=positive(float), help="highest learning rate (tiny: 2e-3, small: 1e-3)")
    parser.add_argument("--dropout", type=float, default=0.0, help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="what everything random follows from (%(default)s)")
    parser.add_argument("--sample", type=positive(int), default=400, help="tokens to write at the end (%(default)s)")
    parser.add_argument("--prompt", default="\n", help="what the sample goes on with")
    parser.add_argument("--out", default=".", metavar="DIR", help="folder for weights and picture (this one)")
    parser.add_argument("--threads", type=positive(int), help="threads to use; the result does not depend on it")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no line a look")
    return parser
