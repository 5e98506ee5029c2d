"""What a caller should know of a plan or a refit: weights that nothing reads, samples that are few."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from secateur.core.errors import failing
from secateur.core.module_state import evaluating
from secateur.core.modules import device_of
from secateur.core.tensors import to_device
from secateur.core.text import percent
from secateur.core.types import Cut, Target
from secateur.data.batch import describe_value
from secateur.data.calibration import Calibration
from secateur.data.forward import call
from secateur.graph.example import examples, inputs
from secateur.pruning.granularity.base import Layer

REFIT = "the refit"
RowCounts = Mapping[str, tuple[int, int]]
"""Of each layer how many rows (samples times places) were seen, and how many inputs a row has."""


class _Readers(TorchFunctionMode):
    """Notes which of some tensors any function takes."""

    def __init__(self, tensors: Iterable[Any]):
        super().__init__()
        self.wanted, self.read = {id(tensor) for tensor in tensors}, set[int]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note what the call takes, then make it."""
        self.read |= self.wanted.intersection(map(id, tree_leaves((args, kwargs))))
        return func(*args, **(kwargs or {}))


Run = Callable[[nn.Module], Any]
"""One call of a network."""


def example_calls(samples: Calibration | None, example: Any) -> list[Run]:
    """The call on the first batch of some samples, or those on the examples in place of them; none where there is
    neither."""
    if samples is not None:
        return [partial(call, batch=next(iter(samples)))]
    return [] if example is None else [partial(_call_example, one) for one in examples(example)]


def _call_example(example: Any, model: nn.Module) -> Any:
    """The outputs for an example.

    Raises:
        SecateurError: the network does not run on it.
    """
    args, kwargs = to_device(inputs(example), device_of(model))
    with failing(f"the network does not run on {' and '.join(map(describe_value, (*args, *kwargs.values())))}"):
        return model(*args, **kwargs)


def _unread_targets(model: nn.Module, targets: Sequence[Target], calls: Sequence[Run]) -> list[Target]:
    """The targets whose weight no function takes in any of some calls of a network in evaluation mode.

    >>> from secateur.graph import targets
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.used, self.idle = nn.Linear(2, 2), nn.Linear(2, 2)
    ...     def forward(self, x):
    ...         return self.used(x)
    >>> net = Net()
    >>> [target.name for target in _unread_targets(net, targets(net), example_calls(None, torch.ones(1, 2)))]
    ['idle.weight']
    """
    # torch.compile hides the calls inside, so that every weight would look as if nothing read it.
    if any(type(module).__name__ == "OptimizedModule" for module in model.modules()):
        return []
    weights = {target.name: model.get_parameter(target.name) for target in targets}
    with evaluating(model), torch.no_grad(), _Readers(weights.values()) as readers:
        for run in calls:
            run(model)
    return [target for target in targets if id(weights[target.name]) not in readers.read]


def underdetermined_layers(seen: RowCounts, what: str) -> Iterator[str]:
    """A note where layers have more inputs than rows were seen, so that what was fitted to them is not determined.

    >>> list(underdetermined_layers({"fc1": (20, 64), "fc2": (20, 8)}, "the refit"))
    ['few samples: the refit of 1 of 2 layers had fewer rows than inputs (fc1: 20 rows, 64 inputs); pass more data']
    """
    short = {name: pair for name, pair in seen.items() if pair[0] < pair[1]}
    if short:
        name, (rows, inputs) = min(short.items(), key=lambda item: item[1][0] / item[1][1])
        yield (f"few samples: {what} of {len(short)} of {len(seen)} layers had fewer rows than inputs ({name}: {rows} "
               f"rows, {inputs} inputs); pass more data")


def uneven_items(cuts: Sequence[Cut], what: str) -> Iterator[str]:
    """A note where the fraction of the items that go is not that of their weights, because some blocks are smaller.

    Args:
        cuts: those of a plan.
        what: the word for their items.

    >>> cut = Cut("fc", torch.tensor([[True, True, False]]), sides=(1, 2))
    >>> list(uneven_items([cut], "blocks"))
    ['50% of the blocks removed, with 33.3% of the weights: blocks at the edge of a layer are smaller']
    """
    # A plan of several granularities counts weights, so that its own figures say it.
    if any(cut.granularity for cut in cuts):
        return
    items = percent(sum(cut.removed for cut in cuts) / max(1, sum(cut.items for cut in cuts)))
    weights = percent(sum(cut.removed_entries for cut in cuts) / max(1, sum(cut.entries for cut in cuts)))
    if items != weights:
        yield f"{items} of the {what} removed, with {weights} of the weights: {what} at the edge of a layer are smaller"


def unused_weights(model: nn.Module, layers: Sequence[Layer], calls: Sequence[Run]) -> Iterator[str]:
    """A note for every layer whose weights count though nothing reads them; for neurons the graph says so."""
    items = {layer.target: layer.items for layer in layers if layer.target is not None}
    for target in _unread_targets(model, [*items], calls) if calls and items else ():
        yield (f"{target.name}: not used for these samples, but its {items[target]} items count toward the sparsity; "
               f"skip '{target.module}' if it is never used")
