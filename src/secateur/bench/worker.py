"""Starts ``child.py``: an engine in a process of its own, so that no engine disturbs the threads of another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import Any

_GRACE_SECONDS = 5
"""How long a process may take to end by itself before it is killed."""


_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from secateur.bench.child import main; main()"
"""Modules are found where this process finds them: Python's own ways of starting one look in the current folder first.
"""


class WorkerError(RuntimeError):
    """An engine failed, or its process ended; the message is one line."""


class Worker:
    """A process that holds one engine; closing it ends the process.

    Args:
        order: as :class:`secateur.bench.child.Child` takes it.
    """

    def __init__(self, order: dict[str, Any]):
        count = str(order["threads"])
        paths = [path for path in sys.path if isinstance(path, str)]
        environment = {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count}
        self.noise = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen([sys.executable, "-I", "-c", _START, json.dumps(paths), json.dumps(order)],
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.noise,
                                        env=environment)

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Send one order and return its answer.

        Raises:
            WorkerError: the order failed, or the process ended.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = ""
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        if not line:
            raise WorkerError(self._exit_reason())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _exit_reason(self) -> str:
        """The exit code of the process, with the last line that it printed."""
        code = self.process.wait()
        self.noise.seek(0)
        last = next((line.strip() for line in reversed(self.noise.readlines()) if line.strip()), "")
        return f"its process ended with code {code}" + (f": {last[:300]}" if last else "")

    def close(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self.process.communicate(timeout=_GRACE_SECONDS)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.noise.close()
