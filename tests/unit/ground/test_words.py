"""Words of others: what may be printed is taken, all else is refused or made harmless."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import BadInput, visible
from data_prep.words import SENTENCE, check_template, check_words, csv_cell, csv_text

LABELS = (
    *("w/o k-space", "Xiang et al.", "UNet-T1+T2", "MTrans (small)", "alpha 0.2, beta 0.6", "α-Net", "Café"),
    *("磁共振", "МРТ", "A_b & 50% $x$ #1 {~^} <i>|\\ α×", "=HYPERLINK", "<img onerror=x>"),
)


@pytest.mark.parametrize("label", LABELS)
def test_a_printable_line_is_a_label(label):
    check_words("place", label)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("two\nlines", r"U\+000A"),
        ("carriage\rreturn", r"U\+000D"),
        ("tab\tulator", r"U\+0009"),
        ("\x1b[31mred", r"U\+001B"),
        ("nothing\0", r"U\+0000"),
        ("next\x85line", r"U\+0085"),
        ("right\u202eto left", r"U\+202E"),
        ("isolate\u2066d", r"U\+2066"),
        ("zero\u200bwidth", r"U\+200B"),
        ("joined\u2060", r"U\+2060"),
        ("\ufeffmark", r"U\+FEFF"),
        ("soft\u00adhyphen", r"U\+00AD"),
        ("line\u2028separator", r"U\+2028"),
        ("filler\u3164", r"U\+3164"),
        ("selector\ufe0f", r"U\+FE0F"),
        ("tag\U000e0041", r"U\+E0041"),
        ("half\ud800", r"U\+D800"),
        ("", "is empty"),
        ("  ", "is empty"),
        ("x" * 81, "has 81 characters; 80 at most"),
    ],
)
def test_what_cannot_be_printed_in_one_line_is_refused_by_place_and_character(label, said):
    with pytest.raises(BadInput, match=rf"^method\.yaml: label: .*{said}"):
        check_words("method.yaml: label", label)


def test_a_sentence_may_be_longer():
    check_words("place", "x" * SENTENCE, SENTENCE)


@pytest.mark.parametrize(
    "template", ["{b}", "{a.__class__}", "{a[0]}", "{a:>999999999}", "{a!r}", "{}", "{0}", "{a", "a}"]
)
def test_a_template_takes_its_own_plain_fields_only(template):
    check_template("place", "a is {a}, twice {a}", ["a"])
    with pytest.raises(BadInput, match=r"^place: "):
        check_template("place", template, ["a"])


@pytest.mark.parametrize(
    "cell",
    ['=HYPERLINK("http://x")', "+1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1", "＝1", "-x"],
)
def test_a_formula_in_a_cell_is_text(cell):
    assert csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["-0.5", "+1e-3", "-inf", -0.5, None, True, "", "IXI002", "a=b", "−0.5", "'quoted'"]
)
def test_all_else_stands_as_it_is(cell):
    assert csv_cell(cell) is cell


@given(st.text("'=+-@\t\r\n＝a1.e", max_size=6) | st.text())
def test_the_same_text_is_read_back(text):
    written = csv_cell(text)
    assert csv_text(written) == text
    assert csv_cell(text) == text or written[0] == "'"


def test_no_error_message_obeys_what_it_quotes():
    message = "scan\x1b[2J\u202e.nii:\n  not a scan (caf\u00e9\u00a0\udcff)\n"
    error = BadInput(message)
    assert str(error) == "scan\\x1b[2J\\u202e.nii: not a scan (caf\u00e9\u00a0\\udcff)"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert visible("plain, as it was") == "plain, as it was"
    assert str(error).encode("utf-8")
