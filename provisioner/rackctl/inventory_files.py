"""Inventory files: YAML to the documents of an enrolment, and every value's file and line.

Passwords are read and resolved here. The service validates the inventory; its JSON pointers are
mapped back to the lines that caused them.
"""

import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from provisioner.rackctl.errors import UsageFault
from provisioner.rackctl.files import FileTooLarge, read_text

JsonValue = Any
_MERGE = "tag:yaml.org,2002:merge"
_DOCUMENT_POINTER = re.compile(r"^/documents/\d+")
_BMC_POINTER = re.compile(r"^/documents/\d+/servers/\d+/bmc$")
_PASSWORD_KEYS = ("password", "password_env", "password_file")
_MOST_VALUES = 200_000
"""Values of all documents, each alias counted with all that it stands for."""
_POINTER_IN_TEXT = re.compile(r"/documents/\d+(?:/[\w~-]+)*")


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; line 0 means the whole file."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


class InventoryFault(Exception):
    """One fault in an inventory file. `pointer` is relative to its document."""

    def __init__(self, place: Place, pointer: str, reason: str) -> None:
        super().__init__(f"{place}: {pointer}: {reason}" if pointer else f"{place}: {reason}")


@dataclass(slots=True)
class Inventory:
    """Documents ready to be enrolled, and the place of each of their values."""

    documents: list[JsonValue] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    """By JSON pointer into `{"documents": …}`."""
    values: int = 0
    """How many were read, with those that aliases stand for."""

    def place(self, pointer: str) -> Place | None:
        """The place of a value, or of the nearest enclosing one that is in a file."""
        while pointer and pointer not in self.places:
            pointer = pointer.rpartition("/")[0]
        return self.places.get(pointer)

    def explain(self, pointer: str, reason: str) -> str:
        """A fault that the service found, with its file and line."""
        at = self.place(pointer)

        def locate(match: re.Match[str]) -> str:
            other = self.place(match[0])
            if other is None:
                return match[0]
            return f"line {other.line}" if at and other.file == at.file else str(other)

        reason = _POINTER_IN_TEXT.sub(locate, reason)
        if at is None:
            return f"{pointer}: {reason}" if pointer else reason
        return str(InventoryFault(at, _DOCUMENT_POINTER.sub("", pointer), reason))


def read_inventory(files: list[Path]) -> Inventory:
    """Read all files, each with one or more YAML documents.

    Raises UsageFault with one line per fault when any of them is unusable.
    """
    inventory = Inventory()
    faults: list[InventoryFault] = []
    for file in files:
        try:
            for root in _documents(file):
                reader = _DocumentReader(file, f"/documents/{len(inventory.documents)}", inventory)
                inventory.documents.append(reader.read(root))
                faults += reader.faults
        except InventoryFault as fault:
            faults.append(fault)
    if faults:
        raise UsageFault(
            f"faults in the inventory: {len(faults)}; nothing was sent",
            details=[str(fault) for fault in faults],
        )
    return inventory


def _documents(file: Path) -> Iterator[Node]:
    """The root nodes of a file. YAML's own messages quote lines with passwords, so are not used."""
    try:
        text = read_text(file)
    except FileTooLarge as error:
        raise InventoryFault(Place(file, 0), "", str(error)) from error
    except OSError as error:
        raise InventoryFault(Place(file, 0), "", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InventoryFault(Place(file, line), "", "is not UTF-8 text") from error
    found = False
    try:
        for root in YAML(typ="safe", pure=True).compose_all(text):
            if isinstance(root, ScalarNode) and not root.value:
                continue
            found = True
            yield root
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        # An alias is not named: an unquoted password that begins with "*" would be one.
        problem = "undefined alias" if isinstance(error, ComposerError) else error.problem
        raise InventoryFault(Place(file, line), "", f"bad YAML: {problem}") from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InventoryFault(Place(file, line), "", f"bad YAML: {error.reason}") from error
    except (YAMLError, RecursionError) as error:
        raise InventoryFault(Place(file, 0), "", f"bad YAML: {type(error).__name__}") from error
    if not found:
        raise InventoryFault(
            Place(file, 0), "", "is empty; expected a site, a rack and its servers"
        )


class _DocumentReader:
    """Turns the nodes of one document into JSON values and records their places."""

    def __init__(self, file: Path, pointer: str, inventory: Inventory) -> None:
        self.file = file
        self.root = pointer
        self.places = inventory.places
        self.faults: list[InventoryFault] = []
        self._constructor = YAML(typ="safe", pure=True).constructor
        self._open: list[Node] = []
        self._inventory = inventory

    def read(self, root: Node) -> JsonValue:
        self.places[self.root] = self._place(root)
        if not isinstance(root, MappingNode):
            self._fault(root, self.root, "expected a mapping of site, rack, classes and servers")
            return None
        return self._value(root, self.root)

    def _value(self, node: Node, pointer: str) -> JsonValue:
        self._count(node)
        if any(node is outer for outer in self._open):
            self._fault(node, pointer, "contains itself")
            return None
        if isinstance(node, ScalarNode):
            return self._scalar(node, pointer)
        self._open.append(node)
        try:
            if isinstance(node, SequenceNode):
                return self._list(node, pointer)
            return self._mapping(node, pointer)
        finally:
            self._open.pop()

    def _scalar(self, node: ScalarNode, pointer: str) -> JsonValue:
        try:
            value = self._constructor.construct_object(node)
        except (YAMLError, ValueError):
            # The tag is not named: an unquoted password that begins with "!" would be one.
            self._fault(node, pointer, "has a YAML tag that does not fit; put it in quotes")
            return None
        finite = not isinstance(value, float) or math.isfinite(value)
        if finite and (value is None or isinstance(value, str | int | float)):
            return value
        self._fault(
            node, pointer, "is not text, a number, true or false; put it in quotes if it is text"
        )
        return None

    def _list(self, node: SequenceNode, pointer: str) -> list[JsonValue]:
        values = []
        for index, item in enumerate(node.value):
            inner = f"{pointer}/{index}"
            self.places[inner] = self._place(item)
            values.append(self._value(item, inner))
        return values

    def _mapping(self, node: Node, pointer: str) -> dict[str, JsonValue]:
        values: dict[str, JsonValue] = {}
        keys: dict[str, Node] = {}
        for key, item in self._pairs(node, pointer):
            name = key.value
            inner = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            self.places[inner] = self._place(key)
            keys[name] = key
            values[name] = self._value(item, inner)
        if _BMC_POINTER.match(pointer):
            self._resolve_password(values, keys, pointer)
        return values

    def _pairs(self, node: Node, pointer: str) -> list[tuple[ScalarNode, Node]]:
        """Keys and values; those of `<<:` apply where the mapping has none of its own."""
        own: dict[str, tuple[ScalarNode, Node]] = {}
        merged: dict[str, tuple[ScalarNode, Node]] = {}
        for key, item in node.value:
            self._count(key)
            if key.tag == _MERGE:
                for source in item.value if isinstance(item, SequenceNode) else [item]:
                    for pair in self._merged(source, pointer):
                        merged.setdefault(pair[0].value, pair)
            elif not isinstance(key, ScalarNode) or not key.value:
                self._fault(key, pointer, "a key must be text")
            elif key.value in own:
                self._fault(key, f"{pointer}/{key.value}", "is given twice")
            else:
                own[key.value] = (key, item)
        if own.keys() & set(_PASSWORD_KEYS):
            # The mapping's own password replaces a merged one, however each of them is given.
            merged = {name: pair for name, pair in merged.items() if name not in _PASSWORD_KEYS}
        return list((merged | own).values())

    def _count(self, node: Node) -> None:
        """Raises InventoryFault when aliases have made the documents too large."""
        self._inventory.values += 1
        if self._inventory.values > _MOST_VALUES:
            raise InventoryFault(
                self._place(node),
                "",
                f"the inventory has more than {_MOST_VALUES} values, with what its aliases stand "
                "for; enrol its racks one by one",
            )

    def _merged(self, source: Node, pointer: str) -> list[tuple[ScalarNode, Node]]:
        self._count(source)
        if not isinstance(source, MappingNode) or any(source is outer for outer in self._open):
            self._fault(source, pointer, "<< can only merge another mapping")
            return []
        self._open.append(source)
        try:
            return self._pairs(source, pointer)
        finally:
            self._open.pop()

    def _resolve_password(
        self, values: dict[str, JsonValue], keys: dict[str, Node], pointer: str
    ) -> None:
        """Replace `password_env` and `password_file` with the password they refer to."""
        given = [name for name in _PASSWORD_KEYS if name in values]
        if len(given) > 1:
            self._fault(keys[given[1]], pointer, f"only one of {' and '.join(given)} can be given")
        if not given or given[0] == "password":
            return
        source = given[0]
        name = values.pop(source)
        self.places[f"{pointer}/password"] = self._place(keys[source])
        try:
            values["password"] = self._password(source, name)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._fault(keys[source], f"{pointer}/{source}", f"{name}: {reason}")

    def _password(self, source: str, name: JsonValue) -> str:
        if not isinstance(name, str):
            raise ValueError("is not a name")
        if source == "password_env":
            password = os.environ.get(name, "")
            if not password:
                raise ValueError("is not set in the environment")
            return password
        lines = read_text(self.file.parent / Path(name).expanduser()).splitlines()
        if not lines or not lines[0]:
            raise ValueError("its first line is empty; it must be the password")
        return lines[0]

    def _place(self, node: Node) -> Place:
        return Place(self.file, node.start_mark.line + 1)

    def _fault(self, node: Node, pointer: str, reason: str) -> None:
        place = self._place(node)
        self.faults.append(InventoryFault(place, pointer.removeprefix(self.root), reason))
