"""The README and every page of the site: their text, code blocks and links."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name(page: Path) -> str:
    """As it is named in the repository."""
    return page.relative_to(ROOT).as_posix()


def python(page: Path) -> list[str]:
    """The Python blocks of a page, in order."""
    return [code for kind, code in _BLOCK.findall(text(page)) if kind == "python"]


def typed(page: Path) -> list[str]:
    """The lines of the blocks without a language, which are what a reader types, without their comments."""
    blocks = [code for kind, code in _BLOCK.findall(text(page)) if not kind]
    return [line.partition(" #")[0].strip() for code in blocks for line in code.splitlines()]


def links(page: Path) -> set[Path]:
    """The files of the repository that a page links to; a page of the site may be named without its ending."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text(page))
    return {(page.parent / target).resolve() for target in targets if "://" not in target}
