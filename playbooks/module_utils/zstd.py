"""Unpack one zstd frame straight into a buffer, by calling libzstd.

Piping through the zstd command would cost half as much again. The interpreter's lock is released
meanwhile, so threads unpack in parallel.
"""

from __future__ import annotations

import ctypes
from mmap import mmap

from module_utils.channel import Configuration

LIBRARY = "libzstd.so.1"


class Corrupt(Exception):
    """Not a zstd frame, or not one of the expected size."""


def load() -> ctypes.CDLL:
    """Raises Configuration when the ramdisk lacks the library."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise Configuration(
            f"the deploy ramdisk has no {LIBRARY}", "build the ramdisk with the package libzstd1"
        ) from error
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_void_p, ctypes.c_size_t] * 2
    return library


def unpack(library: ctypes.CDLL, packed: bytearray, buffer: mmap, length: int) -> None:
    """Fill the first `length` bytes of `buffer` (both writable). Raises Corrupt."""
    target = (ctypes.c_char * length).from_buffer(buffer)
    source = (ctypes.c_char * len(packed)).from_buffer(packed)
    got = library.ZSTD_decompress(
        ctypes.addressof(target), length, ctypes.addressof(source), len(packed)
    )
    if got != length:
        raise Corrupt
