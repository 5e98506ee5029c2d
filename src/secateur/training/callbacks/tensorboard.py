"""TensorBoard: the pruner's figures of every layer. Needs ``pip install 'secateur[tensorboard]'``."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from secateur.core.errors import MissingExtraError
from secateur.training.pruner import Pruner

try:
    from torch.utils.tensorboard.writer import SummaryWriter
except ImportError as error:
    raise MissingExtraError("tensorboard", "tensorboard", "summaries") from error


class Summaries:
    """Writes sparsity and threshold of every layer and of the network.

    Tags: ``sparsity/LAYER``, ``threshold/LAYER``, ``sparsity/asked``, ``sparsity/reached``. Use it as a context
    manager, or call :meth:`close`.

    Args:
        pruner: whose figures.
        folder: the log folder of TensorBoard, or a writer of yours, which stays open.

    >>> import tempfile
    >>> from torch import nn
    >>> with Summaries(Pruner(nn.Linear(4, 4), 0.5), tempfile.mkdtemp()) as summaries:
    ...     summaries.write()
    """

    def __init__(self, pruner: Pruner, folder: str | Path | SummaryWriter):
        self.pruner, self._own = pruner, not isinstance(folder, SummaryWriter)
        self.writer = SummaryWriter(str(folder)) if not isinstance(folder, SummaryWriter) else folder  # type: ignore[no-untyped-call]

    def write(self) -> None:
        """Write what holds now, at the pruner's step."""
        add = self.writer.add_scalar
        for layer in self.pruner.summary():
            for figure in ("sparsity", "threshold"):
                add(f"{figure}/{layer['name']}", layer[figure], self.pruner.steps)  # type: ignore[no-untyped-call]
        add("sparsity/asked", self.pruner.sparsity, self.pruner.steps)  # type: ignore[no-untyped-call]
        add("sparsity/reached", self.pruner.reached, self.pruner.steps)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Flush, and close a writer of our own."""
        self.writer.flush()  # type: ignore[no-untyped-call]
        if self._own:
            self.writer.close()  # type: ignore[no-untyped-call]

    def __enter__(self) -> Summaries:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()
