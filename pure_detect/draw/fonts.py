"""A font that has a label's characters: Pillow's own where it is enough, else one of the system's."""

from __future__ import annotations

import unicodedata
from functools import cache

from PIL import ImageFont

PILLOWS_OWN = ""
# Which the operating systems bring, the common ones first; Pillow knows the folders. Pillow's own has ASCII and little
# more; these add accents, Cyrillic and Greek, then Chinese, Japanese and Korean, then Arabic and Indian scripts.
FONT_FILES = (
    PILLOWS_OWN,
    *("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "arial.ttf"),
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "msyh.ttc"),
    *("DroidSansFallbackFull.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "simsun.ttc", "YuGothR.ttc", "malgun.ttf"),
    *("AppleSDGothicNeo.ttc", "Arial Unicode.ttf", "ARIALUNI.TTF", "NotoSansArabic-Regular.ttf"),
    *("NotoSansHebrew-Regular.ttf", "NotoSansDevanagari-Regular.ttf", "NotoSansThai-Regular.ttf", "Nirmala.ttf"),
)
NO_CHARACTER = "\U0010ffff"  # which no font has, so that its picture is that of every missing one
CHECK_SIZE = 32  # pixels: large enough for two characters never to look the same by chance


def legible(text: str, size: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """Return the text as it can be drawn, on one line, and the font to draw it with.

    Nothing changes if one font has all characters. Otherwise the font that has most of them is taken, and in it a
    missing letter loses its accent, or becomes a question mark.

    Parameters
    ----------
    text : str
    size : int
        Font size in pixels.
    """
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    best, missing = PILLOWS_OWN, len(text) + 1
    for name in FONT_FILES:
        lacks = sum(not has(name, character) for character in text) if _open(name, CHECK_SIZE) else missing
        if lacks < missing:
            best, missing = name, lacks
        if not missing:
            break
    font = _open(best, size)
    assert font is not None  # it opened in CHECK_SIZE
    return "".join(_in_font(best, character) for character in text), font


@cache
def has(name: str, character: str) -> bool:
    """Say whether a font has a character; a space always counts as there."""
    font = _open(name, CHECK_SIZE)
    if font is None or character == " ":
        return font is not None
    return bytes(font.getmask(character)) != bytes(font.getmask(NO_CHARACTER))


def _in_font(name: str, character: str) -> str:
    """Return the character itself if the font has it, or what stands for it."""
    if has(name, character):
        return character
    if unicodedata.category(character)[0] in "CM":  # joiners, variation selectors, combining marks
        return ""
    letters = [letter for letter in unicodedata.normalize("NFKD", character) if has(name, letter)]
    return "".join(letters) or "?"


@cache
def _open(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    """Return a font, or None where the system has none of that name."""
    if name == PILLOWS_OWN:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)  # the old bitmap font comes without a size only
        return font
    try:
        return ImageFont.truetype(name, size)
    except (OSError, ValueError):  # absent, or damaged
        return None
