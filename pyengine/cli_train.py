"""The commands train, resume and evaluate; pyengine.train is read when one of them runs."""

import argparse
import inspect
import os
from dataclasses import MISSING

QUIET = "no progress bar and no line an epoch"
THREADS = "threads to use; the result does not depend on it"


def train_command(arguments):
    """Runs `pyengine train` with these arguments; the exit status."""
    from pyengine.train.job import Settings
    from pyengine.train.jobs import find_job, job_names
    from pyengine.train.options import build, options_of
    from pyengine.train.run import train_job

    name, *words = arguments or [""]
    if name not in job_names() and not name.endswith(".toml"):
        _overview(name)
    given = _of_config(name) if name.endswith(".toml") else {"job": name}
    job = find_job(given.pop("job"))
    given |= _of_shell(job, f"pyengine train {name}", words, given)
    settings = Settings(**{key: given.pop(key) for key in options_of(Settings) if key in given})
    job = build(job, given, name)
    _use(settings.threads)
    train_job(job, settings.out or os.path.join("runs", job.name), progress=not settings.quiet,
              page=False if settings.no_page else settings.page or True)  # fmt: skip
    return 0


def _overview(name):
    """Says which jobs there are, and exits."""
    from pyengine.train.jobs import find_job, job_names
    from pyengine.train.options import nearest

    parser = argparse.ArgumentParser(
        prog="pyengine train", usage="pyengine train NAME|CONFIG.toml [OPTIONS]",
        description='Trains a network: a job by its name, or what a TOML file describes (job = "digits", epochs = 9, '
        "...). A job's options: pyengine train NAME --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(["jobs:", *(f"  {job:15} {find_job(job).told}" for job in job_names())]),
    )  # fmt: skip
    if name in ("-h", "--help"):
        parser.parse_args([name])
    parser.error(f"there is no job {name!r}; {nearest(name, job_names())}" if name else
                 f"which job? {', '.join(job_names())}")  # fmt: skip


def _use(threads):
    import pyengine

    if threads is not None:
        pyengine.set_num_threads(threads)


def _of_config(path):
    from pyengine.train.job import Settings
    from pyengine.train.jobs import find_job
    from pyengine.train.options import Config, options_of
    from pyengine.train.run import job_name

    config = Config(path)
    name = job_name(config)
    return {"job": name, **config.check({**options_of(find_job(name)), **options_of(Settings)})}


def _of_shell(job, program, words, given):
    """name -> value of what the words say."""
    from pyengine.train.job import Settings
    from pyengine.train.options import options_of

    parser = argparse.ArgumentParser(
        prog=program, description=inspect.cleandoc(job.__doc__), argument_default=argparse.SUPPRESS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    known = {**options_of(job), **options_of(Settings)}
    for name, field in known.items():
        _add_option(parser, name, field, name in given)
    return _parse(parser, words)


def _add_option(parser, name, field, given):
    """Adds an option of a dataclass to an argparse parser."""
    from pyengine.train.options import kind_of, parsed

    flag, told = f"--{name.replace('_', '-')}", field.metadata["told"]
    if kind_of(field) is bool:
        parser.add_argument(flag, action="store_true", help=told)
        return

    def read(text):
        try:
            return parsed(field, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    default = "" if field.default in (None, MISSING) or not str(field.default).strip() else f" ({field.default})"
    told = f"{told}{default}".replace("%", "%%")
    if field.metadata["positional"]:
        parser.add_argument(name, metavar=name.upper(), type=read, help=told, nargs="?" if given else None)
    else:
        metavar = "{" + ",".join(field.metadata["choices"]) + "}" if field.metadata["choices"] else name.upper()
        parser.add_argument(flag, type=read, metavar=metavar, help=told)


def _parse(parser, words):
    """The options as a dict; an unknown one is told with the nearest."""
    from pyengine.train.options import nearest

    found, unknown = parser.parse_known_args(words)
    if unknown:
        flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
        name = unknown[0].partition("=")[0]
        parser.error(f"unknown option {name}; {nearest(name, flags)}" if name.startswith("-") else
                     f"{name!r} is more than it takes")  # fmt: skip
    return vars(found)


# ---- what goes on with runs ----------------------------------------------------------


def add_commands(commands):
    """Adds `train` (for its line of help), `resume` and `evaluate` to an argparse's subparsers."""
    commands.add_parser("train", help="train a network: a job by its name, or as a TOML file describes it")

    resume = commands.add_parser("resume", help="go on with a run that was stopped, bit for bit")
    resume.add_argument("folder", metavar="RUN", help="the folder that `pyengine train` wrote to")
    resume.add_argument("--threads", type=int, metavar="N", help=THREADS)
    resume.add_argument("--quiet", action="store_true", help=QUIET)
    resume.add_argument("--page", metavar="PAGE", help="where the run's page of HTML goes (JOB.html in RUN)")
    resume.add_argument("--no-page", action="store_true", help="no page")
    resume.set_defaults(run=_resume)

    judge = commands.add_parser("evaluate", help="loss and metrics of runs or weights on what was held out")
    judge.add_argument("places", nargs="+", metavar="RUN|WEIGHTS", help="a run's folder, or a file of weights")
    judge.add_argument("--job", metavar="NAME|CONFIG.toml", help="whose weights they are, where the file does not say")
    judge.add_argument("--threads", type=int, metavar="N", help=THREADS)
    judge.set_defaults(run=_evaluate)


def _resume(options):
    from pyengine.train.run import resume_job

    _use(options.threads)
    resume_job(options.folder, progress=not options.quiet, page=False if options.no_page else options.page or True)
    return 0


def _evaluate(options):
    from pyengine.train.jobs import find_job
    from pyengine.train.options import Config, build
    from pyengine.train.run import evaluate_job, read_job

    _use(options.threads)
    job = options.job
    if job is not None:
        job = read_job(Config(job)) if job.endswith(".toml") else build(find_job(job), {}, "evaluate --job")
    for place in options.places:
        found, figures = evaluate_job(place, job)
        told = "  ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items())
        print(f"{place}  {found.name}  {told}")
    return 0
