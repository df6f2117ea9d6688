"""Common names of models, and how to get the models that do not come with the package.

Nothing is downloaded here. For models on Hugging Face the message says how to download them; a snapshot that Hugging
Face's own tools have downloaded is recognised.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path

from se600m import errors

REPOSITORY = "arcinstitute/SE-600M"
_SE600M = {
    "se600m", "arcinstitutese600m", "arcse600m", "se600", "arcinstitutese600", "se600mhuman", "se", "state",
    "arcstate", "arcinstitutestate", "statese", "stateembedding", "statese600m", "arcinstitute", "se600mgo",
}  # fmt: skip
_TRANSITION = re.compile(r"^(arcinstitute/)?(st[-_]|state[-_]?transition)|tahoe|replogle|parse[-_]?pbmc", re.IGNORECASE)
_LAYOUT = re.compile(r"^models--(?P<owner>.+?)--(?P<name>.+)$")


def not_found(given: str, bundled: Sequence[str]) -> errors.ModelNotFoundError:
    """Say where a model is had that is neither in the package nor at a path."""
    return errors.ModelNotFoundError(f"model={given!r} {_advice(given, bundled)}")


def _advice(given: str, bundled: Sequence[str]) -> str:
    repository, n_prefixes = re.subn(r"^(https?://)?(www\.)?(hf|huggingface)\.co/|^hf://(models/)?", "", given)
    if n_prefixes:
        repository = re.sub(r"/(tree|blob|resolve)/.*$", "", repository).strip("/")
    plain = re.sub(r"[^a-z0-9]", "", repository.lower())
    names = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in bundled}
    if plain in _SE600M:
        return f"does not come with this package. {_way_to_se600m()}"
    if _TRANSITION.search(repository):
        return (
            "is a State Transition (ST) model, which predicts effects of perturbations and does not embed cells. "
            f"This package runs State Embedding models, such as SE-600M. {_way_to_se600m()}"
        )
    near = difflib.get_close_matches(plain, names, 1, 0.75)
    if near:
        return f"is not the name of a model: did you mean {names[near[0]]!r}?"
    if difflib.get_close_matches(plain, ["se600m", "arcinstitutese600m"], 1, 0.8):
        return f"is not the name of a model: did you mean 'SE-600M'? {_way_to_se600m()}"
    known = ", ".join(map(repr, bundled))
    if n_prefixes or (re.fullmatch(r"[\w.-]+/[\w.-]+", given) and not Path(given).parent.is_dir()):
        return (
            f"is not the name of a model ({known}), and the path does not exist. Nothing is downloaded "
            "automatically: if it is a Hugging Face repository with a State Embedding model, get it with "
            f'`hf download {repository} --local-dir FOLDER`, then se600m.load_model("FOLDER")'
        )
    return f"is neither the name of a model ({known}) nor the path of a converted model or a checkpoint{_near(given)}"


def _way_to_se600m() -> str:
    there = _in_hub_cache()
    if there is not None:
        return f"It has been downloaded to this machine: se600m.load_model({str(there)!r})"
    return (
        f"Get it from the Hugging Face repository {REPOSITORY}, under Arc Institute's licence (non-commercial use "
        "only): model.safetensors (2.9 GB), config.yaml and protein_embeddings.pt (0.4 GB) into one folder, for "
        f'example with `hf download {REPOSITORY} --exclude "*.ckpt" --local-dir SE-600M`; '
        'then se600m.load_model("path/to/SE-600M")'
    )


def _in_hub_cache() -> Path | None:
    """Find SE-600M's snapshot in the cache of Hugging Face's tools."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    place = cache / f"models--{REPOSITORY.replace('/', '--')}"
    try:
        found = snapshot(place)
        return place if (found / "model.safetensors").exists() else None
    except (OSError, errors.SE600MError):
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
