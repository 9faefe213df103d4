"""The app with a model that exits: itself, or by what it raises or gives."""

import sys
from typing import Any, NoReturn

from python_side import ml_service
from python_side.app import create_app
from python_side.ml_service import Prediction

app = create_app()
works = ml_service.predict


def leave(*_: object) -> NoReturn:
    """Ends the process, where whoever calls it lets it."""
    sys.exit(3)


class Untellable(Exception):
    """Exits when it is looked at."""

    __str__ = __repr__ = leave
    data = property(leave)
    __notes__ = property(leave)


class Unsendable(dict[str, Any]):
    """Exits when it is encoded."""

    __iter__ = __len__ = items = leave


def predict(text: str) -> Prediction:
    """As the text says."""
    if text == "exits":
        leave()
    if text == "raises":
        raise Untellable
    if text == "gives":
        return Unsendable(sentiment="neutral")  # type: ignore[return-value]  # that is the point
    return works(text)


ml_service.predict = predict
