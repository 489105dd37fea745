"""The table of estimators in the documentation, written from what they say of themselves.

`python -m metagrad.estimators.table FILE …` renews it in each file, between its two marks.
"""

import sys
from pathlib import Path

from metagrad.estimators.families import families
from metagrad.estimators.family import Family

BEGIN, END = "<!-- estimators: written by python -m metagrad.estimators.table -->", "<!-- end of estimators -->"

_HEAD = ("estimator", "what it keeps", "products", "rounds", "take it when", "when it is wrong")


def table() -> str:
    """One row a family in Markdown, the cheapest first."""
    rows = [_HEAD, ("---",) * len(_HEAD), *(_row(family) for family in families() if family.take)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def renewed(text: str) -> str:
    """A document with its table as it should be.

    Raises:
        ValueError: the document has no marks for a table.
    """
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"no table of estimators here: it would stand between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table()}\n{END}{after}"


def _row(family: Family) -> tuple[str, ...]:
    products = family.products if family.solves == "0" else f"{family.products} ({family.solves} solves)"
    wrong = "".join(f"; needs `{need}`" for need in family.needs)
    call = family.call or repr(family.usual)
    return f"`{call}`", family.keeps, products, family.rounds, family.take, family.wrong + wrong


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")
