"""Whether a cut took from a network what its outputs told: a sentence that says so, and what to try."""

from __future__ import annotations

from torch import nn

from secateur.core import text
from secateur.core.errors import SecateurError
from secateur.core.module_state import untouched
from secateur.data.calibration import Calibration
from secateur.measure.agreement import Agreement, agreement

_LOST = 0.9
"""The part of the variance that is lost in a ruin. A constant loses 1; of what collapsed, a trace still follows the
inputs: resnet20 on digits at 50% of the weights without recovery loses 0.92 and falls from 94% to 27% accuracy, at 30%
it loses 0.07 and one point. Cuts of 50% with recovery lose 0.00 to 0.10 there and in the MLP."""
_CLASSES_KEPT = 0.5
"""A classifier is of use while it keeps half of the classes beyond those that a constant would hit, however its outputs
are scaled: the MLP without 80% of its neurons loses 1.08 of the variance, but still has 72% accuracy."""
_MOST_SAMPLES = 256
"""No more batches are run than hold so many samples."""


def ruin(near: Agreement) -> str:
    """What a ruinous cut lost and what to try, as a sentence; empty where the outputs are of use.

    >>> ruin(Agreement(0.9, 0.6, 100, lost=0.8))
    ''
    >>> ruin(Agreement(1.1, 0.1, 100, 0.1, lost=1.2, usual=0.1)).partition("; ")[0].partition("(")[2]
    '100 samples: 120% of the variance is lost, the same class in 10%)'
    """
    # NaN is no number below the threshold: outputs that are not finite are lost.
    if near.lost is None or near.lost < _LOST or _keeps_classes(near):
        return ""
    same = "" if near.same is None else f", the same class in {text.percent(near.same)}"
    samples = "1 sample" if near.samples == 1 else f"{text.count(near.samples)} samples"
    lost = f"{samples}: {text.percent(near.lost)} of the variance is lost{same}"
    return (f"the cut is ruinous: the outputs are hardly closer to the original's than a constant would be ({lost}); "
            "what to try: data= (so that recovery runs) or more samples, a lower sparsity, scope='global' or a budget "
            "(sc.Budget), skip= for the layers that matter most")


def _keeps_classes(near: Agreement) -> bool:
    """Whether most rows keep their class, beyond what a constant would give."""
    if near.same is None or near.usual is None or near.usual == 1:
        return False
    return (near.same - near.usual) / (1 - near.usual) >= _CLASSES_KEPT


def ruin_of(model: nn.Module, cut: nn.Module, samples: Calibration) -> str:
    """As :func:`ruin`, of two networks run once each on a bounded number of samples, neither of them changed.

    Empty, too, where their outputs cannot be compared.
    """
    with untouched(model), untouched(cut):
        try:
            return ruin(agreement(model, cut, samples.first(_MOST_SAMPLES)))
        except SecateurError:
            return ""
