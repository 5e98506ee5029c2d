"""The arguments of the verbs: wrong names are answered with the right one, settings beside a spec are refused."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar, cast

from secateur.core.errors import SecateurError
from secateur.core.items import check_arguments
from secateur.pruning.spec import PruningSpec

Call = TypeVar("Call", bound=Callable[..., Any])


def refuse_wrong_arguments(call: Call) -> Call:
    """The function, with a :class:`SecateurError` where it does not take the arguments, or gets settings and a spec.

    What was given is known here alone: in the function, a setting that was given as its default looks like one that
    was left out.
    """
    signature = inspect.signature(call)
    bound = int("self" in signature.parameters)
    signature = signature.replace(parameters=[*signature.parameters.values()][bound:])
    what = call.__qualname__.removesuffix(".__init__")
    of_spec = {one.name for one in fields(PruningSpec)}

    @functools.wraps(call)
    def checked(*args: Any, **settings: Any) -> Any:
        check_arguments(what, signature, args[bound:], settings)
        if settings.get("spec") is not None and (beside := [name for name in settings if name in of_spec]):
            raise SecateurError(f"{what}: got spec= and {', '.join(beside)}=; allowed is one of them")
        return call(*args, **settings)

    return cast(Call, checked)
