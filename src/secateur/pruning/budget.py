"""What a cut network may cost: a resource and an amount of it, or a share of the original's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from secateur.core.errors import SecateurError, unknown
from secateur.data.calibration import Calibration, joined

RESOURCES = ("parameters", "flops", "bytes", "ms")
MOST_SAMPLES = 1024


@dataclass(frozen=True)
class Budget:
    """A resource, and how much of it: None for a share of the original's that the sparsity tells.

    ``parameters`` are those that are not zero, ``flops`` zero-aware and of one sample, ``bytes`` the smallest of
    dense, bitmask and CSR of every tensor, ``ms`` the measured milliseconds of the compiled network on this
    machine for a batch of ``batch`` samples.
    """

    resource: str
    amount: float | None = None
    batch: int = 1

    def __str__(self) -> str:
        batch = f" at batch {self.batch}" if self.resource == "ms" else ""
        return f"budget {self.resource}{batch}" + (f" {self.amount:g}" if self.amount is not None else "")


def read_budget(given: Any) -> Budget | None:
    """A budget from a resource's name, or from a mapping of it to an amount, with ``batch`` where milliseconds count.

    Raises:
        SecateurError: an unknown resource, or an amount or batch that is not above 0.

    >>> read_budget({"ms": 0.5, "batch": 64}), read_budget("flops")
    (Budget(resource='ms', amount=0.5, batch=64), Budget(resource='flops', amount=None, batch=1))
    """
    if given is None or isinstance(given, Budget):
        return given
    pairs = dict.fromkeys([given]) if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    batch: Any = pairs.pop("batch", 1)
    if len(pairs) != 1:
        raise SecateurError(f"budget {given!r}: allowed is one of {', '.join(RESOURCES)}, alone or with an amount, "
                            "such as {'flops': 1e6}")
    ((resource, amount),) = pairs.items()
    if resource not in RESOURCES:
        raise unknown("budget", str(resource), RESOURCES)
    for name, value in (("amount", amount), ("batch", batch)):
        if value is not None and not (isinstance(value, (int, float)) and 0 < value < float("inf")):
            raise SecateurError(f"budget {resource}: {name} {value!r}, allowed is a number above 0")
    return Budget(resource, None if amount is None else float(amount), int(batch))


def inputs_of(samples: Calibration, most: int = MOST_SAMPLES) -> tuple[Tensor, ...]:
    """Up to ``most`` samples, as the arguments of a call.

    Raises:
        SecateurError: an input that is no tensor.
    """
    found, many = [], 0
    for batch in samples:
        found.append(batch)
        many += len(batch)
        if many >= most:
            break
    return tuple(column[:most] for column in joined(Calibration(found)))
