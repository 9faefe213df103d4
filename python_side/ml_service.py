"""The model `sentiment-v1`: a list of words, so that every build of the showcase does the same work for one answer.

`predict` and `predict_batch` are what TypeScript calls.
"""

from collections.abc import Sequence
from typing import Final, Literal, TypedDict

MODEL: Final = "sentiment-v1"

POSITIVE: Final = frozenset({"good", "great", "excellent", "amazing", "wonderful", "fantastic", "love", "best"})
NEGATIVE: Final = frozenset({"bad", "terrible", "awful", "worst", "hate", "horrible", "poor"})


class Prediction(TypedDict):
    """What the model says of one text. `confidence` is between 0.5 and 0.99, rounded to two places."""

    sentiment: Literal["positive", "negative", "neutral"]
    confidence: float
    positive_words: int
    negative_words: int


class SentimentModel:
    """Counts the words of a text that it knows as positive or as negative, each word once. It keeps no state."""

    name: Final = MODEL

    def predict(self, text: str) -> Prediction:
        """The sentiment of one text. Raises TypeError for anything but a str."""
        if not isinstance(text, str):
            raise TypeError(f"text must be a string, not {type(text).__name__}")
        words = set(text.lower().split())
        positive = len(words & POSITIVE)
        negative = len(words & NEGATIVE)
        sentiment: Literal["positive", "negative", "neutral"]
        if positive > negative:
            sentiment, confidence = "positive", min(0.99, 0.5 + positive * 0.15)
        elif negative > positive:
            sentiment, confidence = "negative", min(0.99, 0.5 + negative * 0.15)
        else:
            sentiment, confidence = "neutral", 0.5
        return {
            "sentiment": sentiment,
            "confidence": round(confidence, 2),
            "positive_words": positive,
            "negative_words": negative,
        }

    def predict_batch(self, texts: Sequence[str]) -> list[Prediction]:
        """The sentiment of each text, in order. Raises TypeError for anything but a list of str, naming the index."""
        if not isinstance(texts, (list, tuple)):
            raise TypeError(f"texts must be a list, not {type(texts).__name__}")
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"texts[{index}] must be a string, not {type(text).__name__}")
        return [self.predict(text) for text in texts]


model: Final = SentimentModel()


def predict(text: str) -> Prediction:
    """The sentiment of one text; see SentimentModel.predict."""
    return model.predict(text)


def predict_batch(texts: Sequence[str]) -> list[Prediction]:
    """The sentiment of each text, in order; see SentimentModel.predict_batch."""
    return model.predict_batch(texts)
