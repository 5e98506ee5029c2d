"""The search: cheap candidates first, then for each granularity the last sparsity within the limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from secateur.core.choices import Goal
from secateur.core.errors import SecateurError, UnsupportedError
from secateur.core.progress import Progress
from secateur.core.pytree import repeat
from secateur.data.batch import Batch
from secateur.data.calibration import Calibration
from secateur.experiment.search.candidate import LEAVE, Candidate, Tried
from secateur.experiment.search.choose import last_within, steps, winner
from secateur.experiment.search.limit import Limit
from secateur.experiment.search.result import SearchResult
from secateur.experiment.search.space import Space
from secateur.experiment.search.timing import time_candidates, why_int8_is_not_timed
from secateur.experiment.search.trials import Made, Maker
from secateur.files import file_bytes
from secateur.measure.agreement import agreement
from secateur.pruning.granularity import resolve
from secateur.recovery.original import Original


@dataclass(eq=False)
class Search:
    """A search while it runs.

    Attributes:
        maker: makes the networks.
        held: the samples that neither recoveries nor ranges see.
        limit: what may be lost.
        goal: what is wanted.
        space: what is tried.
        progress: is told of each network that was recovered.
    """

    maker: Maker
    held: Calibration
    limit: Limit
    goal: Goal
    space: Space
    progress: Progress
    tried: dict[Candidate, Tried] = field(default_factory=dict)
    made: dict[Candidate, Made] = field(default_factory=dict)

    @property
    def original(self) -> nn.Module:
        """The network before the cut."""
        return self.maker.asked.network

    def run(self, batch: int, seconds: float) -> SearchResult:
        """Try all, time them where speed is the goal, and take the best."""
        self._measure(LEAVE, Made(self.original))
        for bits in self.space.bits:
            if bits != 32:
                self._try_bits(Candidate(bits=bits), Made(self.original))
        self.progress.stage("search", sum(map(self._most, self.space.granularities)))
        for granularity in self.space.granularities:
            self._try_granularity(granularity)
        remarks = self._time(batch, seconds) if self.goal == "speed" else ()
        taken = winner(self.tried.values(), self.goal)
        made = self.made[taken.candidate]
        return SearchResult(made.network, taken, tuple(self.tried.values()), self.limit, self.goal, batch, made,
                            remarks)

    def _most(self, granularity: Any) -> int:
        """How many networks of a granularity are recovered at most."""
        count = len(self.space.grid(granularity))
        return steps(count) + (len(self.space.bits) - 1) * steps(max(0, count - 1) // 2)

    def _try_granularity(self, granularity: Any) -> None:
        """Find the last sparsity within the limit, in each count of bits."""
        name, grid = resolve(granularity).name, self.space.grid(granularity)
        try:
            selection = self.maker.selection(granularity, name)
        except SecateurError as error:
            if len(self.space.granularities) == 1:
                raise
            self.tried[Candidate(name)] = Tried(Candidate(name), note=str(error))
            used = 0
        else:
            used = self._try_grid(partial(self.maker.cut, selection), name, grid)
        self._step(self._most(granularity) - used)

    def _try_grid(self, cut: Callable[[float], Made], name: str, grid: Sequence[float]) -> int:
        """Measure sparsities of a grid, each with one recovery; how many."""
        seen = dict[int, dict[int, bool]]()

        def is_within(bits: int, place: int) -> bool:
            if place not in seen:
                seen[place] = self._try_cut(cut, name, grid[place])
                self._step()
            return seen[place].get(bits, False)

        for bits in self.space.bits:
            known = {place: found.get(bits, False) for place, found in seen.items()}
            last_within(len(grid), partial(is_within, bits), known)
        return len(seen)

    def _step(self, count: int = 1) -> None:
        for _ in range(count):
            self.progress.step()

    def _try_cut(self, cut: Callable[[float], Made], name: str, sparsity: float) -> dict[int, bool]:
        """Measure a cut in each count of bits: in fewer only where it is within the limit in more."""
        found = dict[int, bool]()
        try:
            made = cut(sparsity)
        except SecateurError as error:
            self._refuse(Candidate(name, sparsity), error)
            return found
        for bits in self.space.bits:
            candidate = Candidate(name, sparsity, bits)
            found[bits] = self._measure(candidate, made) if bits == 32 else self._try_bits(candidate, made)
            if not found[bits]:
                break
        return found

    def _try_bits(self, candidate: Candidate, whole: Made) -> bool:
        """Measure a network in fewer bits, where it can be quantised."""
        try:
            made = self.maker.in_bits(whole, candidate)
        except UnsupportedError as error:
            self._refuse(candidate, error)
            return False
        return self._measure(candidate, made)

    def _refuse(self, candidate: Candidate, error: SecateurError) -> None:
        self.tried[candidate] = Tried(candidate, note=str(error))

    def _measure(self, candidate: Candidate, made: Made) -> bool:
        """Add a row; whether the candidate is within the limit. Its network is kept where it may still win."""
        loss = self.limit.loss(agreement(self.original, made.network, self.held))
        # What is left as it is loses nothing, whatever the limit.
        within = candidate == LEAVE or self.limit.allows(loss)
        self.tried[candidate] = Tried(candidate, loss, within, file_bytes(made.network))
        if within:
            self.made[candidate] = made
        if self.goal == "size":
            best = winner(self.tried.values(), "size").candidate
            self.made = {one: network for one, network in self.made.items() if one in (best, LEAVE)}
        return within

    def _time(self, batch: int, seconds: float) -> tuple[str, ...]:
        """Time what is within the limit, of each granularity and bits the sparsest; what is to be known of it."""
        sparsest = {(one.granularity, one.bits): one for one in sorted(self.made, key=lambda one: one.sparsity)}
        found = time_candidates({one: self.made[one].network for one in sparsest.values()},
                                _first_of(self.held, batch), seconds * len(sparsest))
        for one, (engine, speed) in found.speeds.items():
            self.tried[one] = replace(self.tried[one], engine=engine, speed=speed)
        for one, note in found.notes.items():
            self.tried[one] = replace(self.tried[one], note=note)
        lacking = why_int8_is_not_timed() if any(one.bits == 8 for one in self.made) else ""
        some = "of each granularity and bits the highest sparsity within the limit was timed"
        return (some, *filter(None, [lacking]), *found.remarks)


def _first_of(samples: Calibration, count: int) -> Batch:
    """So many samples, repeated where there are fewer."""
    first = next(iter(samples))
    return Batch(tuple(repeat(v, count) if isinstance(v, Tensor) else v for v in first.inputs), None, first.names)


def parted(model: nn.Module, samples: Calibration) -> tuple[Original, Calibration]:
    """The network with the samples that may be seen, and the eighth that is held out.

    Raises:
        SecateurError: there are too few.
    """
    asked = Original(model, samples)
    if asked.few:
        raise SecateurError(f"a search measures on samples held out: {asked.few}")
    fit, held = asked.parts
    return fit, held.samples
