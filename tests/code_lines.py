"""How long a piece of code is."""

import io
import tokenize


def lines_of_code(path):
    """Lines that hold more than comments and docstrings."""
    tokens = list(tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline))
    idle = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    lines: set[int] = set()
    before = tokenize.NEWLINE
    for token in tokens:
        docstring = token.type == tokenize.STRING and before in idle
        if token.type not in idle and not docstring:
            lines |= set(range(token.start[0], token.end[0] + 1))
        before = token.type
    return lines
