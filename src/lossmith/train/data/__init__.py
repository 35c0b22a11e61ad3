"""Data sets of labelled images, from four sources, with fixed splits; never other data than what was asked for."""

from lossmith.train.data.dataset import Dataset, Split
from lossmith.train.data.fashion import FASHION_MNIST_URL, fetch_fashion_mnist
from lossmith.train.data.load import load_dataset

__all__ = ["FASHION_MNIST_URL", "Dataset", "Split", "fetch_fashion_mnist", "load_dataset"]
