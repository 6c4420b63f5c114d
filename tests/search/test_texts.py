"""Texts folded in pieces of bounded length, and what of a text a folded character comes from."""

from __future__ import annotations

import random
import sys
import unicodedata
from itertools import pairwise

from gateway.search.texts import FOLDED_LENGTH_MAX, PIECE_LENGTH_MAX, FoldedText, Folding, fold, pieces

EXPANDING = "\ufdfa"
PARTS = (
    *("e", "B", "\0", "Å", "\u0301", "\u0323", "ｶ", "ﾞ", "Ａ", "ß", "㍿", "東", EXPANDING, "\U0001f600"),
    *("\u1112", "\u1161", "\u11ab", "하", "ﾡ", "ￂ", "\u0bc6", "\u0bbe"),
)


def whole(text: str) -> str:
    """The folded form by its definition."""
    return unicodedata.normalize("NFKC", text.replace("\0", " ")).casefold()


def texts(count: int) -> list[str]:
    dice = random.Random(7)
    return ["".join(dice.choices(PARTS, k=dice.randrange(300))) for _ in range(count)]


def test_pieces_are_short_and_together_they_are_the_text_folded_as_a_whole() -> None:
    for text in texts(200):
        assert fold(text) == whole(text)
        begins = [begin for begin, _ in pieces(text)] + [len(text)]
        assert all(end - begin <= PIECE_LENGTH_MAX for begin, end in pairwise(begins))


def test_a_thousand_marks_on_one_character_are_folded_in_short_pieces_too() -> None:
    assert len(list(pieces("e" + "\u0323\u0301" * 500))) > 1000 // PIECE_LENGTH_MAX


def pairs() -> set[tuple[str, str]]:
    """Every two characters that become one."""
    found = {("하", "\u11ab"), ("\u1112", "\u1161")}
    for code in range(sys.maxunicode + 1):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            found.add((chr(int(parts[0], 16)), chr(int(parts[1], 16))))
    return found


def test_a_piece_begins_with_no_character_that_joins_the_one_before() -> None:
    for one, other in pairs():
        text = "x" * (PIECE_LENGTH_MAX - 1) + one + other
        assert PIECE_LENGTH_MAX not in [begin for begin, _ in pieces(text)], text.encode("unicode-escape")


def test_a_folded_character_comes_from_what_became_it() -> None:
    text = "x" * 100 + "Ａe\u0301ｶﾞ㍿\u1112\u1161\u11ab!" + "東" * 100
    folded = FoldedText(text, pieces(text))
    assert folded.folded == whole(text)
    made = [text[slice(*folded.origin(place))] for place in range(99, 110)]
    assert made == ["x", "Ａ", "e\u0301", "ｶﾞ", "㍿", "㍿", "㍿", "㍿", "\u1112\u1161\u11ab", "!", "東"]
    for text in texts(50):
        folded = FoldedText(text, pieces(text))
        origins = [folded.origin(place) for place in range(len(folded.folded))]
        assert origins == sorted(origins)
        assert "".join(text[begin:end] for begin, end in dict.fromkeys(origins)) == text


def test_of_a_page_so_many_characters_are_folded_and_all_that_is_ascii() -> None:
    folding = Folding()
    text = "東" * (FOLDED_LENGTH_MAX // 4)
    assert [folding.fold(text) is None for _ in range(6)] == [False, False, False, False, True, True]
    assert folding.fold("all") is not None
