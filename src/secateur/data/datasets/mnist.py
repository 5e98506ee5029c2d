"""MNIST: handwritten digits, 60,000 + 10,000 images of 28x28 pixels."""

from __future__ import annotations

from secateur.data.datasets._idx import load_idx, mnist_files
from secateur.data.datasets.base import Dataset, Source

_FILES = mnist_files(
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)


class Mnist(Source):
    """LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*,
    Proceedings of the IEEE 86(11), 1998. Y. LeCun and C. Cortes, CC BY-SA 3.0.

    Pixels divided by 255, ``(n, 1, 28, 28)``. A checkout of this project has the files in ``data/mnist/``;
    the SHA-256 of each, unpacked, is checked.
    """

    def load(self) -> Dataset:
        """Read the four files, fetched where they are missing."""
        return load_idx("mnist", _FILES, _MIRRORS)
