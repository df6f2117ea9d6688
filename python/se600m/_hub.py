"""Common names of models, and how to get the models that do not come with the package.

Nothing is downloaded here: that is for _download, and for published models only. A snapshot that Hugging Face's own
tools have downloaded is recognised.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from se600m import _published, errors
from se600m._published import Published

_TRANSITION = re.compile(r"^(arcinstitute/)?(st[-_]|state[-_]?transition)|tahoe|replogle|parse[-_]?pbmc", re.IGNORECASE)
_WAY_TO_SE600M = f'se600m.load_model("{_published.SE600M.name}") downloads it, once its licence is accepted'
_LAYOUT = re.compile(r"^models--(?P<owner>.+?)--(?P<name>.+)$")


def not_found(given: str, bundled: Sequence[str]) -> errors.ModelNotFoundError:
    """Say where a model is had that is neither in the package nor at a path."""
    return errors.ModelNotFoundError(f"model={given!r} {_advice(given, bundled)}")


def _advice(given: str, bundled: Sequence[str]) -> str:
    repository, is_address = _published.repository_of(given)
    plain = _published.plain(repository)
    names = {_published.plain(name): name for name in bundled}
    if _TRANSITION.search(repository):
        return (
            "is a State Transition (ST) model, which predicts effects of perturbations and does not embed cells. "
            f"This package runs State Embedding models, such as SE-600M. {_WAY_TO_SE600M}"
        )
    near = difflib.get_close_matches(plain, names, 1, 0.75)
    if near:
        return f"is not the name of a model: did you mean {names[near[0]]!r}?"
    if difflib.get_close_matches(plain, ["se600m", "arcinstitutese600m"], 1, 0.8):
        return "is not the name of a model: did you mean 'SE-600M'?"
    known = ", ".join(map(repr, [*bundled, *(model.name for model in _published.MODELS)]))
    if is_address or (re.fullmatch(r"[\w.-]+/[\w.-]+", given) and not Path(given).parent.is_dir()):
        return (
            f"is not the name of a model ({known}), and the path does not exist. Only SE-600M is "
            "downloaded by its name: if this is a Hugging Face repository with a State Embedding model, get it with "
            f'`hf download {repository} --local-dir FOLDER`, then se600m.load_model("FOLDER")'
        )
    return f"is neither the name of a model ({known}) nor the path of a converted model or a checkpoint{_near(given)}"


def in_hub_cache(model: Published) -> Path | None:
    """Find the snapshot of a published model in the cache of Hugging Face's tools: of its revision, else of another."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    place = cache / f"models--{model.repository.replace('/', '--')}"
    with contextlib.suppress(OSError, errors.SE600MError):
        pinned = place / "snapshots" / model.revision
        found = pinned if pinned.is_dir() else snapshot(place)
        if all((found / name).is_file() for name in model.files):
            return found
    return None


def _near(given: str) -> str:
    """Name what is nearest to a path that is not there."""
    path = Path(given).expanduser()
    if "/" not in given and not path.suffix:
        return ""
    ancestor = path.parent
    missing = path.name
    while not ancestor.exists():
        ancestor, missing = ancestor.parent, ancestor.name
    try:
        near = difflib.get_close_matches(missing, os.listdir(ancestor), 1)
    except OSError:
        near = []
    return f": {str(ancestor)!r} has no {missing!r}" + (f", but {near[0]!r}" if near else "")


def snapshot(path: Path) -> Path:
    """Return the snapshot in a folder of Hugging Face's cache, or the folder itself if it is not one."""
    snapshots = path / "snapshots"
    if not snapshots.is_dir():
        models = sorted(p.name for p in path.glob("models--*")) if path.is_dir() else []
        if models:
            raise errors.ModelNotFoundError(
                f"{str(path)!r} is the cache of Hugging Face: choose one of the models in it, such as "
                f"{str(path / next((m for m in models if m.endswith('--SE-600M')), models[0]))!r}"
            )
        return path
    main = path / "refs" / "main"
    if main.is_file() and (found := snapshots / main.read_text().strip()).is_dir():
        return found
    there = sorted(p for p in snapshots.iterdir() if p.is_dir())
    if len(there) != 1:
        listed = ", ".join(p.name for p in there) or "none"
        raise errors.ModelNotFoundError(
            f"{str(path)!r} is a folder of the Hugging Face cache with {len(there)} snapshots ({listed}): "
            + ("choose one of them" if there else "download the model again")
        )
    return there[0]


def name_of(path: Path) -> str:
    """Name a model by its folder or file; a snapshot has the name of its repository."""
    for folder in (path, path.parent):
        layout = _LAYOUT.match(folder.parent.parent.name) if folder.parent.name == "snapshots" else None
        if layout is not None and (path == folder or path.name == "model.safetensors"):
            return layout["name"]
    return path.stem if path.is_file() else path.name
