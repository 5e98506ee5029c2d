"""How much of a neural network can you cut, and what does the cut buy on your own machine?

::

    import secateur as sc

    sparse = sc.prune(model, 0.9, data=x)                       # weights, recovered without labels
    small = sc.prune(model, 0.5, granularity="neuron", data=x)  # fewer neurons: a smaller, plain dense network
    best = sc.prune(model, max_loss=0.5, data=(x, y))           # the smallest that loses at most half a point
    fast = sc.compile(sparse, x[:64])                           # same outputs, sparse kernels for this machine
    print(sc.compare(model, small, x))                          # parameters, bytes, FLOPs, milliseconds, agreement

    plan = sc.plan(model, 0.5, granularity="neuron", example=x[:1])     # exactly what goes, nothing touched
    small = sc.apply(model, plan)
    path = sc.save(small, "small.safetensors", example=x[:1])           # and back: sc.load(path)
    sc.export(small, "small.onnx", x)                                   # checked with ONNX Runtime before it is left
    pruner = sc.Pruner(model, 0.9, optimizer)                           # while any loop trains it: pruner.step()
    run = sc.study(make_model, data, sc.StudyConfig())                  # the sweep, resumable
"""

import sys as _sys

# For -m Python looks in the current folder first: what lies there would take the place of packages.
if _sys.argv[:1] == ["-m"] and _sys.orig_argv[-len(_sys.argv)].removeprefix("-m") == "secateur" and not (
        _sys.flags.isolated or getattr(_sys.flags, "safe_path", False)):
    del _sys.path[0]

from secateur.core import interruption as _interruption

_interruption.watch()

import importlib as _importlib
import importlib.util as _util
import typing as _typing

from secateur.core.version import __version__ as __version__

if _typing.TYPE_CHECKING:
    from secateur._face import *
    from secateur._face import __all__ as __all__
else:
    def __getattr__(name: str) -> _typing.Any:
        """A name of the package, imported when it is first asked for: what needs no torch starts without it."""
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # "from secateur import ROOM" asks here first: a room is imported alone.
        if _util.find_spec(f"{__name__}.{name}"):
            return _importlib.import_module(f"{__name__}.{name}")
        face = _importlib.import_module("secateur._face")
        globals().update({"__all__": face.__all__, **{one: getattr(face, one) for one in face.__all__}})
        if name not in globals():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return globals()[name]

    def __dir__() -> list[str]:
        return __getattr__("__all__")
