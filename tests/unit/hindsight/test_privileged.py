"""The section on the privileged columns: what is said, and what the bars are called."""

import re
import warnings
from xml.etree import ElementTree

import pytest

from didact.hindsight._privileged import LONGEST_NAME, MOST_SHOWN, mattered, predictability

NAMES = [
    "cost in $",
    "$a$ and $b$",
    r"back\$slash",
    "a < b & c > d",
    'say "hello"',
    "größe_温度",
    "πρόβλεψη",
    "מחיר",
    "two\nlines",
    "x_{1}^2",
    "",
]


def known(label=0.5, **columns):
    return {"data": {"series": None}, "predictability": {"label": label, "columns": columns}}


def used(loss="log loss", **candidates):
    return {"loss": loss, "candidates": {name: {"columns": c} for name, c in candidates.items()}}


def paragraphs(blocks):
    return [str(block) for block in blocks if not hasattr(block, "__html__")]


def drawings(blocks):
    """(description, texts, caption) of each figure."""
    found = []
    for block in blocks:
        if str(block).startswith("<figure"):
            tree = ElementTree.fromstring(str(block))
            svg = tree[0]
            texts = ["".join(e.itertext()) for e in svg.iter() if e.tag.endswith("}text")]
            found.append((svg[0].text, texts, "".join(tree[1].itertext())))
    return found


def bars(block):
    """Lengths of the bars, from the top."""
    paths = re.findall(r'<path d="M ([^"]+?)\sz\s*" clip-path[^>]+style="fill: #', str(block))
    spans = [[float(x) for x in re.findall(r"([-\d.]+) [-\d.]+", path)] for path in paths]
    return [max(xs) - min(xs) for xs in spans]


def test_what_is_explained_is_said():
    said = paragraphs(predictability(known(0.81, a=0.1, b=0.3, c=0.9, d=None)))
    assert said[0].startswith("Boosted trees on the privileged columns alone explain 81 % of the")
    assert "explain 30 % of a privileged column (median of 3 columns)" in said[1]
    assert said[2] == "Nothing to explain on these rows: d."
    two = paragraphs(predictability(known(0.004, a=0.1, b=0.3)))
    assert "explain 0.4 % of the label" in two[0]
    assert "explain 20 % of a privileged column (median of 2 columns)" in two[1]
    one = paragraphs(predictability(known(-0.2, a=-3.0)))
    assert "alone explain nothing of the label" in one[0]
    assert "explain nothing of the one privileged column that was looked at." in one[1]
    assert "100 %" in paragraphs(predictability(known(1.0 + 1e-9, a=1.0)))[0]


def test_what_is_not_known_is_said():
    for columns in ({}, {"a": None}):
        blocks = predictability(known(None, **columns))
        assert blocks == [
            "How far the privileged columns alone tell the label is not known: there is nothing "
            "to explain on these rows.",
            "How far the inputs tell the privileged columns is not known: there is nothing to "
            "explain on these rows.",
        ]


@pytest.mark.parametrize(("label", "warned"), [(0.949, False), (0.951, True), (None, False)])
def test_a_label_that_is_given_away_is_a_banner_before_all_else(label, warned):
    first = str(predictability(known(label, a=0.5))[0])
    assert first.startswith('<p class="banner">The privileged columns give the label') == warned


def test_privileged_columns_that_tell_nothing_are_a_banner_too():
    for share, warned in ((0.01, True), (0.03, False)):
        first = str(predictability(known(share, a=0.5))[0])
        assert first.startswith('<p class="banner">The privileged columns alone tell') == warned


def test_of_a_series_there_is_no_such_banner():
    of_series = known(0.99, a=0.5) | {"data": {"series": {"history": 4}}}
    assert "banner" not in "".join(map(str, predictability(of_series)))


def test_who_used_which_column():
    both = used(ldt={"a": 0.2, "b": 0.8}, oracle={"a": 1.5, "b": -0.25})
    teacher, oracle = drawings(mattered(both))
    assert teacher[0] == "share of what the teacher says: b 0.8; a 0.2."
    assert oracle[0] == "rise of log loss: a 1.5; b −0.25."
    assert "the oracle's log loss on validation rows rises" in oracle[2]
    for _, texts, _ in (teacher, oracle):
        assert [text for text in texts if text in ("a", "b")]
    lengths = [bars(block) for block in mattered(both)]
    assert lengths[0][0] == pytest.approx(4 * lengths[0][1], rel=1e-4)
    assert lengths[1][0] == pytest.approx(6 * lengths[1][1], rel=1e-4)


def test_a_candidate_without_a_result_is_named():
    (missing, oracle) = mattered(used(ldt={}, oracle={"a": 0.1}))
    assert missing == "Which columns ldt used is not known: it has no result."
    assert str(oracle).startswith("<figure")
    assert paragraphs(mattered(used(oracle={}))) == [
        "Which columns ldt used is not known: it has no result.",
        "Which columns oracle (ceiling) used is not known: it has no result.",
    ]


def test_names_stay_what_they_are():
    """No mathematics between dollars, no tags, one line, and no warning of missing letters."""
    columns = {name: 1.0 - place / 100 for place, name in enumerate(NAMES)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blocks = [*predictability(known(0.5, **columns)), *mattered(used(ldt=columns))]
    for description, texts, _ in drawings(blocks):
        for name in NAMES:
            line = " ".join(name.split())
            assert not line or line in texts
            assert f"{name} " in description
    assert "two lines" in drawings(blocks)[0][1]


def test_long_names_are_cut_and_wide_letters_count_twice():
    long = {"a" * 29: 0.9, "b" * 28: 0.8, "温" * 15: 0.7, "度" * 14: 0.6}
    (description, texts, _), *_ = drawings(predictability(known(0.5, **long)))
    assert LONGEST_NAME == 28
    assert {"a" * 27 + "…", "b" * 28, "温" * 13 + "…", "度" * 14} <= set(texts)
    assert all(name in description for name in long)


def test_wide_letters_have_room_on_the_left():
    """The names end where the axis begins; wide ones need about an em of 10 points each."""

    def axis(name):
        svg = str(predictability(known(0.5, **{name: 0.7}))[-1])
        return float(re.search(r'<text style="[^"]*text-anchor: end[^"]*" x="([\d.]+)"', svg)[1])

    assert axis("温" * 14) >= 14 * 10
    assert axis("a" * 60) < 28 * 7  # and the axis has room, too, in 302 points
    assert axis("温" * 40) < 200


def test_of_many_columns_the_first_are_shown_and_the_number_is_said():
    columns = {f"c{j}": j / 40 for j in range(40)}
    (description, texts, caption), *_ = drawings(mattered(used(ldt=columns)))
    assert description.startswith("share of what the teacher says: c39 0.975; c38 0.95;")
    shown = [text for text in texts if text.startswith("c")]
    assert shown == [f"c{j}" for j in range(39, 39 - MOST_SHOWN, -1)]
    assert "The first 16 of 40 columns that were looked at." in caption


def test_a_column_that_nobody_used_has_no_bar():
    (found, *_) = mattered(used(ldt={"a": 0.0, "b": 0.0}))
    assert bars(found) == [0, 0]
