"""The SYNC labels of the core stand at both ends, and the model of the ring has those of the ring."""

import re
from collections import Counter

from tagged import SHM_PROTOCOL

CORE = SHM_PROTOCOL / "core"
MODEL = (SHM_PROTOCOL / "model" / "ring.pml").read_text()


def labels(text: str) -> Counter[str]:
    """How often each label stands in the text, whose comments may go on in the next line."""
    return Counter(re.findall(r"SYNC: ([a-z][a-z, ]*)", re.sub(r"\n \* +", " ", text)))


def test_every_label_stands_at_both_ends() -> None:
    found = sum((labels(path.read_text()) for path in CORE.glob("*.c")), Counter[str]())
    assert len(found) >= 6
    assert [label for label, times in found.items() if times < 2] == []


def test_the_model_has_the_labels_and_the_words_of_the_ring() -> None:
    assert set(labels(MODEL)) == set(labels((CORE / "ring.c").read_text()))
    struct = re.search(r"struct shm_ring_words \{(.*?)\n\};", (CORE / "layout.h").read_text(), re.DOTALL)
    assert struct is not None
    words = re.findall(r" (\w+);", struct[1])
    assert len(words) == 4
    assert [word for word in words if not re.search(rf"^(byte|mtype|bool) .*\b{word}\b", MODEL, re.MULTILINE)] == []
