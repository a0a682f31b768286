"""What may be written down, and what is made of words that may not."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.failures import Failure, defect
from provisioner.domain.hardware import require_facts
from provisioner.domain.storable import DEEPEST, LARGEST, Unstorable, check, clean

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_passes_is_json_that_every_database_keeps(value: Any) -> None:
    try:
        check(value)
    except Unstorable:
        return
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    assert b"\0" not in text.encode()
    assert r"\u0000" not in text.replace(r"\\", "")


@given(ANY_TEXT, st.integers(3, 50))
def test_clean_words_pass(text: str, most: int) -> None:
    assert len(clean(text, most)) <= most
    check(clean(text, most))


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_words_that_are_text_stay_as_they_are(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ("\0", ""),
        ({"a": [1, {"b": "\0"}]}, "/a/1/b"),
        ({"a": {"\ud800": 1}}, "/a"),
        ([LARGEST, LARGEST + 1], "/1"),
        ([-LARGEST - 2], "/0"),
        ([float("inf")], "/0"),
    ],
)
def test_the_place_is_named(value: Any, pointer: str) -> None:
    with pytest.raises(Unstorable) as caught:
        check(value)
    assert caught.value.fault.pointer == pointer


def test_there_is_an_end_to_nesting() -> None:
    deep: list[Any] = []
    for _ in range(DEEPEST):
        deep = [deep]
    with pytest.raises(Unstorable, match="nested"):
        check(deep)
    check(deep[0])


def test_a_failure_can_always_be_stored() -> None:
    failure = Failure("the disk says \0", next_action="look \ud800")
    check([failure.reason, failure.next_action, str(failure)])
    check(defect(ValueError("\0" * 10_000)).reason)


DISK = {
    "serial": "S1",
    "model": "M",
    "firmware": "1",
    "transport": "nvme",
    "size_bytes": 1,
    "capabilities": {},
}


@pytest.mark.parametrize(
    ("facts", "place"),
    [
        ([], "facts"),
        ({"cpus": 1, "memory_mib": 1}, "disks"),
        ({"cpus": "1", "memory_mib": 1, "disks": []}, "cpus"),
        ({"cpus": True, "memory_mib": 1, "disks": []}, "cpus"),
        ({"cpus": 1, "memory_mib": None, "disks": []}, "memory_mib"),
        ({"cpus": 1, "memory_mib": 1 << 70, "disks": []}, "memory_mib"),
        ({"cpus": 1, "memory_mib": 1, "disks": {}}, "disks"),
        ({"cpus": 1, "memory_mib": 1, "disks": [], "gpus": 8}, "gpus"),
        ({"cpus": 1, "memory_mib": 1, "disks": ["S1"]}, "disks/0"),
        ({"cpus": 1, "memory_mib": 1, "disks": [DISK, DISK]}, "disks/1/serial"),
        ({"cpus": 1, "memory_mib": 1, "disks": [{**DISK, "serial": ""}]}, "disks/0/serial"),
        ({"cpus": 1, "memory_mib": 1, "disks": [{**DISK, "model": "m" * 999}]}, "disks/0/model"),
        ({"cpus": 1, "memory_mib": 1, "disks": [{**DISK, "size_bytes": -1}]}, "disks/0/size"),
    ],
)
def test_facts_that_cannot_be_recorded_are_refused_by_their_place(facts: Any, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        require_facts(facts)
