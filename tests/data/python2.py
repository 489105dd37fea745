"""Pickles as Python 2 wrote them: byte strings for text and for the contents of arrays, numpy's old module names."""

import io
import pickle
import struct
from typing import ClassVar


class _Pickler(pickle._Pickler):
    """Protocol 2, in which `bytes` and ASCII text are Python 2's `str`."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_str(self, value):
        data = value if isinstance(value, bytes) else value.encode("ascii")
        if len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + struct.pack("<B", len(data)) + data)
        else:
            self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_str


def dumps(value):
    file = io.BytesIO()
    _Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
