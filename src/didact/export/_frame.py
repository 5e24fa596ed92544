"""The self-contained HTML page: one file, no script, no network, light, dark and print.

jinja2 and matplotlib are in the extra ``fit`` and are imported where they are used.
"""

from __future__ import annotations

import functools
import hashlib
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from didact._checks import invalid

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#000000",
    "blue": "#2a7fc1",
    "purple": "#c05f9b",
    "orange": "#d55e00",
    "green": "#009e73",
    "violet": "#7a6ff0",
    "teal": "#1d8fa0",
    "brown": "#a06a35",
}
"""Series colours after Okabe and Ito: apart for colour-blind eyes, and with a contrast of at
least 3 on the light and on the dark page. ``ink`` becomes the text colour of the page."""

STYLE: Any = {
    "svg.hashsalt": "didact",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#8a8f98",
    "grid.alpha": 0.35,
    "legend.frameon": False,
}
"""For ``matplotlib.rc_context(STYLE)`` around the drawing of a figure. Black is the placeholder
that :func:`figure` replaces by the text colour of the page."""

_CSS = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1d2127; --soft: #5a626d;
  --line: #d5d9df; --tint: #f3f5f8; --accent: #b34a00; }
@media screen and (prefers-color-scheme: dark) { :root { --page: #15181d; --ink: #e4e7eb;
  --soft: #a3abb6; --line: #3a414b; --tint: #1f242b; --accent: #ff9a57; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 1rem/1.55 system-ui,
  "Segoe UI", "Helvetica Neue", "Noto Sans", Arial, sans-serif; }
main, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; padding-top: .7rem;
  border-top: 1px solid var(--line); }
p, li, dd { overflow-wrap: anywhere; }
p, ul { max-width: 46rem; margin: .6rem 0; }
ul { padding-left: 1.2rem; }
small, figcaption, caption, footer, .subtitle { color: var(--soft); font-size: .875rem; }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: .875rem; background: var(--tint); }
pre { padding: .6rem .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.verdict { font-size: 1.35rem; line-height: 1.4; max-width: none; margin: 1rem 0;
  padding: .9rem 1rem; background: var(--tint); border-left: .3rem solid var(--accent); }
.verdict code { font-size: .9em; white-space: nowrap; }
.banner { font-weight: 600; max-width: none; padding: .5rem 1rem; border: 2px dashed
  var(--accent); color: var(--accent); }
.scroll { overflow-x: auto; margin: .8rem 0; container-type: inline-size; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
caption span { display: block; max-width: 100cqw; }
figcaption { margin-top: .4rem; max-width: 46rem; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
thead th { vertical-align: bottom; font-size: .875rem; }
tbody th { font-weight: 600; }
.l { text-align: left; } .r { text-align: right; } .c { text-align: center; }
td small { white-space: nowrap; }
td.l { overflow-wrap: anywhere; min-width: 8rem; }
figure { margin: 1rem 0; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr));
  gap: 0 1.2rem; }
svg { display: block; max-width: 100%; height: auto; fill: currentColor; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { font-family: inherit !important; }
footer { margin-top: 2.5rem; padding-bottom: 2rem; overflow-wrap: anywhere; }
@media (max-width: 30rem) { .verdict { font-size: 1.15rem; } h1 { font-size: 1.35rem; } }
@media print { body { font-size: 10pt; } .scroll { overflow: visible; }
  figure, tr, .verdict { break-inside: avoid; } h2 { break-after: avoid; } }
"""

_PAGE = """<!DOCTYPE html>
<html lang="{{ language }}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>{{ css }}</style>
</head>
<body>
<header><h1>{{ title }}</h1>
{%- if subtitle %}<p class="subtitle">{{ subtitle }}</p>{% endif %}</header>
<main>
{%- for section in sections %}
<section>
{%- if section.title %}
<h2>{{ section.title }}</h2>
{%- endif %}
{%- for block in section.parts() %}
{% if block.__html__ is defined %}{{ block }}{% else %}<p>{{ block }}</p>{% endif %}
{%- endfor %}
</section>
{%- endfor %}
</main>
{%- if footer %}
<footer>{{ footer }}</footer>
{%- endif %}
</body>
</html>
"""

_TABLE = """<div class="scroll" role="region" tabindex="0" aria-label="{{ caption or 'Table' }}">
<table>
{%- if caption %}<caption><span>{{ caption }}</span></caption>{% endif %}
<thead><tr>
{%- for cell in head %}<th scope="col" class="{{ align[loop.index0] }}">{{ cell }}</th>{% endfor -%}
</tr></thead>
<tbody>
{%- for row in rows %}
<tr>{% for cell in row -%}
{% if loop.first %}<th scope="row" class="{{ align[0] }}">{{ cell }}</th>
{%- else %}<td class="{{ align[loop.index0] }}">{{ cell }}</td>{% endif %}
{%- endfor %}</tr>
{%- endfor %}
</tbody>
</table></div>"""

_FIGURE = """<figure>{{ svg }}
{%- if caption %}<figcaption>{{ caption }}</figcaption>{% endif %}</figure>"""


@dataclass(frozen=True)
class Section:
    """A part of a page: a title (may be empty) and one block of content or several.

    A block that is ``Markup`` goes into the page as it is; any other string is escaped and
    becomes a paragraph.

    Example:
        >>> Section("Data", ["a < b", "c"]).parts()
        ['a < b', 'c']
    """

    title: str
    body: str | Markup | Sequence[str | Markup]

    def parts(self) -> list[str | Markup]:
        """The blocks, one or several, as a list."""
        return [self.body] if isinstance(self.body, str) else list(self.body)


def page(
    title: str,
    sections: Iterable[Section],
    *,
    subtitle: str = "",
    footer: str = "",
    language: str = "en",
) -> str:
    """A whole HTML page in one string: no script, nothing loaded, the same for the same content.

    The page follows the reader's light or dark setting, fits a width of 360 pixels, and prints
    in light colours. A content security policy forbids scripts and the network, so that nothing
    escaping may have missed can reach out.

    Args:
        title: heading and window title.
        sections: the content in order.
        subtitle, footer: one line above and below the content.
        language: of the text, for screen readers (BCP 47).

    Returns:
        The page, to be written as UTF-8.

    Raises:
        ImportError: jinja2 is not installed; it is in the extra ``fit``.

    Example:
        >>> "<h2>α &lt; β</h2>" in page("Report", [Section("α < β", "One sentence.")])
        True
    """
    values = {"title": title, "subtitle": subtitle, "footer": footer, "language": language}
    return str(_render(_PAGE, **values, sections=list(sections), css=_markup(_CSS)))


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    align: str | None = None,
    caption: str = "",
) -> Markup:
    """A table whose first column names the rows; wider than the page, it scrolls alone.

    Args:
        head: ``[columns]`` column titles.
        rows: cells, escaped unless they are ``Markup``; each row has ``len(head)`` of them.
        align: one of ``l``, ``r``, ``c`` per column; by default the first left, others right.
        caption: said above the table and to screen readers.

    Returns:
        The table, a block for :class:`Section`.

    Raises:
        InvalidInput: a row or ``align`` does not have one entry per column.

    Example:
        >>> '<td class="r">1 &lt; 2</td>' in table(["a", "b"], [["x", "1 < 2"]])
        True
    """
    rows = [list(row) for row in rows]
    align = "l" + "r" * (len(head) - 1) if align is None else align
    if len(align) != len(head) or set(align) - set("lrc"):
        raise invalid("align", f"{len(head)} letters of l, r, c", align)
    for number, row in enumerate(rows):
        if len(row) != len(head):
            raise invalid("rows", f"rows of {len(head)} cells", f"{len(row)} in row {number}")
    return _render(_TABLE, head=head, rows=rows, align=align, caption=caption)


def figure(drawing: Figure, caption: str, alt: str) -> Markup:
    """A matplotlib figure as inline SVG that takes the text colour of the page.

    Black, in lines and text, becomes ``currentColor``; draw under :data:`STYLE`, with the series
    colours of :data:`COLOURS`. Text stays text. Identifiers get a prefix made from the content,
    and those nobody refers to are dropped, so several figures share a page; no date and no
    version is written, so the same figure gives the same bytes.

    Args:
        drawing: the figure; it is not changed.
        caption: the line below; may be empty.
        alt: what the figure says, for those who cannot see it.

    Returns:
        The figure, a block for :class:`Section`.

    Raises:
        InvalidInput: ``alt`` is empty.
        ImportError: matplotlib or jinja2 is not installed; both are in the extra ``fit``.

    Example:
        >>> from matplotlib.figure import Figure
        >>> drawing = Figure(figsize=(1, 1))
        >>> figure(drawing, "", "an empty figure")[:22]
        Markup('<figure><svg role="img')
    """
    if not alt.strip():
        raise invalid("alt", "a description of the figure", alt)
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # Text stays text: the reader's fonts draw it, and matplotlib only measures it.
        warnings.filterwarnings("ignore", r"Glyph .* missing from font", UserWarning)
        drawing.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)  # style: for all pages
    svg = re.sub(r"((?:fill|stroke): )#000000\b", r"\1currentColor", svg)
    prefix = "f" + hashlib.sha256("\0".join((svg, caption, alt)).encode()).hexdigest()[:8]
    used = set(re.findall(r'(?:href="#|="url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(href="#|="url\(#)', rf"\1{prefix}-", svg)
    opening = f'<svg role="img" aria-labelledby="{prefix}-title"'
    start = svg.index(">") + 1
    label = _render('<title id="{{ id }}-title">{{ alt }}</title>', id=prefix, alt=alt)
    svg = opening + svg[len("<svg") : start] + str(label) + svg[start:]
    return _render(_FIGURE, svg=_markup(svg.strip()), caption=caption)


def gallery(figures: Iterable[Markup]) -> Markup:
    """Small figures side by side, as many in a line as the page is wide.

    Args:
        figures: from :func:`figure`; they are not escaped.

    Returns:
        All of them, one block for :class:`Section`.

    Raises:
        ImportError: jinja2 is not installed; it is in the extra ``fit``.

    Example:
        >>> from matplotlib.figure import Figure
        >>> small = figure(Figure(figsize=(1, 1)), "", "an empty figure")
        >>> gallery([small, small]).count("<svg")
        2
    """
    return _render('<div class="gallery">{{ all }}</div>', all=_markup("".join(figures)))


def bullets(items: Iterable[str]) -> Markup:
    """A list with one line per item; what stands between back-ticks is code.

    Args:
        items: text, escaped.

    Returns:
        The list, a block for :class:`Section`.

    Raises:
        ImportError: jinja2 is not installed; it is in the extra ``fit``.

    Example:
        >>> bullets(["a < b", "run `didact`"])
        Markup('<ul><li>a &lt; b</li><li>run <code>didact</code></li></ul>')
    """
    template = "<ul>{% for item in items %}<li>{{ item }}</li>{% endfor %}</ul>"
    return _render(template, items=[_with_code(item) for item in items])


def callout(text: str, kind: str = "verdict") -> Markup:
    """A paragraph that stands out: ``verdict`` (large) or ``banner`` (framed).

    Args:
        text: escaped; what stands between back-ticks is code.
        kind: which of the two.

    Returns:
        The paragraph, a block for :class:`Section`.

    Raises:
        ImportError: jinja2 is not installed; it is in the extra ``fit``.

    Example:
        >>> callout("It helps.")
        Markup('<p class="verdict">It helps.</p>')
    """
    return _render('<p class="{{ kind }}">{{ text }}</p>', kind=kind, text=_with_code(text))


def _with_code(text: str) -> Markup:
    """Escaped, but for back-ticks."""
    template = "{% for part in parts %}{% if loop.index0 % 2 %}<code>{{ part }}</code>{% else %}"
    template += "{{ part }}{% endif %}{% endfor %}"
    return _render(template, parts=text.split("`"))


def code(text: str) -> Markup:
    """Lines to be typed in a terminal.

    Args:
        text: one line or several, escaped.

    Returns:
        The lines, a block for :class:`Section`.

    Raises:
        ImportError: jinja2 is not installed; it is in the extra ``fit``.

    Example:
        >>> code("didact fit < a.csv")
        Markup('<pre><code>didact fit &lt; a.csv</code></pre>')
    """
    return _render("<pre><code>{{ text }}</code></pre>", text=text)


def stacked(value: str, note: str) -> Markup:
    """A table cell with a small note below its value.

    Args:
        value, note: text, escaped.

    Returns:
        A cell for :func:`table`.

    Raises:
        ImportError: jinja2 is not installed; it is in the extra ``fit``.

    Example:
        >>> stacked("0.31", "± 0.02")
        Markup('0.31<br><small>± 0.02</small>')
    """
    return _render("{{ value }}<br><small>{{ note }}</small>", value=value, note=note)


def _markup(html: str) -> Markup:
    from markupsafe import Markup

    return Markup(html)


@functools.cache
def _template(source: str) -> Any:
    import jinja2

    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(source)


def _render(source: str, **values: object) -> Markup:
    return _markup(_template(source).render(values))
