"""Models that are published on Hugging Face and can be downloaded by name: where they are, and under which terms."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A checkpoint on Hugging Face.

    Attributes
    ----------
    name
        Name by which it is loaded and downloaded.
    repository, revision
        Repository, and the commit of it that the name stands for.
    files
        The files that conversion needs. Sizes and checksums of a commit are the hub's to say: it lists them, and what
        arrives is checked against the list.
    size
        Bytes of these files, about; for lists, before anything is asked of the hub.
    licence, terms
        Name of the licence of the weights, and what it allows, in a few words.
    addresses
        Where the licence and the acceptable-use policy can be read.
    """

    name: str
    repository: str
    revision: str
    files: tuple[str, ...]
    size: int
    licence: str
    terms: str
    addresses: tuple[str, ...]


SE600M = Published(
    name="SE-600M",
    repository="arcinstitute/SE-600M",
    revision="5a9a80f44f7ce32ce57059933ef0d735d7c10ce5",
    files=("model.safetensors", "config.yaml", "protein_embeddings.pt"),
    size=3_270_000_000,
    licence="Arc Research Institute State Model Non-Commercial License",
    terms="non-commercial use only, of the weights and of what they compute",
    addresses=(
        "https://github.com/ArcInstitute/state/blob/main/MODEL_LICENSE.md",
        "https://github.com/ArcInstitute/state/blob/main/MODEL_ACCEPTABLE_USE_POLICY.md",
    ),
)
MODELS = (SE600M,)

_NAMES = {
    "se600m", "arcinstitutese600m", "arcse600m", "se600", "arcinstitutese600", "se600mhuman", "se", "state",
    "arcstate", "arcinstitutestate", "statese", "stateembedding", "statese600m", "arcinstitute", "se600mgo",
}  # fmt: skip


def repository_of(given: str) -> tuple[str, bool]:
    """Take the repository out of an address of Hugging Face; tells whether it is one."""
    repository, n_prefixes = re.subn(r"^(https?://)?(www\.)?(hf|huggingface)\.co/|^hf://(models/)?", "", given)
    if n_prefixes:
        repository = re.sub(r"/(tree|blob|resolve)/.*$", "", repository).strip("/")
    return repository, n_prefixes > 0


def plain(name: str) -> str:
    """Leave only the letters and digits of a name."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find(given: str) -> Published | None:
    """Find the published model that a common name or an address stands for."""
    return SE600M if plain(repository_of(given)[0]) in _NAMES else None
