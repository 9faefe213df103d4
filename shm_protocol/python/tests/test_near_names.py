"""What an unknown name may have been meant for (near_names.test.ts: the same in TypeScript)."""

import pytest
from shm_protocol.near_names import did_you_mean

NAMES = ["ml.predict", "ml.predict_batch", "ml.protect", "text.words", "f", "shm_polyglot.sources"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ml.predcit", " (did you mean ml.predict?)"),
        ("ml.predicts", " (did you mean ml.predict?)"),
        ("m.predict", " (did you mean ml.predict?)"),
        ("ml.predect", " (did you mean ml.predict, ml.protect?)"),
        ("test.words", " (did you mean text.words?)"),
        ("ml.train", ""),
        ("g", ""),
        ("", ""),
        ("x" * 256, ""),
        ("\N{GRINNING FACE}l.predict", " (did you mean ml.predict?)"),
    ],
)
def test_names_that_differ_by_two_letters_at_most_are_near(name: str, expected: str) -> None:
    assert did_you_mean(name, NAMES) == expected


def test_no_more_are_compared_or_named_than_a_text_needs() -> None:
    asked = iter(f"f{number:04}" for number in range(100_000))
    assert did_you_mean("f000x", asked) == " (did you mean f0000, f0001, f0002?)"
    assert next(asked, None) is not None
