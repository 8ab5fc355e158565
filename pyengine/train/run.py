"""Runs of jobs: a folder with the options, the checkpoint of a run that has not ended, its history and its weights."""

import os
import shlex
import time
from pathlib import Path
from typing import NamedTuple

import pyengine as pe
from pyengine.io import load_checkpoint, load_state, save_file
from pyengine.io.atomic import replace_file
from pyengine.io.checkpoint import check_model
from pyengine.io.safetensors import read_header
from pyengine.nn import Module

from . import report
from .flow import GradientFlow
from .job import Data, Job
from .jobs import find_job, job_names
from .logs import JSONLog, ProgressBar
from .options import Config, build, nearest, options_of, written
from .trainer import Callback, Trainer

OPTIONS, CHECKPOINT, HISTORY = "run.toml", "checkpoint.safetensors", "history.jsonl"
KEY = "pyengine.run"  # of a weight file's metadata: the options
SECONDS = 10.0  # between two checkpoints


class Run(NamedTuple):
    """What a run leaves: its job, data, model and history (a dict an epoch), and the files."""

    job: Job
    data: Data
    model: Module
    history: list
    weights: Path
    picture: Path | None
    page: Path | None = None


def train_job(job, out, *, data=None, progress=True, say=print, page=None):
    """Runs a job in the folder out; the Run.

    Every few seconds, and where it is stopped, a checkpoint is written, from which resume_job(out) goes on bit for bit;
    at the end there are the weights and, where matplotlib is installed, a picture. Nothing depends on the number of
    threads. data: what is learned from in place of job.load(); page: where to write the run's page of HTML (figures,
    curves, norms over time and weights), True for JOB.html in the folder; GradientFlow watches for it.
    Errors: FileExistsError where out has a run that has not ended; FloatingPointError when the loss is no finite number
    any more.
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CHECKPOINT).exists():
        raise FileExistsError(f"{folder} has a run that has not ended: go on with it (pyengine resume {folder}), or "
                              f"choose another folder, or remove {folder / CHECKPOINT}")  # fmt: skip
    return _run(job, folder, data, progress, say, page)


def resume_job(folder, *, data=None, progress=True, say=print, page=None):
    """Goes on with the run in a folder, with the bits of one that was never ended; the Run. One that has ended is only
    told of: None. page: as train_job's; its norms over time begin where the run goes on.

    Errors: FileNotFoundError for a folder without a run; ValueError for files of another one.
    """
    folder = Path(folder)
    job = job_of(folder)
    weights = folder / f"{job.stem}.safetensors"
    ended = weights.exists() and not (folder / CHECKPOINT).exists()
    if ended and _told(weights) == described(job):  # not those of a run before, which this one was to take the place of
        say(f"{folder}: the run has ended; its weights are {weights}")
        return None
    return _run(job, folder, data, progress, say, page)


def job_of(folder):
    """The job of the run in a folder."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    if not (Path(folder) / OPTIONS).exists():
        raise FileNotFoundError(f"{folder} is no run's folder: {OPTIONS} is not in it")
    return read_job(Config(Path(folder) / OPTIONS))


def read_text_net(weights):
    """(net, spelling) of a file that `pyengine train text` wrote; None for any other file.

    Errors: FileNotFoundError; ValueError or RuntimeError that names the file, where it is not whole.
    """
    try:
        metadata = read_header(weights)[1]
    except ValueError:  # no safetensors
        return None
    if KEY not in metadata or "spelling" not in metadata:
        return None
    return read_job(Config(weights, metadata[KEY])).read_written(weights, metadata["spelling"])


def job_name(config):
    """Takes the name of the job out of a Config. Errors: ValueError where there is none."""
    name = config.content.pop("job", None)
    if not isinstance(name, str):
        raise ValueError(f"{config.where('job')}: job must be one of {', '.join(job_names())}, got {name!r}")
    if name not in job_names():
        raise ValueError(f"{config.where('job')}: there is no job {name!r}; {nearest(name, job_names())}")
    return name


def read_job(config):
    """The job that a Config describes. Errors: ValueError that names the file, the line and what was expected."""
    job = find_job(job_name(config))
    return build(job, config.check(options_of(job)), config.path)


def described(job):
    """The options of a job as TOML, which read_job takes."""
    return f'job = "{job.name}"\n{written(job)}'


def _run(job, folder, data, progress, say, page):
    page = folder / f"{job.stem}.html" if page is True else page and Path(page)
    flow = GradientFlow() if page and report.has_matplotlib() else None
    if flow is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
    replace_file(folder / OPTIONS, described(job).encode())  # before the work: the folder can be written to
    data = job.load() if data is None else data
    say(f"{job.name}: {data.told}")
    pe.manual_seed(job.seed)
    model, loader = job.network(data), job.loader(data)
    say(f"model: {job.describe(model)}")
    epochs, steps = job.rounds(loader)
    optimizer = job.optimizer(model)
    callbacks = [*job.callbacks(optimizer, steps), JSONLog(folder / HISTORY), _Checkpoint(folder / CHECKPOINT),
                 *([] if flow is None else [flow])]  # fmt: skip
    trainer = JobTrainer(job, model, job.loss(), optimizer, metrics=job.metrics(), callbacks=callbacks,
                         augment=job.augment, progress=_Bar(job) if progress else False)  # fmt: skip
    try:
        history = trainer.fit(loader, job.validation(data), epochs=epochs, resume=folder / CHECKPOINT)
    except KeyboardInterrupt:
        say(f"next: pyengine resume {shlex.quote(str(folder))}")
        raise
    run = Run(job, data, model, history, folder / f"{job.stem}.safetensors", None, page if flow else None)
    return _finish(run, flow, say)


def _finish(run, flow, say):
    job, folder = run.job, run.weights.parent
    say(job.result(run.history, run.data))
    told = {"model": job.describe(run.model), KEY: described(job), **job.metadata(run.data)}
    save_file(run.model.state_dict(), run.weights, told)
    say(f"wrote {run.weights}")
    (folder / CHECKPOINT).unlink(missing_ok=True)  # the rest can be had again, by the seed
    run = run._replace(picture=_draw(run, folder / f"{job.stem}.png", say))
    if run.page:
        _write_page(run, flow, say)
    job.farewell(run.model, run.data, run.weights, say)
    return run


def _draw(run, path, say):
    if not report.has_matplotlib():
        say('no picture: matplotlib is not installed (pip install "pyengine[plot]")')
        return None
    run.job.draw(run.model, run.history, path)
    say(f"wrote {path}")
    return path


def _write_page(run, flow, say):
    from pyengine.viz import page

    job = run.job
    facts = {"data": run.data.told, "model": job.describe(run.model), "result": job.result(run.history, run.data),
             "options": ", ".join(described(job).splitlines())}  # fmt: skip
    page(run.page, title=f"Training run: {job.name}", facts=facts, history=run.history, flow=flow, model=run.model,
         figures=job.pictures(run.model))  # fmt: skip
    say(f"wrote {run.page}")


class JobTrainer(Trainer):
    """Judges by the job's judge(), without what helps learning alone."""

    def __init__(self, job, *arguments, **options):
        super().__init__(*arguments, **options)
        self.judge = job.judge()

    def evaluate(self, data, metrics=None):
        learned, self.loss = self.loss, self.judge
        try:
            return super().evaluate(data, metrics)
        finally:
            self.loss = learned


class _Checkpoint(Callback):
    """Saves every SECONDS and where a run is stopped: in an epoch, or between two."""

    last = True

    def __init__(self, path):
        self.path, self.ended = path, None

    def fit_begin(self, trainer):
        self.next = time.monotonic() + SECONDS

    def after_step(self, trainer):
        if time.monotonic() >= self.next:
            self.stopped(trainer)

    def stopped(self, trainer):
        trainer.save(self.path)
        self.next = time.monotonic() + SECONDS

    def epoch_end(self, trainer):
        self.ended = trainer.epoch  # with all that belongs to it

    def fit_end(self, trainer):
        if trainer.stop and not trainer.inside and self.ended == trainer.epoch:
            self.stopped(trainer)


class _Bar(ProgressBar):
    def __init__(self, job):
        self.job = job

    def line(self, trainer):
        return f"{self.job.unit} {trainer.epoch:3d}/{trainer.epochs}  {self.job.line(trainer.history[-1])}"


# ---- judging -----------------------------------------------------------------------


def evaluate_job(place, job=None, data=None):
    """(job, name -> figure) of a run's folder, or of a file of weights, on the job's held-out data.

    Arguments: job, of weights that do not say which they are of; data, in place of job.load().
    Errors: FileNotFoundError; ValueError for weights of another model, with the keys and shapes that differ.
    """
    if os.path.isdir(place):
        job = job_of(place)
        file, weights = (Path(place, name) for name in (CHECKPOINT, f"{job.stem}.safetensors"))
        if not file.exists() and not weights.exists():
            raise FileNotFoundError(f"{place}: the run has neither weights nor a checkpoint yet")
        if not file.exists():
            file, job = weights, _job_in(weights)
    else:
        file, job = Path(place), job or _job_in(place)
    data = job.load() if data is None else data
    model = job.network(data)
    if file.name == CHECKPOINT:
        load_checkpoint(file, random=False, model=model)
    else:
        state = load_state(file)
        check_model(str(file), "weights", state, model.state_dict())
        model.load_state_dict(state)
    found = JobTrainer(job, model, None, None).evaluate(job.validation(data), job.measures())
    return job, job.figures(found, data)


def _job_in(place):
    """The job in the header of a file of weights."""
    told = _told(place)
    if told is None:
        raise ValueError(f"{place} does not say which job's weights it has: --job NAME does")
    return read_job(Config(place, told))


def _told(place):
    """The options in the header of a file of weights; None where there are none."""
    try:
        return read_header(place)[1].get(KEY)
    except ValueError:  # no safetensors: weights of torch, perhaps
        return None
