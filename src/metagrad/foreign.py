"""Text and errors of files that somebody else wrote, made fit for a terminal, a page or a message."""

from unicodedata import category

LONGEST = 300
"""Characters of a foreign text in a message."""


def plain(value: str) -> str:
    r"""The text with a mark in place of what cannot be printed or a terminal would obey; line ends and tabs stay.

    >>> plain("cat\x1b[2J")
    'cat�[2J'
    """
    if value.isprintable():
        return value
    return "".join(c if c.isprintable() or c in "\n\t" or category(c) == "Zs" else "�" for c in value)


def printable(text: str, longest: int = LONGEST) -> str:
    r"""The text in one line, plain, and cut where it is long.

    >>> printable("cat\x1b[2J and\n dog")
    'cat�[2J and dog'
    """
    line = " ".join(plain(text[: 4 * longest]).split())
    return line if len(line) <= longest else f"{line[:longest]}…"


def reason(error: BaseException) -> str:
    """What an error about a file says, for a parenthesis; the name of its kind where it says nothing."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(said) or type(error).__name__
