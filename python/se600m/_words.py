"""Words that agree with a number."""

from __future__ import annotations

_OF_ONE = {"are": "is", "were": "was", "have": "has", "do": "does", "express": "expresses"}


def many(n: int, noun: str) -> str:
    """Write a number of things: 1 cell, 2,000 cells."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def a(noun: str) -> str:
    """Put the article before a noun, such as the name of a class: a DataFrame, an AnnData."""
    an = noun[:1] in "AEIOaeio" or noun.startswith(("h5py", "nd", "xarray"))
    return f"an {noun}" if an else f"a {noun}"


def verb(n: int, of_many: str) -> str:
    """Give the form of a verb for a number of things, from the form for many."""
    return of_many if n != 1 else _OF_ONE.get(of_many, f"{of_many}s")
