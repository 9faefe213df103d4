"""The showcase in one process: the same routes, with the other language's engine beside them instead of a bridge."""
