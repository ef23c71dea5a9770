"""Regular expressions as text: what greenery reads, and the named captures that it does not keep.

greenery parses the expression and owns its grammar; this module brings the text into the form
that greenery takes (it does not know `\\$`, `\\-`, `[\\.]`, `\\u03c0`) and finds named groups:

    expression  alternative | alternative ...
    alternative element element ...
    element     plain text for greenery, or a group that holds captures, `(...)` or `(?P<name>...)`

An expression always means the whole input: `^` and `$` are ordinary characters, `.` is any one
symbol, a line's end included; `\\d`, `\\s`, `\\w` are the ASCII ones; `*?` means the same as `*`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cpppod.protocols.automata.errors import ExpressionError, LimitExceeded

if TYPE_CHECKING:
    import greenery  # at its first use: it takes longer to import than all of this

MAXIMUM_LENGTH = 8192  # characters: an expression is written by a person, or by a small program
MAXIMUM_DEPTH = 40  # groups in groups: greenery's parser recurses for each
MAXIMUM_CAPTURES = 256

NO_CHARACTER = 0x110000  # one beyond the last code point
_HEXADECIMAL_DIGITS = {"x": 2, "u": 4, "U": 8}
_HEXADECIMAL = frozenset("0123456789abcdefABCDEF")
_ESCAPES_OF_GREENERY = frozenset("dDsSwWtnrfv\\[]{}|()?*+.")
_ESCAPES_IN_A_CLASS = frozenset("dDsSwWtnrfv\\[]^-")


@dataclass(frozen=True, slots=True)
class Plain:
    """A part of an expression without captures; `text` as greenery takes it."""

    text: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group that is a capture or holds some: `name` or "", and whether it may be left out."""

    name: str
    alternatives: tuple[tuple["Plain | Group", ...], ...]
    optional: bool = False


def parse(expression: str) -> "greenery.Pattern":
    """The expression as greenery's syntax tree; names of captures are dropped.

    Raises:
        ExpressionError: not a regular expression that greenery knows.
        LimitExceeded: too long or too deep.
    """
    return _parsed(_Scanner(expression).plain_text(), expression)


def plain(expression: str) -> str:
    """The expression as greenery takes it, without the names of captures.

    Raises:
        ExpressionError, LimitExceeded: as `parse`.
    """
    return _Scanner(expression).plain_text()


def structure(expression: str) -> Group:
    """The expression as a nameless group of plain parts and groups with captures.

    Raises:
        ExpressionError: also where a capture is repeated: it would have several values.
    """
    return _Scanner(expression).structure()


def _parsed(text: str, expression: str) -> "greenery.Pattern":
    import greenery
    from greenery.parse import NoMatch

    try:
        return greenery.parse(text)
    except NoMatch as error:
        position = _position_of(error, text)
        raise ExpressionError("not understood", expression=expression, position=position) from error
    except (ValueError, RecursionError) as error:
        raise ExpressionError(str(error), expression=expression, position=0) from error


def _position_of(error: Exception, text: str) -> int:
    digits = str(error).rpartition("beyond index ")[2]
    return int(digits) if digits.isdecimal() else len(text)


class _Scanner:
    """One walk over the text of an expression."""

    def __init__(self, expression: str) -> None:
        if len(expression) > MAXIMUM_LENGTH:
            raise LimitExceeded(
                f"{len(expression)} characters, at most {MAXIMUM_LENGTH} are allowed",
                expression=expression,
            )
        self.text = expression
        self.at = 0
        self.depth = 0
        self.names: set[str] = set()

    def plain_text(self) -> str:
        """The whole expression as greenery takes it."""
        pieces = []
        while self.at < len(self.text):
            character = self.text[self.at]
            if character in "()":
                self._count_depth(character)
                name, piece = self._group_opening() if character == "(" else ("", self._take())
                self._note(name)
                pieces.append("(" if character == "(" else piece)
            else:
                pieces.append(self._piece())
        return "".join(pieces)

    def structure(self) -> Group:
        group = Group("", self._alternatives())
        if self.at < len(self.text):
            raise self._error("a closing parenthesis without its opening one")
        return group

    def _alternatives(self) -> tuple[tuple[Plain | Group, ...], ...]:
        alternatives: list[tuple[Plain | Group, ...]] = []
        elements: list[Plain | Group] = []
        plain = ""
        while self.at < len(self.text) and self.text[self.at] != ")":
            character = self.text[self.at]
            if character == "|" or (character == "(" and self._group_holds_captures()):
                if plain:
                    elements.append(Plain(plain))
                plain = ""
                if character == "|":
                    self._take()
                    alternatives.append(tuple(elements))
                    elements = []
                else:
                    elements.append(self._group())
            elif character == "(":
                plain += self._whole_group()
            else:
                plain += self._piece()
        if plain:
            elements.append(Plain(plain))
        return (*alternatives, tuple(elements))

    def _group(self) -> Group:
        start = self.at
        self._count_depth("(")
        name, _ = self._group_opening()
        self._note(name)
        alternatives = self._alternatives()
        if self.at >= len(self.text):
            raise ExpressionError("a group is not closed", expression=self.text, position=start)
        self._count_depth(self._take())
        follower = self.text[self.at : self.at + 1]
        if follower in ("*", "+", "{"):
            raise self._error("a capture cannot be repeated: it would have several values;")
        if follower == "?":
            self._take()
        return Group(name, alternatives, optional=follower == "?")

    def _whole_group(self) -> str:
        """The text of a group without captures, from its opening to its closing parenthesis."""
        pieces, open_groups = [], 0
        while self.at < len(self.text):
            character = self.text[self.at]
            if character == "(":
                self._group_opening()
                open_groups += 1
                pieces.append("(")
            elif character == ")":
                pieces.append(self._take())
                open_groups -= 1
                if open_groups == 0:
                    break
            else:
                pieces.append(self._piece())
        return "".join(pieces)

    def _group_holds_captures(self) -> bool:
        """Whether `(?P<` stands between the parenthesis here and its partner."""
        start, names = self.at, set(self.names)
        found, open_groups = False, 0
        while self.at < len(self.text) and not found:
            character = self.text[self.at]
            if character == "(":
                found = bool(self._group_opening()[0])
                open_groups += 1
            elif character == ")":
                self._take()
                open_groups -= 1
                if open_groups == 0:
                    break
            else:
                self._piece()
        self.at, self.names = start, names
        return found

    def _group_opening(self) -> tuple[str, str]:
        """The capture's name or "", past `(`, `(?:` or `(?P<name>`."""
        start = self.at
        self._take()
        if self.text[self.at : self.at + 1] != "?":
            return "", "("
        if self.text.startswith("?:", self.at):
            self.at += 2
            return "", "("
        end = self.text.find(">", self.at)
        name = self.text[self.at + 3 : end] if end > 0 else ""
        if not self.text.startswith("?P<", self.at) or not name.isidentifier():
            raise ExpressionError(
                "a group begins with ( or (?: or (?P<name>", expression=self.text, position=start
            )
        self.at = end + 1
        return name, "("

    def _note(self, name: str) -> None:
        if not name:
            return
        if name in self.names:
            raise self._error(f"the capture {name!r} is there twice")
        self.names.add(name)
        if len(self.names) > MAXIMUM_CAPTURES:
            raise LimitExceeded(
                f"more than {MAXIMUM_CAPTURES} captures are not allowed", expression=self.text
            )

    def _count_depth(self, parenthesis: str) -> None:
        self.depth += 1 if parenthesis == "(" else -1
        if self.depth > MAXIMUM_DEPTH:
            raise LimitExceeded(
                f"groups more than {MAXIMUM_DEPTH} deep are not allowed", expression=self.text
            )

    def _piece(self) -> str:
        """One character, escape or class, as greenery takes it."""
        character = self.text[self.at]
        if character == "\\":
            return self._escape(_ESCAPES_OF_GREENERY)
        if character == "[":
            return self._class()
        return self._take()

    def _class(self) -> str:
        start = self.at
        pieces = [self._take()]
        if self.text[self.at : self.at + 1] == "^":
            pieces.append(self._take())
        first = self.at
        while self.text[self.at : self.at + 1] != "]":
            if self.at >= len(self.text):
                raise ExpressionError("a class is not closed", expression=self.text, position=start)
            character = self.text[self.at]
            if character == "\\":
                pieces.append(self._escape(_ESCAPES_IN_A_CLASS))
            elif character == "-" and (self.at == first or self.text[self.at + 1 :][:1] == "]"):
                self._take()
                pieces.append("\\x2d")
            elif character in "[^":
                pieces.append("\\" + self._take())
            else:
                pieces.append(self._take())
        pieces.append(self._take())
        return "".join(pieces)

    def _escape(self, known: frozenset[str]) -> str:
        """One escape as greenery takes it: characters that it does not escape by their number."""
        start = self.at
        self._take()
        if self.at >= len(self.text):
            raise ExpressionError("an escape is cut off", expression=self.text, position=start)
        character = self._take()
        if character in known:
            return "\\" + character
        if character in _HEXADECIMAL_DIGITS:
            digits = self.text[self.at : self.at + _HEXADECIMAL_DIGITS[character]]
            self.at += len(digits)
            whole = len(digits) == _HEXADECIMAL_DIGITS[character]
            number = int(digits, 16) if whole and set(digits) <= _HEXADECIMAL else NO_CHARACTER
            if number < NO_CHARACTER:
                return _quoted(chr(number))
            raise ExpressionError(
                "not the number of a character", expression=self.text, position=start
            )
        if character.isalnum():
            raise ExpressionError(
                f"the escape \\{character} is not known", expression=self.text, position=start
            )
        return _quoted(character)

    def _take(self) -> str:
        character = self.text[self.at]
        self.at += 1
        return character

    def _error(self, what: str) -> ExpressionError:
        return ExpressionError(what, expression=self.text, position=self.at)


def _quoted(character: str) -> str:
    """`character` standing for itself, in a class and outside."""
    return f"\\x{ord(character):02x}" if ord(character) < 256 else character
