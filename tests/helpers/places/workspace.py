"""A copy of the repository in which the workflow runs, and what its output says."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
CONFIG = Path("tests/e2e/tiny.yaml")
RESULTS = Path("results/tiny")
SHARED = Path("results/shared")
NOTHING = "Nothing to be done (all requested files are present and up to date)."
TARGETS = {"all", "fetch", "everything", "quality", "paper_tables", "paper_figures", "prepared_data", "tuned"}
# Generous: other work may share the machine.
LIMIT = 1200


@dataclass(frozen=True)
class Job:
    """One job of a Snakemake run, as its output announces it."""

    rule: str
    wildcards: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str:
        return dict(self.wildcards)[name]


@dataclass(frozen=True)
class Outcome:
    """How a run of Snakemake ended."""

    status: int
    output: str

    @cached_property
    def reasons(self) -> dict[Job, str]:
        """Why each job was started, or would be in a dry run; targets are left out."""
        found = {}
        for block in re.split(r"^\[\w{3} \w{3} .*\]$", self.output, flags=re.MULTILINE):
            rule = re.search(r"^(?:local)?rule (\w+):$", block, flags=re.MULTILINE)
            if rule and rule[1] not in TARGETS:
                named = re.search(r"^    wildcards: (.*)$", block, flags=re.MULTILINE)
                pairs = named[1].split(", ") if named else []
                reason = re.search(r"^    reason: (.*)$", block, flags=re.MULTILINE)
                job = Job(rule[1], tuple(tuple(pair.split("=", 1)) for pair in pairs))
                found[job] = reason[1] if reason else ""
        return found

    @property
    def jobs(self) -> set[Job]:
        """The jobs that were started, or would be in a dry run."""
        return set(self.reasons)

    @property
    def rules(self) -> Counter[str]:
        """Number of jobs by rule."""
        return Counter(job.rule for job in self.jobs)

    @property
    def sentence(self) -> str:
        """The one error that is told to the user; a failed job's log is shown between lines of ``=``."""
        return self.sentences[0]

    @property
    def sentences(self) -> list[str]:
        """Every error that the logs of failed jobs show, each once."""
        return sorted(set(re.findall(r"^\s*error: (.*)$", self.output, flags=re.MULTILINE)))


@dataclass(frozen=True)
class Run:
    """A Snakemake that runs, and all that it will have said."""

    process: subprocess.Popen[str]
    output: Future[str]

    def end(self, limit: float = LIMIT) -> Outcome:
        """Wait until it has ended, and all that hold its output, for ``limit`` seconds at most."""
        output = self.output.result(timeout=limit)
        return Outcome(self.process.wait(timeout=limit), output)


class Workspace:
    """A copy of the repository with results of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of_repository(cls, folder: Path, *, with_study: bool = False) -> "Workspace":
        """Copy what git tracks or would track; the study's results, half of the files, only if asked."""
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        if not with_study:
            command.append(":!results/reference")
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / name)
        return cls(folder)

    def copy(self, folder: Path) -> "Workspace":
        """Copy everything, Snakemake's memory of what was made from what and the times included."""

        def copy_file(source: str, target: str) -> None:
            # The donors' maps, a quarter of a gigabyte, are shared: nothing writes into a file in place.
            if Path(source).stat().st_size > 1_000_000:
                os.link(source, target)
            else:
                shutil.copy2(source, target)

        return Workspace(Path(shutil.copytree(self.folder, folder, symlinks=True, copy_function=copy_file)))

    def part(self) -> None:
        """Take files of one's own in place of those shared with the folder that this one is a copy of."""
        for path in self.folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1:
                own = path.with_name(f".own-{path.name}")
                shutil.copy2(path, own)
                own.replace(path)

    @property
    def results(self) -> Path:
        """Folder of the tiny experiment's results."""
        return self.folder / RESULTS

    @property
    def shared(self) -> Path:
        """Folder of what experiments share."""
        return self.folder / SHARED

    def place(self, kind: str, dataset: str) -> Path:
        """Folder of the only raw scans, aligned subjects or split data of a dataset that are there."""
        (found,) = (self.shared / kind).glob(f"{dataset}-*")
        return found

    def path(self, name: str) -> Path:
        """A file of the repository."""
        return self.folder / name

    @contextmanager
    def edited(self, name: str, text: str = "\n# Edited.\n") -> Iterator[None]:
        """Append to a file, and restore content and time at the end."""
        path = self.path(name)
        stat, content = path.stat(), path.read_bytes()
        path.write_bytes(content + text.encode())
        try:
            yield
        finally:
            path.write_bytes(content)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def configure(self, changes: Callable[[Any], None], name: str = "tests/e2e/changed.yaml") -> Path:
        """Write a changed copy of the tiny configuration and return its path below the folder."""
        content = yaml.safe_load(self.path(str(CONFIG)).read_text(encoding="utf-8"))
        changes(content)
        self.path(name).write_text(yaml.safe_dump(content), encoding="utf-8")
        return Path(name)

    def shell(self, commands: str) -> "subprocess.CompletedProcess[str]":
        """Type commands of a page here; the first that fails ends them."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def start(
        self,
        *arguments: str,
        config: Path | Sequence[Path] = CONFIG,
        cores: int = 2,
        largest_file: int | None = None,
        **options: Any,
    ) -> subprocess.Popen[str]:
        """Start Snakemake in a process group of its own, as a shell does.

        Args:
            config: one, or several of which the later change the earlier.
            largest_file: bytes (in steps of 1024) that a file may grow to, in place of a disk that fills.
        """
        files = map(str, [config] if isinstance(config, Path) else config)
        command = ["snakemake", *arguments, "--cores", str(cores), "--configfile", *files, "--nocolor"]
        if largest_file is not None:
            limit = f'ulimit -S -f {largest_file // 1024}; exec "$@"'
            command = ["bash", "-c", limit, "bash", *command]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment() | options.pop("env", {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )

    @contextmanager
    def running(self, *arguments: str, **options: Any) -> Iterator["Run"]:
        """Start Snakemake, and kill it with all its children if the test does not come to its end."""
        with self.start(*arguments, **options) as process, ThreadPoolExecutor(1) as reader:
            assert process.stdout is not None
            # Read at once: while a test waits for something else, Snakemake would wait for its reader.
            run = Run(process, reader.submit(process.stdout.read))
            try:
                yield run
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                raise

    def run(self, *arguments: str, limit: float = LIMIT, **options: Any) -> Outcome:
        """Run Snakemake to its end, which comes within ``limit`` seconds."""
        with self.running(*arguments, **options) as run:
            return run.end(limit)

    def complete(self, *arguments: str, **options: Any) -> Outcome:
        """Run Snakemake and insist that it succeeds."""
        outcome = self.run(*arguments, **options)
        assert outcome.status == 0, outcome.output
        return outcome

    def dry(self, *arguments: str, config: Path = CONFIG) -> Outcome:
        """Ask what would run."""
        outcome = self.complete("--dry-run", *arguments, config=config)
        assert outcome.jobs or NOTHING in outcome.output, outcome.output
        return outcome

    def broken_off(
        self, sent: signal.Signals, when: Callable[[], bool], *arguments: str, **options: Any
    ) -> Outcome:
        """Start Snakemake and send a signal to it and all its children as soon as ``when`` holds."""
        with self.running(*arguments, **options) as run:
            end = time.monotonic() + LIMIT
            while not when():
                assert run.process.poll() is None, run.end().output
                assert time.monotonic() < end, "the moment to interrupt never came"
                time.sleep(0.02)
            os.killpg(run.process.pid, sent)
            return run.end()


def environment() -> Mapping[str, str]:
    """The tests' own Python first on the path, for Snakemake and the commands of its jobs."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
    }
