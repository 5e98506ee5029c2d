"""What the report draws from: a run's rows gathered over the seeds, one cell for every method and sparsity."""

from __future__ import annotations

from dataclasses import dataclass, field

from secateur.core.text import bits_name
from secateur.experiment.row import Row
from secateur.experiment.run import RunData
from secateur.measure.speed import Speed
from secateur.report.statistics import Interval, Spread

_ROUNDING = 1e-12
"""A loss of exactly the tolerance counts as within it, whatever the last bit of a difference says."""


def is_within(loss: float, tolerance: float) -> bool:
    """Whether a loss of accuracy is within the tolerance; what is not a number is not."""
    return loss <= tolerance + _ROUNDING


@dataclass(frozen=True)
class Method:
    """One way to cut; ``tone`` counts the methods of a granularity, for their colours; what differs in bits alone has
    the same."""

    granularity: str
    criterion: str
    scope: str
    control: bool
    name: str = ""
    tone: int = 0
    recovery: str = "none"
    needs_labels: bool = False
    bits: int = 32

    @property
    def has_recovery(self) -> bool:
        """Whether anything was done after the cut to win accuracy back."""
        return self.recovery != "none"

    @property
    def way(self) -> str:
        """How its networks are meant to run: zeros with sparse kernels, what lost neurons as a smaller network,
        those in fewer bits in an engine for them."""
        if self.bits != 32:
            return bits_name(self.bits)
        return "small" if self.granularity == "neuron" else "sparse"


@dataclass(frozen=True)
class Cell:
    """One method at one sparsity: means over the seeds.

    ``cost`` is the accuracy lost, as a fraction, ``stored`` the bytes of the network's file, ``speeds`` the timings
    as batch → way to run → speed.
    """

    sparsity: float
    accuracy: Spread
    loss: Spread
    cost: Interval
    items: float
    removed: float
    nonzeros: float
    flops_nonzero: float
    stored: float
    speeds: dict[str, dict[str, Speed]]
    rows: tuple[Row, ...]

    def speed(self, batch: str, way: str) -> Speed | None:
        """The speed at a batch in one way to run; None where it was not measured."""
        return self.speeds.get(batch, {}).get(way)


@dataclass(frozen=True)
class Curve:
    """One method with its cells by rising sparsity."""

    method: Method
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Dense:
    """The uncut network over the seeds; ``seconds`` is its latency by batch."""

    accuracy: Spread
    parameters: float
    bytes: float
    seconds: dict[str, float]


@dataclass(frozen=True)
class Quantized:
    """The uncut network in fewer bits."""

    bits: int
    cell: Cell

    @property
    def method(self) -> Method:
        """It as a way to cut, which cuts nothing."""
        return Method("", "", "", False, self.name, bits=self.bits)

    @property
    def name(self) -> str:
        """What it is called beside cuts."""
        return f"{bits_name(self.bits)} alone"


@dataclass(frozen=True)
class Results:
    """All that the report draws from; ``uncut_rows`` holds the row of each seed's network before any cut,
    ``quantized`` the uncut network in fewer bits, the fewest last."""

    run: RunData
    dense: Dense
    curves: tuple[Curve, ...]
    batches: tuple[str, ...]
    tolerance: float
    uncut_rows: dict[int, Row] = field(default_factory=dict)
    quantized: tuple[Quantized, ...] = ()

    @property
    def rival(self) -> Quantized | None:
        """The smallest uncut network in fewer bits whose mean loss of accuracy is within the tolerance: what a cut has
        to beat. None where the uncut network in float32 is all that there is."""
        near = [one for one in self.quantized if is_within(one.cell.cost.mean, self.tolerance)
                and one.cell.stored < self.dense.bytes]
        return min(near, key=lambda one: one.cell.stored, default=None)

    def methods(self, granularity: str | None = None, controls: bool = False) -> list[Curve]:
        """The curves of one granularity, or of all; those of controls only where asked for."""
        return [c for c in self.curves if granularity in (None, c.method.granularity)
                and (controls or not c.method.control)]

    def plain(self, granularity: str | None = None) -> list[Curve]:
        """The methods without recovery; all methods of a granularity that has only recovered ones. No controls."""
        curves = self.methods(granularity)
        bare = {c.method.granularity for c in curves if not c.method.has_recovery}
        return [c for c in curves if not c.method.has_recovery or c.method.granularity not in bare]

    def with_recovery(self, granularity: str | None = None) -> list[Curve]:
        """The methods with a recovery, of granularities that have methods without one too. No controls."""
        plain = self.plain(granularity)
        return [c for c in self.methods(granularity) if c not in plain]

    @property
    def keeps(self) -> tuple[float, ...]:
        """The sparsities at which some method, no control, keeps something, rising: the places of the page's slider."""
        return tuple(sorted({cell.sparsity for c in self.methods() or self.curves for cell in c.cells
                             if cell.sparsity < 1}))

    def cells_at(self, sparsity: float) -> list[tuple[Curve, Cell]]:
        """One cell a granularity: of the first method with recovery that was measured there, else of a plain one."""
        found: dict[str, tuple[Curve, Cell]] = {}
        for curve in (*self.with_recovery(), *self.plain()):
            for cell in curve.cells:
                if cell.sparsity == sparsity:
                    found.setdefault(curve.method.granularity, (curve, cell))
        return [found[g] for g in self.granularities if g in found]

    @property
    def noisy(self) -> bool:
        """Whether some timing that the report shows is noisy."""
        return any(speed.noise for curve in self.curves for cell in curve.cells for ways in cell.speeds.values()
                   for speed in ways.values())

    @property
    def has_untimed_bits(self) -> bool:
        """Whether there are networks in fewer bits without a timing."""
        return any(row.bits != 32 and not row.latency for row in self.run.points)

    def bits_of(self, granularity: str) -> list[int]:
        """In how many bits the networks of a granularity compute, the most first."""
        return sorted({c.method.bits for c in self.methods(granularity)}, reverse=True)

    @property
    def granularities(self) -> list[str]:
        """The granularities of the run, in order."""
        return list(dict.fromkeys(c.method.granularity for c in self.curves))
