"""Text and errors of files that somebody else wrote, made fit for a message."""

LONGEST = 300
"""Characters of a foreign text in a message."""


def printable(text: str, longest: int = LONGEST) -> str:
    r"""The text in one line, with a mark in place of each character that a terminal would obey, cut where it is long.

    >>> printable("cat\x1b[2J and\n dog")
    'cat�[2J and dog'
    """
    line = " ".join(text[: 4 * longest].split())
    line = line if line.isprintable() else "".join(letter if letter.isprintable() else "�" for letter in line)
    return line if len(line) <= longest else f"{line[:longest]}…"


def reason(error: BaseException) -> str:
    """What an error about a file says, for a parenthesis; the name of its kind where it says nothing."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(said) or type(error).__name__
