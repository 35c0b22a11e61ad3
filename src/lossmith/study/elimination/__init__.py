"""Loss function elimination: the best losses of searches go through phases, and after each the best go on."""
