"""Participants as the suite sees them: each engine in a process of its own, stopped while it is not its turn."""

import json
import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

WORKER = Path(__file__).with_name("worker.py")
PATIENCE = 120.0  # seconds for one answer
TO_BUILD = 600.0  # and where the question is to build: compilers of networks take minutes


class Gone(Exception):
    """A participant that ended, hangs or failed in a call that it had made before, with its last words."""

    def __init__(self, who: "Participant", words: str) -> None:
        super().__init__(words)
        self.who = who


@dataclass(frozen=True)
class Setting:
    """How a participant is started. `label` is its name in the tables; `tuned`: at its best, not as it installs."""

    label: str
    engine: str
    python: str
    adapter: Path
    tuned: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    note: str = ""  # what the setting is, for the table of participants


def own(python: str) -> Setting:
    """This engine, in the package that the suite itself runs from."""
    package = Path(__file__).resolve().parent.parent
    return Setting("pyengine", "pyengine", python, package / "bench" / "own.py",
                   environment={"PYTHONPATH": str(package.parent)})  # fmt: skip


class Participant:
    """One process that answers lines. After each answer it is stopped: threads that spin in wait of the next call would
    otherwise compute beside whoever's turn it is."""

    def __init__(self, setting: Setting, threads: int) -> None:
        self.setting = setting
        self.log: IO[str] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (closed by close)
        count = str(threads)
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYENGINE_NUM_THREADS")
        self.process = subprocess.Popen(
            [setting.python, str(WORKER), str(setting.adapter), count, "tuned" if setting.tuned else "stock"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, bufsize=1,
            env={**os.environ, **dict.fromkeys(names, count), **setting.environment, "PYTHONSAFEPATH": "1"},
        )  # fmt: skip
        self.about: dict[str, Any] = {}

    def meet(self) -> None:
        """Waits for the first line."""
        self.about = self.receive()

    def send(self, **message: Any) -> None:
        self.process.send_signal(signal.SIGCONT)
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
        except OSError:
            raise Gone(self, self.last_words()) from None

    def receive(self, patience: float = PATIENCE) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], patience)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            raise Gone(self, self.last_words() if ready else f"no answer in {patience:.0f} s")
        self.process.send_signal(signal.SIGSTOP)
        return json.loads(line)

    def ask(self, **message: Any) -> dict[str, Any]:
        self.send(**message)
        return self.receive(TO_BUILD if message["do"] == "build" else PATIENCE)

    def run(self, name: str, variant: str, repeats: int) -> float:
        answer = self.ask(do="run", name=name, variant=variant, repeats=repeats)
        if "error" in answer:
            raise Gone(self, answer["error"])
        return answer["seconds"]

    def last_words(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5)  # its pipe is closed: it is about to end
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return " | ".join([f"ended with status {self.process.poll()}", *lines[-3:]])

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()  # it has nothing to save, and may be stopped
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.log):
            if stream is not None:
                with suppress(OSError):  # a line that the dead process did not read
                    stream.close()


class Field:
    """All participants of a run, as a context; those that cannot start or end on the way are named and left out."""

    def __init__(self, settings: list[Setting], threads: int) -> None:
        self.settings, self.threads = settings, threads
        self.participants: list[Participant] = []
        self.failures: dict[str, str] = {}  # by participant and kind, what went wrong where something should work

    def __enter__(self) -> "Field":
        self.participants = [Participant(setting, self.threads) for setting in self.settings]
        for participant in list(self.participants):
            try:
                participant.meet()
            except Gone as gone:
                self.lose(gone)
        return self

    def lose(self, gone: Gone) -> None:
        """Goes on without a rival; without this engine there is nothing to go on with."""
        participant = gone.who
        participant.close()
        self.participants.remove(participant)
        if participant.setting.engine == "pyengine":
            raise SystemExit(f"bench: pyengine's own process: {gone}")
        print(f"bench: {participant.setting.label} is out: {gone}"[:400])

    def together(self, **message: Any) -> None:
        """Everyone does the same at the same time."""
        asked = []
        for participant in list(self.participants):
            try:
                participant.send(**message)
                asked.append(participant)
            except Gone as gone:
                self.lose(gone)
        for participant in asked:
            try:
                participant.receive()
            except Gone as gone:
                self.lose(gone)

    def build(self, case: Any) -> dict[str, dict[str, list[float]]]:
        """Everyone makes the case ready; by label and variant a sample of the result.

        One after the other: their threads wait for each other spinning, and would take turns of milliseconds.
        """
        self.together(do="data", params=case.params)
        built = {}
        for participant in list(self.participants):
            try:
                answer = participant.ask(do="build", name=case.name, kind=case.kind, params=case.params)
            except Gone as gone:
                self.lose(gone)
                continue
            built[participant.setting.label] = answer.get("built", {})
            for what in answer.get("failed", []):
                self.failures.setdefault(f"{participant.setting.label}, {case.kind}", what)
        return built

    def drop(self, case: Any) -> None:
        self.together(do="drop", name=case.name)

    def of(self, label: str) -> Participant:
        return next(p for p in self.participants if p.setting.label == label)

    def __exit__(self, *exc: object) -> None:
        for participant in self.participants:
            participant.close()
