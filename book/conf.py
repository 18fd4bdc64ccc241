"""Sphinx configuration; gather.py copies it to the sources."""

from pygments.lexers.special import TextLexer
from sphinx.ext.napoleon.docstring import GoogleDocstring

project = "pidlib"
html_title = "pidlib"
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_togglebutton",
]
myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"
default_role = "code"
maximum_signature_line_length = 80
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_use_ivar = True
mathjax_path = "mathjax/tex-mml-chtml.js"
html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["book.css"]
# excerpts of found pages are fetched, which a browser refuses for files
FILES = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"
html_js_files = [(None, {"body": FILES})]
html_context = {"default_mode": "auto"}
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "footer_content_items": [],
    "use_repository_button": True,
    "use_download_button": False,
    "navbar_start": [],
    "navbar_center": [],
    "navbar_end": [],
    "navbar_persistent": [],
}


def setup(app):
    """Show tables, and docstrings of properties with a colon, unchanged."""
    app.add_lexer("csv", TextLexer)
    GoogleDocstring._parse_attribute_docstring = GoogleDocstring._consume_to_end
