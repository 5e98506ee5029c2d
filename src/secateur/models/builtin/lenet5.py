"""LeNet-5, as Caffe has it: the small convolutional network of the pruning literature."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from secateur.models.builtin.base import Network, check_image


class Lenet5(Network):
    """20 filters of 5x5, max-pool, 50 filters of 5x5, max-pool, 500 units with ReLU, classes; biases
    throughout (Caffe's ``lenet_train_test.prototxt``, pruned in Han et al., NeurIPS 2015): 431,080
    parameters for MNIST. As there, no ReLU follows the convolutions.

    >>> sum(p.numel() for p in Lenet5().parameters())
    431080
    """

    def __init__(self, shape: tuple[int, ...] = (1, 28, 28), classes: int = 10):
        super().__init__(shape, classes)
        # Two convolutions of 5x5, each followed by a pool of 2x2, leave one pixel of 16.
        check_image("lenet5", shape, 16)
        height, width = (((side - 4) // 2 - 4) // 2 for side in shape[1:])
        self.conv1 = nn.Conv2d(shape[0], 20, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.pool2 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(50 * height * width, 500)
        self.fc2 = nn.Linear(500, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images ``(n, c, h, w)`` to logits ``(n, classes)``."""
        x = self.pool2(self.conv2(self.pool1(self.conv1(x))))
        return self.fc2(F.relu(self.fc1(self.flatten(x))))  # type: ignore[no-any-return]
