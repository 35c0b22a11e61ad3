"""Random changes of training images in batches, each image with its own draws."""

from lossmith.train.augment.batch import augment
from lossmith.train.augment.resize import resized

__all__ = ["augment", "resized"]
