"""Records: what a study measures, and how its findings, tables and figures look it up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

Record = Mapping[str, Any]
"""One measurement, flat: the values of its cell say where it was measured, then come the fields that were measured.

Values are those of JSON: numbers, text, truth values, null (also for what is not finite), and lists of these. Lists are
kept in records.jsonl and left out of the CSV.
"""


class Records(Sequence[Record]):
    """The records of a study, in the order of its cells.

    >>> errors = Records([{"order": 1, "error": 0.5}, {"order": 2, "error": 0.1}])
    >>> errors.one(order=2)["error"]
    0.1
    >>> errors.column("error")
    [0.5, 0.1]
    """

    def __init__(self, rows: Iterable[Record]) -> None:
        self._rows = tuple(rows)

    def where(self, **fields: Any) -> "Records":
        """Those that have all of these fields with these values."""
        return Records(r for r in self._rows if all(name in r and r[name] == value for name, value in fields.items()))

    def having(self, field: str) -> "Records":
        """Those that have a field at all: a study may keep records of several kinds."""
        return Records(r for r in self._rows if field in r)

    def one(self, **fields: Any) -> Record:
        """The only one with these values.

        Raises:
            ValueError: there is none, or more than one.
        """
        matches = self.where(**fields)
        if len(matches) != 1:
            wanted = ", ".join(f"{name} = {value!r}" for name, value in fields.items())
            raise ValueError(f"expected one record with {wanted}, and there are {len(matches)}")
        return matches[0]

    def column(self, field: str) -> list[Any]:
        """One field of all of them."""
        return [record[field] for record in self._rows]

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> "Records": ...
    def __getitem__(self, at: int | slice) -> "Record | Records":
        return Records(self._rows[at]) if isinstance(at, slice) else self._rows[at]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)
