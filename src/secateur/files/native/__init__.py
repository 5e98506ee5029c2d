"""The file format of secateur: a header that is read with suspicion, and tensors in sparse layouts."""
