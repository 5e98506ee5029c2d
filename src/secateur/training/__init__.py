"""Training with pruning: a pruner for any loop, regularisation, distillation, iterative pruning, checkpoints.

::

    pruner = sc.Pruner(model, Polynomial(0.9, end=1000), optimizer)
    for x, y in batches:
        loss(model(x), y).backward()
        optimizer.step()
        pruner.step()
        optimizer.zero_grad()
    sparse = pruner.finish()

``secateur.training.callbacks`` holds the same for Lightning and the Hugging Face Trainer, and TensorBoard's summaries.
"""

from __future__ import annotations

from secateur.training import checkpoint
from secateur.training.distillation import distillation
from secateur.training.iterative import rounds
from secateur.training.loop import fit, steps_of
from secateur.training.pruner import Pruner
from secateur.training.regularization import group_lasso, l1
from secateur.training.sparsity_source import Live

__all__ = ["Live", "Pruner", "checkpoint", "distillation", "fit", "group_lasso", "l1", "rounds", "steps_of"]
