"""KMNIST: cursive Japanese characters, 60,000 + 10,000 images of 28x28 pixels."""

from __future__ import annotations

from secateur.data.datasets._idx import load_idx, mnist_files
from secateur.data.datasets.base import Dataset, Source

_FILES = mnist_files(
    "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
    "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
    "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
    "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
    packed=True,
)
_MIRRORS = (
    "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
)


class Kmnist(Source):
    """Clanuwat, Bober-Irizar, Kitamoto, Lamb, Yamamoto, Ha, *Deep Learning for Classical Japanese
    Literature*, 2018. ROIS-DS Center for Open Data in the Humanities, CC BY-SA 4.0.

    Pixels divided by 255, ``(n, 1, 28, 28)``. The SHA-256 checked here is that of the files as they are
    published, gzipped (the sums are those of TensorFlow Datasets); files packed anew are refused.
    """

    def load(self) -> Dataset:
        """Read the four files, fetched where they are missing."""
        return load_idx("kmnist", _FILES, _MIRRORS)
