"""Data sets of labelled images, from several sources, with fixed splits; never other data than what was asked for."""

from lossmith.train.data.dataset import Dataset, Split
from lossmith.train.data.fashion import FASHION_MNIST_URL, fetch_fashion_mnist
from lossmith.train.data.load import load_dataset
from lossmith.train.data.record import SplitRecord, keep_splits, load_splits, save_splits, split_record

__all__ = [
    "FASHION_MNIST_URL",
    "Dataset",
    "Split",
    "SplitRecord",
    "fetch_fashion_mnist",
    "keep_splits",
    "load_dataset",
    "load_splits",
    "save_splits",
    "split_record",
]
