"""Transfer: losses on other models, data sets and augmentations than they were found on (docs/transfer.md)."""
