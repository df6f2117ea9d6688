"""What a trace of torch's profiler says of how busy a GPU was."""

from __future__ import annotations

from typing import Any


def busy_share(trace: dict[str, Any]) -> dict[str, Any]:
    """Tell the share of the time from the first kernel's start to the last one's end in which at least one ran.

    Copies between host and device are not counted as work. ``kernels`` is 0 if the tracer saw none, and then there is
    no share.
    """
    spans = sorted(
        (float(e["ts"]), float(e["ts"]) + float(e["dur"]))
        for e in trace["traceEvents"]
        if e.get("ph") == "X" and e.get("cat") == "kernel"
    )
    if not spans:
        return {"kernels": 0, "busy": None}
    ran, end = 0.0, spans[0][0]
    for start, stop in spans:
        ran += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return {"kernels": len(spans), "busy": ran / (end - spans[0][0]) if end > spans[0][0] else None}
