"""Random bits for what every request needs: ids of rows and of requests.

They are the kernel's, taken for many ids at a time: a system call costs more than an id.
"""

import os

_TAKEN_BYTES = 4096


class RandomBits:
    """Bits as numbers."""

    def __init__(self) -> None:
        self._left = b""

    def __call__(self, count: int) -> int:
        """``count`` fresh bits as a number."""
        size_bytes = (count + 7) // 8
        if len(self._left) < size_bytes:
            self._left = os.urandom(max(_TAKEN_BYTES, size_bytes))
        taken, self._left = self._left[:size_bytes], self._left[size_bytes:]
        return int.from_bytes(taken) >> (8 * size_bytes - count)


class RandomNames:
    """Names of 128 random bits each, as 32 hexadecimal digits."""

    _DIGITS = 32

    def __init__(self) -> None:
        self._text = ""
        self._taken = 0

    def __call__(self) -> str:
        """A name that nothing else has."""
        start, end = self._taken, self._taken + self._DIGITS
        if end > len(self._text):
            self._text, start, end = os.urandom(_TAKEN_BYTES).hex(), 0, self._DIGITS
        self._taken = end
        return self._text[start:end]
