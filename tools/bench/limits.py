"""The machine's limits, measured on the spot: products of matrices by the ONNX Runtime that is used, and memory."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import onnxruntime
from worker import serve

ROWS, INNER, COLUMNS = 2049, 2048, 2048


def _field(number: int, value: int | bytes) -> bytes:
    """Encode a protobuf field: a varint, or bytes with their length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def matmul_model(weights: np.ndarray) -> bytes:
    """Write an ONNX model of one MatMul with constant weights; the numbers are those of onnx.proto."""

    def value(name: bytes, *shape: int) -> bytes:
        dims = b"".join(_field(1, _field(1, n)) for n in shape)
        return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, dims)))

    node = _field(1, b"x") + _field(1, b"w") + _field(2, b"y") + _field(4, b"MatMul")
    tensor = b"".join(_field(1, n) for n in weights.shape) + _field(2, 1) + _field(8, b"w")
    tensor += _field(9, weights.astype("<f4").tobytes())
    graph = _field(1, node) + _field(2, b"g") + _field(5, tensor)
    graph += _field(11, value(b"x", ROWS, INNER)) + _field(12, value(b"y", ROWS, COLUMNS))
    return _field(1, 8) + _field(8, _field(1, b"") + _field(2, 17)) + _field(7, graph)


sessions: dict[int, onnxruntime.InferenceSession] = {}


def products(times: int = 8, threads: int = 0) -> dict[str, Any]:
    """Multiply [2049, 2048] by [2048, 2048], float32, and tell the best rate and the median one, in FLOP/s."""
    random = np.random.default_rng(1)
    x = random.standard_normal((ROWS, INNER), np.float32)
    if threads not in sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        model = matmul_model(random.standard_normal((INNER, COLUMNS), np.float32))
        sessions[threads] = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session = sessions[threads]
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        session.run(None, {"x": x})
        seconds.append(time.perf_counter() - start)
    flop = 2.0 * ROWS * INNER * COLUMNS
    return {
        "flops": flop / float(np.median(seconds)),
        "best": flop / min(seconds),
        "onnxruntime": onnxruntime.__version__,
    }


def bandwidth(megabytes: int = 256, times: int = 5) -> dict[str, Any]:
    """Copy memory that no cache holds by one thread, and tell bytes read and written a second."""
    source = np.ones(megabytes << 20, np.uint8)
    target = np.empty_like(source)
    target[:] = 0
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - start)
    return {"bytes_per_second": 2 * source.nbytes / float(np.median(seconds))}


if __name__ == "__main__":
    serve(products=products, bandwidth=bandwidth)
