"""Faster options that this machine's processor offers."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from se600m import _runtimes

_WIDE = 1024
"""Models of at least this width gain from 8-bit products and bfloat16; of small ones little is matrix products."""


def processor() -> tuple[str, set[str]]:
    """Name the processor, and the instructions that it has."""
    model, flags = platform.machine(), set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() == "flags":
                flags = set(value.split())
                break
    return model, flags


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0))


def faster_precisions() -> list[str]:
    """List the faster precisions of this machine, which precision="auto" (fp32) does not choose."""
    flags, choices = processor()[1], []
    if flags & {"avx512_vnni", "avx_vnni", "amx_int8"}:
        choices.append('precision="int8"')
    if flags & {"avx512_bf16", "amx_bf16"}:
        there = _runtimes.find("openvino") is not None
        choices.append('precision="bf16"' + ("" if there else " after `se600m runtime install openvino`"))
    return choices


def faster(device: str, precision: str, width: int, threads: int | None) -> list[str]:
    """List what would make a run on this machine faster than it is.

    Parameters
    ----------
    device, precision
        Device and precision of the model.
    width
        Width of the model's layers.
    threads
        The requested number of threads; None for all cores.
    """
    if device not in ("cpu", "openvino"):
        return []
    more = [f"threads={cores()}"] if threads is not None and threads < cores() else []
    return more + (faster_precisions() if precision == "fp32" and width >= _WIDE else [])
