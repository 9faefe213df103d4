import numpy as np
import shm_protocol
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


class Iris:
    """A model of scikit-learn's that TypeScript calls. Arrays travel as they are: a 2-D one is an NdArray there."""

    def __init__(self) -> None:
        data = load_iris()
        self._names: list[str] = data.target_names.tolist()
        self._model = LogisticRegression(max_iter=1000).fit(data.data, data.target)

    def classify(self, flowers: np.ndarray) -> list[str]:
        return [self._names[index] for index in self._model.predict(flowers)]

    def probabilities(self, flowers: np.ndarray) -> np.ndarray:
        """A row for each flower."""
        found: np.ndarray = self._model.predict_proba(flowers)
        return found


def spectrum(samples: np.ndarray) -> np.ndarray:
    """How strong each frequency is: as many as half the samples."""
    return np.abs(np.fft.rfft(samples)) / len(samples)


if __name__ == "__main__":
    shm_protocol.serve(expose={"iris": Iris(), "signal": {"spectrum": spectrum}})
