"""The two proofs of a cut, in float64: the grouping by permutation, the cut network against the masked original."""
