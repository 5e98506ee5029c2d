"""Shared by all tests: one torch thread, so that parallel test processes do not crowd the machine."""

import torch

torch.set_num_threads(1)
