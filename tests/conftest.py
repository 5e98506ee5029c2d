"""Threads are few in tests: the suite runs in several processes at once."""

import torch

torch.set_num_threads(1)
