"""A tag that the user's own code answers: a subclass of `Attribute`.

    class Doubled(Attribute):
        def __getitem__(self, key):
            value = super().__getitem__(key)
            return [2 * item for item in value] if isinstance(key, slice) else 2 * value

Each access comes as an index (a scalar tag) or a slice (an array), in a thread of its own, so that
it may be slow. Raising refuses the request that asked: `CipError` with its status, anything else
with 0xFF.
"""

from typing import Any

from cpppod.protocols.cip.image import Variable


class Attribute:
    """One tag's elements.

    Attributes:
        name: the tag; `type` its CIP type's name.
    """

    def __init__(self, name: str, variable: Variable) -> None:
        self.name = name
        self.type = variable.type.name
        self._variable = variable

    def __len__(self) -> int:
        return self._variable.length

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.type}[{len(self)}]>"

    def __getitem__(self, key: int | slice) -> Any:
        """The value at an index, or the list of a slice's."""
        if isinstance(key, slice):
            first, last, _ = key.indices(len(self))
            return self._variable.get(first, last - first)
        return self._variable.get(self._index(key), 1)[0]

    def __setitem__(self, key: int | slice, value: Any) -> None:
        """Store a value, or a slice's list of values."""
        if isinstance(key, slice):
            self._variable.set(list(value), key.indices(len(self))[0])
        else:
            self._variable.set([value], self._index(key))

    def _index(self, key: int) -> int:
        if not 0 <= key < len(self):
            raise IndexError(f"element {key} of {self.name}[{len(self)}]")
        return key
