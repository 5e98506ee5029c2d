"""What the command line says of a file that was written."""

from __future__ import annotations

from rich.console import Console

from secateur.export import Exported
from secateur.export._check import COARSE
from secateur.export._take import Done


def tell(done: Done, console: Console | None = None) -> None:
    """Print what was written, how it was checked, and what a user should know."""
    console = console or Console()
    for line in lines(done):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def lines(done: Done) -> list[str]:
    """The lines."""
    found = [f"{done.what}: {done.path}"]
    if done.written is not None:
        found += described(done.written)
    if done.accuracy is not None:
        found.append(f"test accuracy of the file {done.accuracy[0]:.4f}, of the run's row {done.accuracy[1]:.4f}")
    return [*found, *(f"note: {note}" for note in done.notes)]


def described(written: Exported) -> list[str]:
    """Bytes, inputs, check."""
    sizes = ", ".join(f"{name} {size:,} bytes" for name, size in written.files.items())
    seconds = sum(written.seconds.values())
    found = [f"{sizes}, written and checked in {seconds:.1f} s"]
    found += [f"takes {written.inputs}"] if written.inputs else []
    check = written.checked
    if check is None:
        return [*found, "read back: every tensor is the network's, bit for bit"]
    rows = ", ".join(str(n) for n in dict.fromkeys(check.batches))
    compared = f"run with {written.runtime} on batches of {rows}: "
    if check.error > check.allowed:
        same = f", the same greatest output in {check.same:.1%} of {check.rows} rows" if check.same is not None else ""
        return [*found, f"{compared}outputs {check.distance:.2%} off in length (int8: allowed {COARSE:.0%}){same}"]
    return [*found, f"{compared}outputs {check.error:.1e} off the truth of float64, relative to the greatest "
            f"(allowed {check.allowed:.1e})"]
