"""The page: escaped, complete without a network, the same every time, readable in both themes."""

import ast
import pathlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib.figure import Figure

from didact._checks import InvalidInput
from didact.export import _frame
from didact.export._frame import (
    COLOURS,
    STYLE,
    Section,
    bullets,
    callout,
    code,
    figure,
    gallery,
    page,
    stacked,
    table,
)

EVIL = "<script>alert('x')</script> & \"ünï 温度\""
VOID = {"meta", "link", "br"}


class Reader(HTMLParser):
    """Tags, attributes and text of a page; fails on a tag that is not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.ids, self.text = [], [], [], ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def drawn(colour="#d55e00", values=(1, 3, 2)):
    with matplotlib.rc_context(STYLE):
        drawing = Figure(figsize=(3, 2), layout="constrained")
        axes = drawing.subplots()
        axes.plot(values, color=colour, marker="o")
        axes.axhline(2, color="black")
        axes.set_title("a < b & α")
    return drawing


def svg_of(markup):
    return ElementTree.fromstring(markup[markup.index("<svg") : markup.index("</svg>") + 6])


def test_everything_a_caller_passes_is_escaped():
    html = page(
        EVIL,
        [
            Section(EVIL, [EVIL, bullets([EVIL]), callout(EVIL), code(EVIL)]),
            Section("t", table([EVIL, "b"], [[EVIL, stacked(EVIL, EVIL)]], caption=EVIL)),
            Section("f", gallery([figure(drawn(), EVIL, EVIL)])),
        ],
        subtitle=EVIL,
        footer=EVIL,
        language='en" onload="x',
    )
    reader = Reader(html)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert not any("onload" in attributes for _, attributes in reader.tags)
    # title twice, subtitle, footer; section title and four blocks; table; caption and title
    assert reader.text.count(EVIL) == 4 + 5 + 5 + 2


def test_what_stands_between_back_ticks_is_code():
    for markup in (bullets(["a `b<c>` d"]), callout("a `b<c>` d")):
        assert "a <code>b&lt;c&gt;</code> d" in markup


def test_the_page_is_complete_and_needs_nothing_else():
    html = page("Título", [Section("A", "one"), Section("", ["two", figure(drawn(), "c", "alt")])])
    reader = Reader(html)
    tags = dict(reader.tags)
    assert html.startswith("<!DOCTYPE html>")
    assert tags["html"]["lang"] == "en"
    assert ("meta", {"charset": "utf-8"}) in reader.tags
    assert any(a.get("name") == "viewport" for t, a in reader.tags if t == "meta")
    assert html.encode().index(b"charset") < 1024
    assert not {"script", "iframe", "img", "object"} & {t for t, _ in reader.tags}
    loaded = [a[n] for _, a in reader.tags for n in ("src", "href", "xlink:href") if n in a]
    assert all(target.startswith(("#", "data:,")) for target in loaded)
    assert "@import" not in html
    assert re.sub(r'xmlns(:xlink)?="http://www.w3.org/[^"]*"', "", html).count("http:") == 0
    assert "default-src 'none'" in html
    assert "<p>one</p>" in html
    assert html.count("<h2>") == 1


def test_the_same_content_gives_the_same_bytes():
    def once():
        return page("t", [Section("f", figure(drawn(), "c", "alt"))])

    assert once() == once()
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from test_frame import *; print(page('t', [Section('f', figure(drawn(), 'c', 'alt'))]))"
    )
    here = str(pathlib.Path(__file__).parent)
    other = subprocess.run([sys.executable, "-c", program, here], capture_output=True, check=True)
    assert other.stdout.decode().rstrip("\n") == once().rstrip("\n")
    assert not re.search(r"20\d\d-\d\d-\d\d|Matplotlib v", once())


def test_ids_of_several_figures_do_not_collide_and_all_references_resolve():
    one, two = figure(drawn(), "one", "alt"), figure(drawn(values=(3, 1, 2)), "two", "alt")
    same_drawing = figure(drawn(), "again", "alt")
    html = page("t", [Section("f", [one, two, same_drawing])])
    reader = Reader(html)
    assert len(reader.ids) == len(set(reader.ids)) > 3
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)|labelledby="([^"]+)"', html))
    assert {a or b or c for a, b, c in used} == set(reader.ids)


def test_a_figure_is_an_image_with_a_title_in_the_colour_of_the_page():
    svg = svg_of(figure(drawn(), "caption", "what it <says>"))
    assert svg.get("role") == "img"
    assert svg[0].tag.endswith("title")
    assert svg[0].text == "what it <says>"
    assert svg.get("aria-labelledby") == svg[0].get("id")
    styles = " ".join(e.get("style", "") for e in svg.iter())
    assert "#000000" not in styles
    assert "#ffffff" not in styles
    assert "currentColor" in styles
    assert "#d55e00" in styles
    texts = ["".join(e.itertext()) for e in svg.iter() if e.tag.endswith("}text")]
    assert "a < b & α" in texts
    assert not [e for e in svg.iter() if e.tag.endswith("}style")]


def test_drawing_leaves_the_settings_of_matplotlib_alone():
    before = dict(matplotlib.rcParams)
    figure(drawn(), "", "alt")
    assert dict(matplotlib.rcParams) == before
    with pytest.raises(InvalidInput, match="alt"):
        figure(drawn(), "caption", " ")


def test_table_cells_and_alignment():
    rows = ElementTree.fromstring(table(["a", "b", "c"], [["x", 1, "2"]], align="lcr")).findall(
        ".//tr"
    )
    assert [[(c.tag, c.get("class"), c.text) for c in row] for row in rows] == [
        [("th", "l", "a"), ("th", "c", "b"), ("th", "r", "c")],
        [("th", "l", "x"), ("td", "c", "1"), ("td", "r", "2")],
    ]
    for rows, align in ([[["x"]], None], [[["x", "y"]], "l"], [[["x", "y"]], "lx"]):
        with pytest.raises(InvalidInput):
            table(["a", "b"], rows, align=align)


def contrast(one, other):
    """WCAG 2.2, relative luminance of sRGB colours."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_colours_can_be_read_on_both_pages():
    themes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", _frame._CSS, flags=re.DOTALL)
    ]
    assert len(themes) == 2
    for theme in themes:
        assert contrast(theme["ink"], theme["page"]) >= 7
        for text in ("soft", "accent"):
            assert contrast(theme[text], theme["page"]) >= 4.5
        for name, colour in COLOURS.items():
            assert name == "ink" or contrast(colour, theme["page"]) >= 3


def test_the_frame_knows_no_other_room():
    tree = ast.parse(pathlib.Path(_frame.__file__).read_text(encoding="utf-8"))
    modules = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    assert {m for m in modules if m.startswith("didact")} == {"didact._checks"}
