"""A strict reading of JSON (RFC 8259), one function per rule of its grammar: the judge of faster parsers.

It shares no code with any JSON library, and is written to be compared with the RFC, not to be fast. On top of
the grammar it refuses unpaired surrogates, written as such or as escapes, and nesting past a given depth.
Values keep all that a library would drop: repeated member names, and numbers as they are spelled.
"""

from dataclasses import dataclass

WHITE_SPACE = " \t\n\r"
DIGITS = "0123456789"
HEX_DIGITS = DIGITS + "abcdef" + "ABCDEF"
SHORT_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
LITERALS: dict[str, bool | None] = {"true": True, "false": False, "null": None}


class NotStrictJsonError(ValueError):
    """The text is not what this module reads as JSON."""


class NestedTooDeepError(NotStrictJsonError):
    """It was JSON as far as it was read, which is until it nests too deep."""


@dataclass(frozen=True)
class Number:
    """A number, as it is spelled."""

    spelling: str


@dataclass(frozen=True)
class Object:
    """An object's members in their order, repeated names included."""

    members: tuple[tuple[str, "Value"], ...]


Value = Object | list["Value"] | str | Number | bool | None


def parse(text: str, *, max_depth: int, surrogates_alone: bool = False) -> Value:
    """The value of a JSON text; an outermost object or array is depth 1.

    With `surrogates_alone` an unpaired surrogate is fine, which the RFC's grammar allows.

    Raises:
        NotStrictJsonError: the text is not strict JSON.
        NestedTooDeepError: the text nests deeper than `max_depth`.
    """
    reader = _Reader(text, max_depth, surrogates_alone)
    value = reader.element(depth=0)
    if reader.position != len(text):
        raise NotStrictJsonError(f"text after the value, at {reader.position}")
    return value


class _Reader:
    def __init__(self, text: str, max_depth: int, surrogates_alone: bool) -> None:
        self.text = text
        self.max_depth = max_depth
        self.surrogates_alone = surrogates_alone
        self.position = 0

    def peek(self) -> str:
        """The next character, "" at the end."""
        return self.text[self.position : self.position + 1]

    def take(self) -> str:
        """The next character, which is passed over."""
        character = self.peek()
        if not character:
            raise NotStrictJsonError("the text ends too early")
        self.position += 1
        return character

    def expect(self, character: str) -> None:
        if self.take() != character:
            raise NotStrictJsonError(f"no {character} before {self.position}")

    def white_space(self) -> None:
        while (character := self.peek()) and character in WHITE_SPACE:
            self.position += 1

    def element(self, depth: int) -> Value:
        """A value with white space around it; `depth` is that of the object or array it stands in."""
        self.white_space()
        value = self.value(depth)
        self.white_space()
        return value

    def value(self, depth: int) -> Value:
        match self.peek():
            case "{":
                return self.object(depth + 1)
            case "[":
                return self.array(depth + 1)
            case '"':
                return self.string()
            case "t" | "f" | "n":
                return self.literal()
            case _:
                return self.number()

    def enter(self, depth: int) -> None:
        if depth > self.max_depth:
            raise NestedTooDeepError(f"nested deeper than {self.max_depth}")
        self.position += 1

    def object(self, depth: int) -> Object:
        self.enter(depth)
        self.white_space()
        members: list[tuple[str, Value]] = []
        if self.peek() == "}":
            self.position += 1
            return Object(())
        while True:
            self.white_space()
            name = self.string()
            self.white_space()
            self.expect(":")
            members.append((name, self.element(depth)))
            match self.take():
                case "}":
                    return Object(tuple(members))
                case ",":
                    continue
                case _:
                    raise NotStrictJsonError(f"neither , nor }} before {self.position}")

    def array(self, depth: int) -> list[Value]:
        self.enter(depth)
        self.white_space()
        elements: list[Value] = []
        if self.peek() == "]":
            self.position += 1
            return elements
        while True:
            elements.append(self.element(depth))
            match self.take():
                case "]":
                    return elements
                case ",":
                    continue
                case _:
                    raise NotStrictJsonError(f"neither , nor ] before {self.position}")

    def literal(self) -> bool | None:
        for word, value in LITERALS.items():
            if self.text.startswith(word, self.position):
                self.position += len(word)
                return value
        raise NotStrictJsonError(f"no value at {self.position}")

    def number(self) -> Number:
        start = self.position
        if self.peek() == "-":
            self.position += 1
        if self.peek() == "0":
            self.position += 1
        else:
            self.digits()
        if self.peek() == ".":
            self.position += 1
            self.digits()
        if self.peek() in ("e", "E"):
            self.position += 1
            if self.peek() in ("+", "-"):
                self.position += 1
            self.digits()
        return Number(self.text[start : self.position])

    def digits(self) -> None:
        """One or more digits."""
        start = self.position
        while (character := self.peek()) and character in DIGITS:
            self.position += 1
        if self.position == start:
            raise NotStrictJsonError(f"no digit at {start}")

    def string(self) -> str:
        self.expect('"')
        characters: list[str] = []
        while (character := self.take()) != '"':
            if character == "\\":
                characters.append(self.escape())
            elif character < " ":
                raise NotStrictJsonError(f"a bare control character before {self.position}")
            elif "\ud800" <= character <= "\udfff" and not self.surrogates_alone:
                raise NotStrictJsonError(f"an unpaired surrogate before {self.position}")
            else:
                characters.append(character)
        return "".join(characters)

    def escape(self) -> str:
        """What an escape stands for, its backslash being read; a pair of surrogates is one."""
        letter = self.take()
        if letter in SHORT_ESCAPES:
            return SHORT_ESCAPES[letter]
        if letter != "u":
            raise NotStrictJsonError(f"an unknown escape before {self.position}")
        unit = self.code_unit()
        if not 0xD800 <= unit <= 0xDFFF or self.surrogates_alone:  # a pair is then two of them
            return chr(unit)
        if unit >= 0xDC00:
            raise NotStrictJsonError(f"an unpaired low surrogate before {self.position}")
        self.expect("\\")
        self.expect("u")
        low = self.code_unit()
        if not 0xDC00 <= low <= 0xDFFF:
            raise NotStrictJsonError(f"an unpaired high surrogate before {self.position}")
        return chr(0x10000 + (unit - 0xD800) * 0x400 + (low - 0xDC00))

    def code_unit(self) -> int:
        """Four hexadecimal digits."""
        unit = 0
        for _ in range(4):
            digit = self.take()
            if digit not in HEX_DIGITS:
                raise NotStrictJsonError(f"no hexadecimal digit before {self.position}")
            unit = unit * 16 + int(digit, 16)
        return unit
