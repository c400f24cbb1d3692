"""CRC-32C (Castagnoli), the checksum of TensorFlow's checkpoints."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pure_detect.jit import kernel, run

POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits reversed
MASK_DELTA = 0xA282EAD8


def _table() -> NDArray[Any]:
    """Return the remainder of each byte, shape (256,), uint32."""
    remainder = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        remainder = np.where(remainder & 1, (remainder >> 1) ^ np.uint32(POLYNOMIAL), remainder >> 1)
    return remainder.astype(np.uint32)


TABLE = _table()


@kernel
def crc32c_bytewise(octets: NDArray[Any], table: NDArray[Any]) -> int:  # numba-compiled
    """Divide byte by byte; octets (n,) uint8, table (256,) uint32."""
    remainder = np.uint32(0xFFFFFFFF)
    for i in range(octets.size):
        remainder = table[(remainder ^ octets[i]) & np.uint32(0xFF)] ^ (remainder >> np.uint32(8))
    return remainder ^ np.uint32(0xFFFFFFFF)


def crc32c(data: bytes | memoryview) -> int:
    """Return the CRC-32C of some bytes.

    Source: RFC 3720, appendix B.4.
    """
    octets = np.frombuffer(data, np.uint8) if len(data) else np.zeros(0, np.uint8)
    return int(run(crc32c_bytewise, octets, TABLE))


def masked_crc32c(data: bytes | memoryview) -> int:
    """Return the checksum as LevelDB and TensorFlow store it: rotated and shifted, since data may hold checksums.

    Source: `crc32c::Mask` (`tensorflow/core/lib/hash/crc32c.h`), TensorFlow 2.21.
    """
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF
