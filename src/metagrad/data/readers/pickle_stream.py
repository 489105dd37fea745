"""The opcodes of a pickle, followed as data: nothing that a pickle names is imported or called."""

import codecs
import os
import pickle
import pickletools
import re
import struct
from collections.abc import Callable, Mapping
from typing import IO, Any

from metagrad.data.readers.pickled_names import Named, PlainType, Unfilled, key, named

_FREE = 2**27  # bytes that values may take up besides _TIMES those of the file
_TIMES = 4
_VALUE = 64  # bytes that a small value takes up, about

_ESCAPED = re.compile(rb"(?:[^\\]|\\[\\'\"nrt]|\\x[0-9a-fA-F]{2})*")  # as Python 2 writes text


def read_values(file: IO[bytes]) -> Any:
    """What a pickle holds; values take up 128 MiB and four times its length at most.

    Raises:
        EOFError, LookupError, OverflowError, TypeError, ValueError: it is damaged, or holds something else than arrays,
            containers, numbers and text.
    """
    return _Stream(file).value()


class _Stream:
    """The stack and the memo of one pickle; never asks for more bytes than there are."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = file.seek(0, os.SEEK_END)
        file.seek(0)
        self._free = _FREE
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # stacks below the marks
        self._memo: dict[int, Any] = {}

    def value(self) -> Any:
        while (code := self.read(1)) != pickle.STOP:
            self._spend(_VALUE)
            opcode = _OPCODES.get(code)
            if opcode is None or (step := _STEPS.get(code)) is None:
                raise ValueError(f"it has the opcode {opcode.name if opcode else code.hex()}, which no array needs")
            step(self, _ARGUMENTS[code](self) if code in _ARGUMENTS else None)
        return _filled(self._stack.pop())

    def read(self, count: int) -> bytes:
        """The next bytes, for the readers of pickletools."""
        if count > self._left:
            raise EOFError("Ran out of input")
        self._left -= count
        self._free += _TIMES * count
        return self._file.read(count)

    def readline(self) -> bytes:
        """The bytes to the end of the line, for the readers of pickletools."""
        line = self._file.readline()
        self._left -= len(line)
        self._free += _TIMES * len(line)
        return line

    def _spend(self, count: int) -> None:
        self._free -= count
        if self._free < 0:
            raise ValueError("it unpacks to far more than the file is long")

    def protocol(self, version: int) -> None:
        if version > pickle.HIGHEST_PROTOCOL:
            raise ValueError(f"it is of protocol {version}")

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def mark(self, _: None) -> None:
        self._outer.append(self._stack)
        self._stack = []

    def marked(self) -> list[Any]:
        items, self._stack = self._stack, self._outer.pop()
        return items

    def last(self, count: int) -> tuple[Any, ...]:
        items = tuple(self._stack[-count:])
        if len(items) < count:
            raise IndexError("it takes more values than it has")
        del self._stack[-count:]
        return items

    def top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise TypeError(f"it adds to a {type(self._stack[-1]).__name__} as to a {kind.__name__}")
        return self._stack[-1]

    def append(self, items: list[Any] | tuple[Any, ...]) -> None:
        self.top(list).extend(items)

    def add(self, items: list[Any]) -> None:
        self.top(set).update(map(key, items))

    def set_items(self, items: list[Any] | tuple[Any, ...]) -> None:
        self.top(dict).update(_pairs(items))

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def memoize(self, _: None) -> None:
        self.put(len(self._memo))

    def get(self, index: int) -> None:
        self.push(_filled(self._memo[index]))

    def call(self, _: None) -> None:
        """REDUCE: what stands for a call of what is named."""
        function, arguments = self.last(2)
        if not isinstance(function, Named) or not isinstance(arguments, tuple):
            raise TypeError(f"it calls a {type(function).__name__}")
        self._spend(_size(arguments))
        self.push(function.call(*arguments))

    def build(self, _: None) -> None:
        """BUILD: the state of an array or a dtype."""
        made, state = self.last(2)
        if isinstance(made, Unfilled):
            self._spend(_size(state))
            self.push(made.fill(state))
        elif isinstance(made, PlainType):
            made.complete(state)
            self.push(made)
        else:
            raise TypeError(f"it sets the state of a {type(made).__name__}")

    def stack_global(self, _: None) -> None:
        module, name = self.last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError("it names a class by something else than text")
        self.push(named(module, name))

    def long_string(self) -> bytes:
        """The argument of BINSTRING, as it is: text of 256 bytes and more is what Python 2 had for bytes."""
        return self.read(struct.unpack("<I", self.read(4))[0])

    def quoted(self) -> str:
        """The argument of STRING; pickletools would take ASCII only, and warn of escapes."""
        line = self.readline().strip(b"\r\n ")
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
            raise ValueError("it holds text without quotes")
        if not _ESCAPED.fullmatch(line):
            raise ValueError("it holds text with an unknown escape")
        return codecs.escape_decode(line[1:-1])[0].decode("latin1")


def _filled(value: Any) -> Any:
    return value.array if isinstance(value, Unfilled) and value.array is not None else value


def _pairs(items: list[Any] | tuple[Any, ...]) -> dict[Any, Any]:
    return {key(one): value for one, value in zip(items[::2], items[1::2], strict=True)}


def _size(values: Any) -> int:
    """Bytes that a call may copy."""
    texts = sum(len(value) for value in values if isinstance(value, str | bytes | bytearray))
    return texts + _VALUE * sum(len(value) for value in values if isinstance(value, list | tuple))


Step = Callable[[_Stream, Any], None]

_OPCODES = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}

_ARGUMENTS: Mapping[bytes, Callable[[Any], Any]] = {
    **{code: opcode.arg.reader for code, opcode in _OPCODES.items() if opcode.arg is not None},
    pickle.STRING: _Stream.quoted,
    pickle.BINSTRING: _Stream.long_string,
    pickle.GLOBAL: lambda stream: [stream.readline().strip().decode("ascii") for _ in range(2)],
}

_STEPS: Mapping[bytes, Step] = {
    pickle.FRAME: lambda stream, _: None,
    pickle.PROTO: _Stream.protocol,
    **dict.fromkeys(
        (
            *(pickle.INT, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG, pickle.LONG1, pickle.LONG4),
            *(pickle.FLOAT, pickle.BINFLOAT, pickle.STRING, pickle.BINSTRING, pickle.SHORT_BINSTRING),
            *(pickle.UNICODE, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8),
            *(pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8, pickle.BYTEARRAY8),
        ),
        _Stream.push,
    ),
    pickle.NONE: lambda stream, _: stream.push(None),
    pickle.NEWTRUE: lambda stream, _: stream.push(True),
    pickle.NEWFALSE: lambda stream, _: stream.push(False),
    pickle.EMPTY_LIST: lambda stream, _: stream.push([]),
    pickle.EMPTY_TUPLE: lambda stream, _: stream.push(()),
    pickle.EMPTY_DICT: lambda stream, _: stream.push({}),
    pickle.EMPTY_SET: lambda stream, _: stream.push(set()),
    pickle.TUPLE1: lambda stream, _: stream.push(stream.last(1)),
    pickle.TUPLE2: lambda stream, _: stream.push(stream.last(2)),
    pickle.TUPLE3: lambda stream, _: stream.push(stream.last(3)),
    pickle.MARK: _Stream.mark,
    pickle.TUPLE: lambda stream, _: stream.push(tuple(stream.marked())),
    pickle.LIST: lambda stream, _: stream.push(stream.marked()),
    pickle.DICT: lambda stream, _: stream.push(_pairs(stream.marked())),
    pickle.FROZENSET: lambda stream, _: stream.push(set(map(key, stream.marked()))),
    pickle.APPEND: lambda stream, _: stream.append(stream.last(1)),
    pickle.APPENDS: lambda stream, _: stream.append(stream.marked()),
    pickle.ADDITEMS: lambda stream, _: stream.add(stream.marked()),
    pickle.SETITEM: lambda stream, _: stream.set_items(stream.last(2)),
    pickle.SETITEMS: lambda stream, _: stream.set_items(stream.marked()),
    **dict.fromkeys((pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT), _Stream.put),
    **dict.fromkeys((pickle.GET, pickle.BINGET, pickle.LONG_BINGET), _Stream.get),
    pickle.MEMOIZE: _Stream.memoize,
    pickle.GLOBAL: lambda stream, names: stream.push(named(*names)),
    pickle.STACK_GLOBAL: _Stream.stack_global,
    pickle.REDUCE: _Stream.call,
    pickle.BUILD: _Stream.build,
}
