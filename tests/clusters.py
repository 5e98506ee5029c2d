"""A Dask cluster of real processes on loopback, as a user starts it, whose workers can be watched, held and killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

from support import TESTS

PATIENCE_S = 300
HOOK = """
import os, pathlib, signal, time
from secateur.experiment import cluster

folder, held, does = (os.environ[name] for name in ("HOOK_FOLDER", "HOOK_POINT", "HOOK_DOES"))
folder = pathlib.Path(folder)
# Dask may run this file twice.
measure = getattr(cluster.measure, "watches", cluster.measure)

def watched(job, crowd):
    with open(folder / "measured", "a") as file:
        file.write(f"{job[1]}\\n")
    if str(job[1]) == held and does != "nothing":
        (folder / f"began-{os.getpid()}").touch()
        if does == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        while not (folder / "go").exists():
            time.sleep(0.02)
    return measure(job, crowd)

watched.watches = measure
cluster.measure = watched
exec(os.environ.get("HOOK_MORE", ""))
"""


class Cluster:
    """A scheduler and workers; a worker that comes to ``point`` says so in a file, and waits or dies.

    Args:
        does: what a worker does with the point: ``nothing``, ``waits``, ``dies``.
        more: Python that each worker runs when it starts.
    """

    def __init__(self, folder, workers=2, point="", does="nothing", settings=(), threads=1, more=""):
        self.folder, self.file, self.threads = folder, folder / "scheduler.json", threads
        (folder / "hook.py").write_text(HOOK)
        self.environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__ADMIN__EVENT_LOOP": "asyncio",
            "PYTHONPATH": os.pathsep.join(map(str, [TESTS, TESTS / "unit", TESTS.parent / "src"])), **dict(settings),
            "HOOK_FOLDER": str(folder), "HOOK_POINT": point, "HOOK_DOES": does, "HOOK_MORE": more}
        self.processes = []
        self.start_scheduler()
        for _ in range(workers):
            self.start_worker()
        self.address = self.wait_for_workers(workers)

    def start_scheduler(self, port=0):
        self.scheduler = self.start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--scheduler-file",
                                    str(self.file), "--no-show")

    def start_worker(self, **environment):
        return self.start("worker", "--scheduler-file", str(self.file), "--nthreads", str(self.threads),
                          "--local-directory", str(self.folder), "--no-nanny", "--preload",
                          str(self.folder / "hook.py"), **environment)

    def start(self, what, *words, **environment):
        process = subprocess.Popen([sys.executable, "-m", f"distributed.cli.dask_{what}", "--no-dashboard", *words],
                                   env={**self.environment, **environment}, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def wait_for_workers(self, count):
        from distributed import Client

        until(lambda: self.file.exists() and self.file.read_text().rstrip().endswith("}"))
        address = json.loads(self.file.read_text())["address"]
        with Client(address, timeout=PATIENCE_S) as client:
            client.wait_for_workers(count, timeout=PATIENCE_S)
        return address

    def began(self):
        """The processes that came to the point."""
        return [int(file.name.rpartition("-")[2]) for file in self.folder.glob("began-*")]

    def measured(self):
        """The points that workers began to measure, one entry each time."""
        file = self.folder / "measured"
        return file.read_text().splitlines() if file.exists() else []

    def go(self):
        """From here on no worker waits at the point."""
        (self.folder / "go").touch()

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


@contextlib.contextmanager
def cluster(folder, **given):
    folder.mkdir(exist_ok=True)
    found = Cluster(folder, **given)
    try:
        yield found
    finally:
        found.close()


def kill(number):
    os.kill(number, signal.SIGKILL)


def until(condition, process=None):
    """Wait until something holds; an error where a process ends before, or nothing happens for minutes."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "nothing happens"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)
