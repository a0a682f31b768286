"""Reasons and next actions as the pages write them."""

import pytest

from provisioner.service.web.render import sentence


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("replace the fan", "Replace the fan."),
        ("GPU 3: fell off the bus", "GPU 3: fell off the bus."),
        ("Already a sentence.", "Already a sentence."),
        ("what was that?", "What was that?"),
        ("a1-u20 does not answer", "a1-u20 does not answer."),
        ("node.example does not answer", "node.example does not answer."),
        (
            "replace it; then: rackctl server repaired a1",
            "Replace it; then: rackctl server repaired a1",
        ),
        ("rackctl server retry a1", "rackctl server retry a1"),
        ("", ""),
    ],
)
def test_a_reason_becomes_a_sentence_and_names_and_commands_stay(text: str, written: str) -> None:
    assert sentence(text) == written
