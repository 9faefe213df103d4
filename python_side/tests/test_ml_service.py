"""The model sentiment-v1: the exact answers of the in-process build."""

import pytest

from python_side import ml_service
from python_side.ml_service import Prediction


def prediction(sentiment: str, confidence: float, positive: int, negative: int) -> dict[str, object]:
    return {
        "sentiment": sentiment,
        "confidence": confidence,
        "positive_words": positive,
        "negative_words": negative,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", prediction("neutral", 0.5, 0, 0)),
        ("nothing to say", prediction("neutral", 0.5, 0, 0)),
        ("I love this", prediction("positive", 0.65, 1, 0)),
        ("I love this great product", prediction("positive", 0.8, 2, 0)),
        ("good great excellent", prediction("positive", 0.95, 3, 0)),
        ("good great excellent amazing", prediction("positive", 0.99, 4, 0)),
        ("good great excellent amazing wonderful fantastic love best", prediction("positive", 0.99, 8, 0)),
        ("bad", prediction("negative", 0.65, 0, 1)),
        ("bad terrible awful worst hate horrible poor", prediction("negative", 0.99, 0, 7)),
        ("love hate", prediction("neutral", 0.5, 1, 1)),
        ("love best hate", prediction("positive", 0.8, 2, 1)),
        ("love hate worst", prediction("negative", 0.8, 1, 2)),
        ("LOVE Love love", prediction("positive", 0.65, 1, 0)),
        ("love, great!", prediction("neutral", 0.5, 0, 0)),
        ("good\tgreat\nbest\u2003love", prediction("positive", 0.99, 4, 0)),
        ("goods lovely", prediction("neutral", 0.5, 0, 0)),
    ],
)
def test_predict_counts_each_known_word_once(text: str, expected: dict[str, object]) -> None:
    assert ml_service.predict(text) == expected


def test_the_model_object_and_the_functions_agree() -> None:
    texts = ["I love this", "bad", ""]
    one_by_one: list[Prediction] = [ml_service.predict(text) for text in texts]
    assert ml_service.predict_batch(texts) == one_by_one
    assert ml_service.model.predict_batch(texts) == one_by_one
    assert [ml_service.model.predict(text) for text in texts] == one_by_one
    assert ml_service.model.name == "sentiment-v1"


@pytest.mark.parametrize("text", [None, 5, b"love", ["love"]])
def test_predict_names_the_type_that_is_no_string(text: object) -> None:
    with pytest.raises(TypeError, match=f"text must be a string, not {type(text).__name__}"):
        ml_service.predict(text)  # type: ignore[arg-type]


def test_predict_batch_names_the_index_that_is_no_string() -> None:
    with pytest.raises(TypeError, match=r"texts\[1\] must be a string, not int"):
        ml_service.predict_batch(["a", 5])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="texts must be a list, not str"):
        ml_service.predict_batch("love")
