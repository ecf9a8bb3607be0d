"""Random bits for what every request needs: ids of rows and of requests."""

import os


class RandomBits:
    """Bits of the kernel's generator, taken for many ids at a time: a system call costs more than an id."""

    _TAKEN_BYTES = 4096

    def __init__(self) -> None:
        self._left = b""

    def __call__(self, count: int) -> int:
        """``count`` fresh bits as a number."""
        size_bytes = (count + 7) // 8
        if len(self._left) < size_bytes:
            self._left = os.urandom(max(self._TAKEN_BYTES, size_bytes))
        taken, self._left = self._left[:size_bytes], self._left[size_bytes:]
        return int.from_bytes(taken) >> (8 * size_bytes - count)
