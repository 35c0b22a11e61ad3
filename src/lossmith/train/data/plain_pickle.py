"""Reading the pickles in which CIFAR comes without running anything that they name.

A pickle is a program that may call any function of any module. Here the names that an array of NumPy needs stand for
records that only hold what they are given, and every other name is an error; the array is then built from its bytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from typing import Any

import numpy as np
import numpy.typing as npt

from lossmith.errors import DataError

_ERRORS = (  # what a damaged or hostile pickle leads to
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Record:
    """Holds the state of an array or of a type."""

    __slots__ = ("arguments", "state")

    def __init__(self, arguments: tuple[Any, ...]) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Maker:
    """What a pickle calls in place of a function of NumPy. It cannot be changed by the pickle."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> object:
        return _Record(arguments)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError("sets an attribute of a function")

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("sets the state of a function")


class _ArrayMaker(_Maker):
    __slots__ = ()


class _TypeMaker(_Maker):
    __slots__ = ()


class _Encoder(_Maker):
    """Bytes, as Python 3 writes them in the old protocols."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> object:
        match arguments:
            case (str() as text, "latin1" | b"latin1"):
                return text.encode("latin1")
        raise pickle.UnpicklingError("encodes something other than latin1")


_ARRAY, _TYPE, _CLASS, _ENCODE = _ArrayMaker(), _TypeMaker(), _Maker(), _Encoder()
_NAMES: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _ARRAY,
    ("numpy._core.multiarray", "_reconstruct"): _ARRAY,
    ("numpy", "ndarray"): _CLASS,
    ("numpy", "dtype"): _TYPE,
    ("_codecs", "encode"): _ENCODE,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _NAMES[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is no plain data") from None


def read_plain_dict(content: bytes, where: str) -> dict[str, Any]:
    """The dictionary in a pickle of plain data.

    Args:
        content: the pickle, of any protocol, of Python 2 or 3.
        where: the file, the start of the error message.

    Returns:
        Its values by key. Arrays are uint8 `numpy.ndarray`, read-only; texts of Python 2 are bytes.

    Raises:
        DataError: it is damaged, names a class or function of its own, or is no dictionary of plain data.
    """
    try:
        _check_memo(content)
        loaded = _Unpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise pickle.UnpicklingError(f"expected a dictionary, found {type(loaded).__name__.strip('_')}")
        return {_text(key): _array(value) if isinstance(value, _Record) else value for key, value in loaded.items()}
    except _ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{where}: not a readable batch ({reason}); replace the file with an intact copy") from error


def _check_memo(content: bytes) -> None:
    """Refuses a place in the memo beyond all that came before: memory is taken for every place up to it."""
    for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
        if operation.name in {"PUT", "BINPUT", "LONG_BINPUT"} and (argument or 0) > number:
            raise pickle.UnpicklingError("a place in its memo is out of order")


def _text(key: Any) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _array(record: _Record) -> npt.NDArray[np.uint8]:
    """The array that a record describes, by the layout of `numpy.ndarray.__setstate__`."""
    match record.state:
        case (1, tuple() as shape, _Record(arguments=("u1" | b"u1" | "|u1" | b"|u1", *_)), order, bytes() as content):
            pass
        case _:
            raise pickle.UnpicklingError("it holds an array of another kind than uint8")
    if not all(type(side) is int and side >= 0 for side in shape) or math.prod(shape) != len(content):
        raise pickle.UnpicklingError("it holds an array whose shape and content differ")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if order else "C")
