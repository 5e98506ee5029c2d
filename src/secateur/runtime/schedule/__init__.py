"""Which kernel runs which layer: candidates, their costs, the choice, the program."""
