"""The site: `sphinx-build -W --keep-going docs docs/_build`, with the extra `docs`."""

import importlib.util
import inspect
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import gallery_scripts  # noqa: E402
import keras  # noqa: E402
from docutils import nodes  # noqa: E402
from sphinx.util.inspect import stringify_signature  # noqa: E402

import keras_smooth  # noqa: E402

project = "keras_smooth"
author = copyright = "The keras_smooth authors"
release = version = keras_smooth.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery/*.ipynb", "gallery/*.py", "**/GALLERY_HEADER.rst"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
suppress_warnings = ["config.cache"]

# Pages are read as they stand in the repository, where their links lead to files.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # Keras' are in Keras' own words and markup
autosummary_generate = True
autosummary_ignore_module_all = False
# Dense and Activation stand in two modules: their page is that of the layers.
autosummary_context = {"layers": keras_smooth.layers.__all__}
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Input shape", "Output shape"]

sphinx_gallery_conf = {
    "examples_dirs": str(ROOT / "examples"),
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py$",
    "reset_argv": gallery_scripts.arguments,
    "reset_modules": ("matplotlib", gallery_scripts.fresh),
    "image_scrapers": (gallery_scripts.Figures(),),
    "first_notebook_cell": gallery_scripts.NOTEBOOK,
    # The whole output of what a block ends with: a result shows itself as a table.
    "capture_repr": ("_repr_html_",),
    "download_all_examples": False,
    "matplotlib_animations": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
    # No server outside takes part: no Binder, no notebooks elsewhere.
    "binder": {},
}

highlight_language = "none"  # a block says its own, but for trees of folders
smartquotes = False  # y'' is a derivative
default_role = "literal"  # single backticks of docstrings are code

html_theme = "pydata_sphinx_theme"
html_title = "keras_smooth"
# One file of MathJax, from the package: pages ask no other server for it.
MATHJAX = Path(importlib.util.find_spec("sphinx-mathjax-offline").origin).parent
mathjax_path = "tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}
html_static_path = ["_static", str(MATHJAX / "static" / "mathjax" / mathjax_path)]
html_css_files = ["site.css"]
html_favicon = "images/icon.svg"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# Pages with none below them: beside them there is nothing to show.
html_sidebars = {
    page: [] for page in ("architecture", "changelog", "faq", "limits", "theory")
}
html_show_sourcelink = False
html_copy_source = False


def titled(app, name: str, source: list[str]) -> None:
    """Underlines the first sentence of an example: its title on the page."""
    if not name.startswith("gallery/") or "sphx_glr_" not in source[0]:
        return
    head, label, body = source[0].partition(f".. _sphx_glr_{name.replace('/', '_')}.py:\n")
    title, *rest = body.lstrip().split("\n", 1)
    if label and rest and not rest[0].startswith(("===", "---", "***")):
        source[0] = f"{head}{label}\n{title.rstrip('.')}\n{'=' * len(title)}\n{rest[0]}"


# In a table: 2.1e-09 or 2026-11-27, which browsers break behind the minus, and what stands in
# short brackets, as a range.
UNBROKEN = re.compile(r"(\([^()]{1,24}\)|\S*[\de]-\d\S*)")
LONG = 60


def tables(app, page: nodes.document) -> None:
    """Marks for the stylesheet what in a table stays in one line, and which cells are long."""
    for cell in page.findall(nodes.entry):
        if len(cell.astext()) > LONG:
            cell["classes"].append("long")
        for text in list(cell.findall(nodes.Text)):
            if not isinstance(text.parent, nodes.paragraph):
                continue
            words = UNBROKEN.split(text.astext())
            # Every second one is what was split at.
            text.parent.replace(
                text,
                [
                    nodes.inline("", word, classes=["unbroken"])
                    if i % 2
                    else nodes.Text(word)
                    for i, word in enumerate(words)
                ],
            )


def signature(app, what, name: str, documented, options, given, returned):
    """Gives a layer its own arguments: autodoc takes those of a `__new__` of Keras, all of any."""
    if not (isinstance(documented, type) and issubclass(documented, keras.Operation)):
        return None
    return stringify_signature(
        inspect.signature(documented), show_annotation=False, show_return_annotation=False
    ), None


def setup(app) -> None:
    """Connects what is changed on the way to a page."""
    app.connect("source-read", titled)
    app.connect("doctree-read", tables)
    app.connect("autodoc-process-signature", signature)
