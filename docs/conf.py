"""The site: `sphinx-build -W docs docs/_build`. Every warning is an error, so a broken link or example fails."""

import os
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

import metagrad

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tutorials' tensors are too small to share between threads
MOST_WORDS = 1500
log = logging.getLogger(__name__)

project = "metagrad"
author = "The metagrad authors"
project_copyright = "The metagrad authors, Apache-2.0"
version = release = metagrad.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "tutorials/*.ipynb", "tutorials/*.py", "tutorials/*.zip"]
default_role = "code"
highlight_language = "text"  # of blocks that name none: what a reader types
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"  # the text says what each argument is; spelled-out types of functions fill the page
autodoc_member_order = "bysource"
autodoc_default_options = {"exclude-members": "families"}
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

copybutton_prompt_text = ">>> |... |$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples/tutorials",
    "gallery_dirs": "tutorials",
    "filename_pattern": r"\.py$",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 0,
    "show_signature": False,
    "copyfile_regex": r"^$",
}

html_theme = "pydata_sphinx_theme"
html_title = "metagrad"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "metagrad"},
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "show_toc_level": 2,
    "navigation_depth": 2,
}
html_sidebars = {"index": []}


def equations_as_they_stand(
    _app: Sphinx, _what: str, _name: str, _obj: object, _options: Any, lines: list[str]
) -> None:
    """Indented paragraphs of a docstring that no section owns are equations: literal blocks, line for line."""
    in_section, before, text = False, "", list(lines)
    lines.clear()
    for line in text:
        if line and not line.startswith(" "):
            in_section = line.rstrip().endswith(":") and " " not in line.strip()
        if line.startswith("    ") and not before.strip() and not in_section and not line.lstrip().startswith(">>>"):
            lines.extend(["::", ""])
        lines.append(line)
        before = line if line.startswith("    ") or not line else "text"
        if line.startswith("    "):
            before = "equation"


_LABELS = r"Cost|Memory|When it is wrong|When not to use it|Source|Shapes|Diagnostics[^:]*|Recomputed"


def labels_begin_paragraphs(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """What follows "Cost:" and the like within a paragraph of a docstring becomes a paragraph of its own."""
    about, *sections = re.split(r"(?m)^(?=(?:Args|Attributes|Returns|Raises|Example):$)", "\n".join(lines))
    about = re.sub(rf"(?<=[.;)\]:])[ \n](?=({_LABELS}): )", "\n\n", about)
    about = re.sub(rf"(?m)^({_LABELS}): ", r"**\1:** ", about)
    lines[:] = "".join([about, *sections]).split("\n")


def count_words(_app: Sphinx, doctree: Any, docname: str) -> None:
    """A page that takes longer to read than a coffee is two pages."""
    words = len(doctree.astext().split())
    if words > MOST_WORDS:
        log.warning("%s has %d words; at most %d", docname, words, MOST_WORDS)


def setup(app: Sphinx) -> None:
    """Hook them into the build."""
    app.connect("autodoc-process-docstring", labels_begin_paragraphs, priority=300)
    app.connect("autodoc-process-docstring", equations_as_they_stand, priority=400)
    app.connect("doctree-resolved", count_words)
