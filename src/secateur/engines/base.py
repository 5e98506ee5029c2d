"""The contract of an engine: why it cannot run here, and a network in, a callable out."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import Tensor, nn

Inputs = tuple[Tensor, ...]
Call = Callable[[Inputs], Any]


class Engine:
    """A way to run a network on the CPU.

    Attributes:
        title: its name in tables and figures.
        uses_zeros: whether zeros among the weights change its speed. Other engines run a network cut of weights as
            fast as the original, which has the same shapes.
        rounds: whether it rounds the weights itself; it is not given a network whose weights are rounded already.
        needs: the packages that it imports, and the extra of secateur that installs them.

    Some engines take a network in several ways, such as files of two formats; :meth:`ways` names them. All of them are
    measured at each batch size, and the fastest is timed (``bench/ways.py``). An engine that reads a file of another
    format overrides :meth:`convert`; the conversion runs in another process than :meth:`prepare`, so that its memory is
    not counted.
    """

    title = ""
    uses_zeros = False
    rounds = False
    needs: tuple[str, ...] = ()
    extra = ""

    def refusals(self) -> list[str]:
        """Why it cannot run here, one reason a line; empty where it can."""
        return [f"{package} is not installed: pip install 'secateur[{self.extra}]'" for package in self.needs
                if find_spec(package) is None]

    def precision(self) -> str:
        """The precision of its arithmetic on this machine, a name of torch's types."""
        return "float32"

    def ways(self, network: nn.Module) -> tuple[str, ...]:
        """The names of the ways in which it takes a network; empty text is the only one."""
        return ("",)

    def convert(self, network: nn.Module, inputs: Inputs, folder: Path, way: str = "") -> Path | None:
        """Write the network in the engine's own format; None where it takes the network itself.

        Args:
            network: in evaluation mode, on the CPU.
            inputs: of at least two samples, so that the batch can be left open; ranges of int8 are taken from them.
            folder: for the files of this network; a file that another engine wrote there may be taken.
            way: one of :meth:`ways`.
        """
        return None

    def prepare(self, network: Any, inputs: Inputs, threads: int, way: str = "") -> Call:
        """The call that runs a network on inputs and gives its outputs, tensors or arrays in torch's order.

        Args:
            network: the network, whose weights may be laid out anew, or the file that :meth:`convert` wrote.
            inputs: one example.
            threads: how many threads the engine may use.
            way: one of :meth:`ways`.
        """
        raise NotImplementedError

    def version(self) -> str:
        """The version of the package that runs the network."""
        return metadata.version(self.needs[0] if self.needs else "torch")

    def describe(self, call: Call) -> str:
        """What a reader should know of a prepared call, in a few words."""
        return ""


CONTRACT = Engine
