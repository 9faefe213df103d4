import numpy as np
import shm_protocol
from numpy.typing import NDArray


@shm_protocol.expose
def smooth(samples: NDArray[np.float32], window: int) -> NDArray[np.float32]:
    """A typed array arrives as an array of NumPy's with one dimension, and such an array as a typed array."""
    return np.convolve(samples, np.full(window, 1 / window, np.float32), "valid")


@shm_protocol.expose
def product(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """With more dimensions, or none, they are an NdArray on the other side."""
    return left @ right


if __name__ == "__main__":
    shm_protocol.serve()
