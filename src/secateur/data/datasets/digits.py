"""Digits: scikit-learn's 1,797 handwritten digits of 8x8 pixels, in memory without any file."""

from __future__ import annotations

import torch

from secateur.core.errors import MissingExtraError
from secateur.data.datasets.base import Dataset, Source, dataset

_TRAIN_SAMPLES = 1437
_LARGEST_PIXEL = 16.0


class Digits(Source):
    """Alpaydin and Kaynak, *Optical Recognition of Handwritten Digits*, UCI repository, 1998 (CC BY 4.0).

    Pixels divided by 16, ``(n, 1, 8, 8)``; in the order of the file, the first 1,437 for training, the
    last 360 for testing.
    """

    def load(self) -> Dataset:
        """Read it from scikit-learn.

        Raises:
            MissingExtraError: scikit-learn is not installed.
        """
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise MissingExtraError("scikit-learn", "data", "data set 'digits'") from error
        raw = load_digits()
        x = torch.from_numpy(raw.images).float().unsqueeze(1) / _LARGEST_PIXEL
        y = torch.from_numpy(raw.target).long()
        return dataset("digits", x[:_TRAIN_SAMPLES], y[:_TRAIN_SAMPLES], x[_TRAIN_SAMPLES:], y[_TRAIN_SAMPLES:],
                       classes=10)
