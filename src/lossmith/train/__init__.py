"""Trains any callable loss on a task, and scores it; knows nothing of genomes, formulas or search."""
