"""A quick look over JSON5 text: where values stand, how deep they lie, what is out of place.

The json5 package decides what is valid. It does not tell where a value stands, recurses once
per level, and its error positions are often one token too far; that is what this is for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import json5

_TOKEN = re.compile(
    r"""
      (?P<space> [\s\ufeff]+ | //[^\r\n\u2028\u2029]* )
    | (?P<comment> /\* (?: .*?\*/ | .*+ ) )
    | (?P<text> "(?:[^"\\]|\\.)*+ (?: " | \\?\Z ) | '(?:[^'\\]|\\.)*+ (?: ' | \\?\Z ) )
    | (?P<mark> [{}\[\]:,] )
    | (?P<word> [^\s\ufeff{}\[\]:,"'/]+ )
    | (?P<other> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_CLOSER: Final = {"{": "}", "[": "]"}

# What may come next, in the words of the error messages.
_VALUE: Final = "a value"
_ITEM: Final = 'a value or "]"'
_KEY: Final = 'a key or "}"'
_COLON: Final = 'a ":"'
_MORE_ITEMS: Final = 'a "," or "]"'
_MORE_KEYS: Final = 'a "," or "}"'
_END: Final = "the end of the text"
_DONE: Final = ""
"""After a whole value: what comes next depends on what the value is in."""

_AFTER: Final = {
    _VALUE: {"text": _DONE, "word": _DONE, "{": _KEY, "[": _ITEM},
    _ITEM: {"text": _DONE, "word": _DONE, "{": _KEY, "[": _ITEM, "]": _DONE},
    _KEY: {"text": _COLON, "word": _COLON, "}": _DONE},
    _COLON: {":": _VALUE},
    _MORE_ITEMS: {",": _ITEM, "]": _DONE},
    _MORE_KEYS: {",": _KEY, "}": _DONE},
    _END: dict[str, str](),
}

_CUT: Final = 40
_GENERAL_HINT: Final = 'correct the text at the mark; a config looks like { libpath: "./libx.so" }'
_HINTS: Final = (
    ("#", "comments start with // in JSON5"),
    ("=", "write key: value"),
    (";", "put a comma between two entries"),
    ("\u201c\u201d\u201e\u2018\u2019«»", "use straight quotes, \" or '"),
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    start: int
    text: str
    is_key: bool

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(slots=True)
class Outline:
    """What was seen.

    Attributes:
        text: The text.
        starts: The offset of every key and every value, in the order of the text.
        too_deep: The offset of the first bracket that lies too deep.
        tokens: Everything but white space and line comments.
        open: The brackets that are open at the end.
        misplaced: The first token that cannot stand where it stands.
        expected: What should stand there.
    """

    text: str
    starts: list[int] = field(default_factory=list)
    too_deep: int | None = None
    tokens: list[_Token] = field(default_factory=list)
    open: list[_Token] = field(default_factory=list)
    misplaced: _Token | None = None
    expected: str = ""

    def parse(self, **hooks: Callable[..., object]) -> tuple[object, str | None, int]:
        """Lets json5 read the text.

        Args:
            hooks: Those of `json.loads`.

        Returns:
            The value, what is wrong (None: nothing), and the offset of that.
        """
        read: Callable[..., tuple[object, str | None, int]] = json5.parse
        value, problem, position = read(self.text, **hooks)
        return value, problem, position

    def explain(self, position: int) -> tuple[int, str, str]:
        """Says what is wrong with text that json5 refused.

        Args:
            position: The offset at which json5 gave up.

        Returns:
            The offset of what is wrong, what is wrong with it, and the next step.
        """
        misplaced = self.misplaced
        touched = [t for t in self.tokens if t.start <= position <= t.end]
        for token in touched:
            if misplaced is not None and misplaced.start <= token.start:
                break
            if token.kind == "word" and not _is_valid(token):
                return _about_word(token)
            if broken := self._about_broken(token, position):
                return broken
        if misplaced is not None and misplaced.start <= position:
            return _about(misplaced, self.expected)
        if position < len(self.text):
            found = ascii(self.text[position])[1:-1].replace('"', '\\"')
            return position, f'unexpected "{found}"', _GENERAL_HINT
        if self.open:
            bracket = self.open[-1]
            message = f'this "{bracket.text}" is never closed'
            return bracket.start, message, f'add the missing "{_CLOSER[bracket.text]}"'
        return position, "the text ends where a value should be", _GENERAL_HINT

    def _about_broken(self, token: _Token, position: int) -> tuple[int, str, str] | None:
        is_last = position >= len(self.text)
        if token.kind == "comment":
            # "/*/" opens a comment and does not close it.
            is_closed = len(token.text) >= len("/**/") and token.text.endswith("*/")
            message = "this comment is never closed"
            return None if is_closed else (token.start, message, "close it with */")
        if token.kind != "text" or (position >= token.end and _is_valid(token)):
            return None
        if is_last or self.text[position] in "\r\n":
            message = f"this string is {'never closed' if is_last else 'not closed in its line'}"
            return token.start, message, f"close it with {token.text[0]}"
        if token.start < position < token.end:
            hint = r"JSON5 has \\, \", \n, \t, \xHH and \uHHHH; write \\ for a backslash"
            return position, "this is not an escape of a string", hint
        return None


def scan(text: str, max_depth: int) -> Outline:
    """Looks over JSON5 text, valid or not, in linear time.

    Args:
        text: The text.
        max_depth: How deep objects and arrays may lie in each other.

    Returns:
        What was seen, up to the first thing that is out of place.
    """
    outline = Outline(text)
    want = _VALUE
    for match in _TOKEN.finditer(text):
        kind, found = match.lastgroup or "", match.group()
        if kind == "space":
            continue
        token = _Token(kind, match.start(), found, is_key=want == _KEY)
        outline.tokens.append(token)
        if kind == "comment":
            continue
        after = _AFTER[want].get(found if kind == "mark" else kind)
        if after is None:
            outline.misplaced, outline.expected = token, want
            break
        if found in _CLOSER:
            outline.open.append(token)
            if len(outline.open) > max_depth:
                outline.too_deep = token.start
                break
        elif kind == "mark" and after == _DONE:
            outline.open.pop()
        if kind != "mark" or found in _CLOSER:
            outline.starts.append(token.start)
        want = after or _after_value(outline.open)
    return outline


def _after_value(opened: list[_Token]) -> str:
    if not opened:
        return _END
    return _MORE_KEYS if opened[-1].text == "{" else _MORE_ITEMS


def _is_valid(token: _Token) -> bool:
    text = f"{{{token.text}:0}}" if token.is_key else token.text
    try:
        _, problem, _ = json5.parse(text)
    except ValueError:
        return False
    return problem is None


def _about_word(token: _Token) -> tuple[int, str, str]:
    special = _hint_for(token.text)
    if token.is_key:
        hint = special or f'put the key in quotes: "{_cut(token.text)}"'
        return token.start, f"{_quoted(token)} is not a key", hint
    return token.start, f"{_quoted(token)} is not a value", special or "put text in quotes"


def _about(token: _Token, expected: str) -> tuple[int, str, str]:
    hint = _hint_for(token.text)
    if not hint and expected in (_MORE_KEYS, _MORE_ITEMS) and token.kind in ("text", "word"):
        hint = "put a comma between two entries"
    return token.start, f"unexpected {_quoted(token)}, expected {expected}", hint or _GENERAL_HINT


def _hint_for(text: str) -> str:
    return next((hint for marks, hint in _HINTS if any(m in text for m in marks)), "")


def _quoted(token: _Token) -> str:
    return _cut(token.text) if token.kind == "text" else f'"{_cut(token.text)}"'


def _cut(text: str) -> str:
    text = text if text.isprintable() else ascii(text)[1:-1]
    return text if len(text) <= _CUT else f"{text[: _CUT - 1]}…"
