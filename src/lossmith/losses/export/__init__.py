"""A loss as source for other programs: one readable file that needs no Lossmith."""

from lossmith.losses.export.write import FORMATS, export

__all__ = ["FORMATS", "export"]
