"""Characters that an output cannot encode, spelled in ASCII: for terminals and files that are not UTF-8."""

import codecs
import io
import unicodedata
from typing import TextIO

_SPELLED = {
    **{"±": "+-", "–": "-", "—": "-", "−": "-", "…": "...", "×": "x", "·": "*", "‖": "||", "→": "->"},
    **{"≤": "<=", "≥": ">=", "≈": "~", "∞": "inf", "√": "sqrt", "∂": "d", "ᵀ": "^T", "²": "^2"},
    **{"α": "alpha", "β": "beta", "γ": "gamma", "ε": "eps", "η": "eta", "θ": "theta", "λ": "lambda", "φ": "phi"},
}
_HANDLER = "metagrad.spelled"


def spell_out(*streams: TextIO) -> None:
    """Let these streams write whatever their encoding lacks in ASCII, and never fail for a character."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def spelled(text: str) -> str:
    """The text in ASCII: known signs in words or letters, accents left out, a question mark for the rest."""
    return "".join(_SPELLED.get(sign) or _without_accents(sign) or "?" for sign in text)


def _without_accents(sign: str) -> str:
    return unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode()


def _handle(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelled(error.object[error.start : error.end]), error.end


codecs.register_error(_HANDLER, _handle)
