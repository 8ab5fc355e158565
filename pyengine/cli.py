"""The command `pyengine`."""

import argparse
import os
import sys

SHADES = " .:-=+*#%@"
PICTURES_PER_LINE = 4
GAP = "   "


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if arguments[:1] == ["train"]:  # a parser for each job, of its options
            from pyengine.cli_train import train_command

            return train_command(arguments[1:])
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
    from pyengine.cli_train import add_commands as add_training

    parser = argparse.ArgumentParser(prog="pyengine", description="Neural networks on CPUs.")
    parser.add_argument("--version", action="version", version=f"pyengine {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    info = commands.add_parser("info", help="what was found on this machine and what was chosen")
    info.set_defaults(run=_info)

    add_training(commands)

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


def _predict(options):
    from pyengine.data import load_digits
    from pyengine.train.jobs.digits import load_digits_model
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
