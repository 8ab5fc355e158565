"""The command `pyengine`."""

import argparse
import os
import shlex
import sys

SHADES = " .:-=+*#%@"
PICTURES_PER_LINE = 4
GAP = "   "


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if arguments[:2] == ["train", "text"]:  # a parser of its own: other models, other options
            from pyengine.cli_train import train_text_command

            return train_text_command(arguments[2:])
        options = _parser().parse_args(arguments)
        return options.run(options)
    except KeyboardInterrupt:
        print("pyengine: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, ValueError, IndexError, RuntimeError, ImportError, FloatingPointError) as error:
        print(f"pyengine: {error}", file=sys.stderr)
        return 1


def _parser():
    from pyengine import __version__
    from pyengine.cli_text import add_commands

    parser = argparse.ArgumentParser(prog="pyengine", description="Neural networks on CPUs.")
    parser.add_argument("--version", action="version", version=f"pyengine {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    info = commands.add_parser("info", help="what was found on this machine and what was chosen")
    info.set_defaults(run=_info)

    train = commands.add_parser("train", help="train a network on pictures, or on text",
                                epilog="A language model of a text: pyengine train text --help")  # fmt: skip
    train.add_argument("job", choices=["digits", "fashion-mnist"],
                       help="digits: handwritten, 8x8 pixels, in the package; fashion-mnist: clothes, 28x28, from "
                       "Debian's dataset-fashion-mnist")  # fmt: skip
    train.add_argument("--epochs", type=_positive(int), help="passes through the data (80; fashion-mnist: 3)")
    train.add_argument("--batch-size", type=_positive(int), help="images a step (64; fashion-mnist: 128)")
    train.add_argument("--lr", type=_positive(float), help="highest learning rate (3e-3; fashion-mnist: 6e-3)")
    train.add_argument("--seed", type=int, default=0, help="what everything random follows from (%(default)s)")
    train.add_argument("--model", choices=["cnn", "resnet18"], default="cnn", help="fashion-mnist's (%(default)s)")
    train.add_argument("--data", metavar="DIR", help="folder of fashion-mnist's files, where it is another")
    train.add_argument("--out", default=".", metavar="DIR", help="folder for weights and picture (this one)")
    train.add_argument("--threads", type=_positive(int), help="threads to use; the result does not depend on it")
    train.add_argument("--quiet", action="store_true", help="no progress bar and no line an epoch")
    train.set_defaults(run=_train)

    predict = commands.add_parser("predict", help="let a trained network read test images")
    predict.add_argument("job", choices=["digits"])
    predict.add_argument("--weights", required=True, metavar="FILE", help="what `pyengine train` wrote")
    predict.add_argument("--index", type=int, action="append", metavar="N", help="test image N; may be repeated")
    predict.add_argument("--count", type=_positive(int), default=8, help="show the first ones (%(default)s)")
    predict.set_defaults(run=_predict)

    inspect = commands.add_parser("inspect", help="what the tensors of a file are: shapes, ranges, ranks, twins")
    inspect.add_argument("file", metavar="FILE", help="safetensors, or what torch.save wrote")
    inspect.add_argument("--html", metavar="OUT", help="write a page with pictures of them, one self-contained file")
    inspect.set_defaults(run=_inspect)

    add_commands(commands)

    bench = commands.add_parser("bench", help="how fast it is here: products, layers, networks, startup, ...")
    bench.add_argument("suite", choices=["kernels", "layers", "models", "ops", "optim", "startup", "sweep"])
    bench.add_argument("arguments", nargs=argparse.REMAINDER, metavar="OPTIONS",
                       help="the suite's own: pyengine bench SUITE --help")  # fmt: skip
    bench.set_defaults(run=_bench)
    return parser


def _positive(kind):
    def parse(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not positive")
        return value

    parse.__name__ = kind.__name__  # argparse names it in "invalid int value"
    return parse


def _info(options):
    import pyengine

    pyengine.show_config()
    return 0


def _train(options):
    import pyengine

    if options.threads is not None:
        pyengine.set_num_threads(options.threads)
    chosen = {name: getattr(options, name) for name in ("epochs", "batch_size", "lr")}
    settings = {name: value for name, value in chosen.items() if value is not None}
    settings |= {"seed": options.seed, "progress": not options.quiet}
    if options.job == "fashion-mnist":
        from pyengine.train.fashion_mnist import train_fashion_mnist

        train_fashion_mnist(options.out, model=options.model, folder=options.data, **settings)
        return 0
    from pyengine.train.digits import train_digits

    run = train_digits(options.out, **settings)
    print(f"next:   pyengine predict digits --weights {shlex.quote(str(run.weights))}")
    return 0


def _predict(options):
    from pyengine.data import load_digits
    from pyengine.train.digits import load_digits_model
    from pyengine.train.loop import predict

    model = load_digits_model(options.weights)
    _, test = load_digits()
    size = len(test.labels)
    chosen = options.index if options.index is not None else range(min(options.count, size))
    for index in chosen:
        if not 0 <= index < size:
            raise IndexError(f"--index {index}: the test images are numbered 0 to {size - 1}")
    read = predict(model, test.images)
    pictures = [_picture(index, test.images[index], int(test.labels[index]), read[index]) for index in chosen]
    for start in range(0, len(pictures), PICTURES_PER_LINE):
        for lines in zip(*pictures[start : start + PICTURES_PER_LINE], strict=True):
            print(GAP.join(lines).rstrip())
        print()
    right = sum(int(label) == answer for label, answer in zip(test.labels, read, strict=True))
    print(f"{right} of all {size} test images are read right ({right / size:.2%})")
    return 0


def _picture(index, image, label, read):
    """One digit as lines of equal length: two characters a pixel, darker ones for more ink."""
    shade = len(SHADES) - 1
    lines = ["".join(SHADES[round(float(ink) * shade)] * 2 for ink in row) for row in image]
    width = len(lines[0])
    verdict = "" if label == read else "  WRONG"
    return [f"no. {index}".ljust(width), *lines, f"is {label}, read {read}{verdict}".ljust(width)]


def _inspect(options):
    if options.html:
        from pyengine.viz import inspect_page

        inspect_page(options.file, options.html)
        print(f"wrote {options.html}")
        return 0
    from pyengine.io.inspect import inspect_file

    print(inspect_file(options.file))
    return 0


def _bench(options):
    from pyengine.bench import main as run

    return run(options.suite, options.arguments)
