"""scikit-learn's exact nearest neighbours, as a side of the benchmark."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import sklearn
from sklearn.neighbors import NearestNeighbors
from worker import serve


def brute(queries: str, reference: str, k: int, metric: str) -> dict[str, Any]:
    """Find the nearest rows of rows, float32 in .npy files; reading them is not counted."""
    q, r = np.load(queries), np.load(reference)
    start = time.perf_counter()
    NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(r).kneighbors(q)
    return {"seconds": time.perf_counter() - start, "scikit-learn": sklearn.__version__}


if __name__ == "__main__":
    serve(brute=brute)
