"""Fashion-MNIST: articles of clothing, 60,000 + 10,000 images of 28x28 pixels."""

from __future__ import annotations

from secateur.data.datasets._idx import load_idx, mnist_files
from secateur.data.datasets.base import Dataset, Source

_FILES = mnist_files(
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
)
DEBIAN = "/usr/share/datasets/fashion-mnist"


class FashionMnist(Source):
    """Xiao, Rasul, Vollgraf, *Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms*, 2017. Zalando SE, MIT licence.

    Pixels divided by 255, ``(n, 1, 28, 28)``. Debian's package dataset-fashion-mnist puts the files where
    they are found; the SHA-256 of each, unpacked, is checked.
    """

    def load(self) -> Dataset:
        """Read the four files, fetched where they are missing."""
        return load_idx("fashion-mnist", _FILES, _MIRRORS, places=(DEBIAN,))
