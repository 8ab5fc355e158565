"""Trainings that have a name: a module here is one, with its description, a Job, under the name JOB."""

import importlib
import pkgutil

from pyengine.train.options import nearest


def job_names():
    """The names of all jobs.

    >>> job_names()
    ['digits', 'fashion-mnist', 'text']
    """
    return sorted(info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__))


def find_job(name):
    """The Job of this name. Errors: ValueError with the nearest name."""
    if name not in job_names():
        raise ValueError(f"there is no job {name!r}; {nearest(name, job_names())}")
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}").JOB
