"""How much of a neural network can you cut, and what does the cut buy on your own machine?

    import secateur as sc

    plan = sc.plan(model, sparsity=0.9)                   # exactly what goes, nothing touched
    sparse = sc.apply(model, plan)                        # weights zeroed; ``model`` untouched
    small = sc.prune(model, sparsity=0.5, granularity="neuron", example=x)
"""

from secateur.apply import apply
from secateur.errors import SecateurError
from secateur.prune import plan, prune
from secateur.types import Group, Plan, Structure, Target
from secateur.version import __version__

__all__ = ["Group", "Plan", "SecateurError", "Structure", "Target", "__version__", "apply", "plan", "prune"]
