"""Licences of published models: they are accepted once, by the user, and never silently."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

import platformdirs

from se600m import _files, errors
from se600m._log import log
from se600m._published import Published

VARIABLE = "SE600M_ACCEPT_LICENCE"
"""Environment variable with the names of the models whose licences are accepted, separated by commas."""

_accepted_here: set[Published] = set()
"""What was accepted in this process: it counts where nothing can be written, too."""


def record_file() -> Path:
    """Where acceptance is remembered: in the user's own configuration, as caches may be shared by many users."""
    override = os.environ.get("SE600M_CONFIG")
    folder = Path(override).expanduser() if override else platformdirs.user_config_path("se600m", appauthor=False)
    return folder / "licences.json"


def accepted(model: Published) -> bool:
    """Whether the user has accepted the terms of a model, as they are at its revision."""
    if model in _accepted_here:
        return True
    if model.name in [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]:
        accept(model)
        return True
    record = _record().get(model.name)
    return isinstance(record, dict) and {"licence": model.licence, "revision": model.revision}.items() <= record.items()


def accept(model: Published) -> None:
    """Remember that the user accepts the terms of a model, with the date."""
    _accepted_here.add(model)
    record = {
        "licence": model.licence,
        "addresses": list(model.addresses),
        "repository": model.repository,
        "revision": model.revision,
        "accepted": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    known = _record()
    was = known.get(model.name)
    if isinstance(was, dict) and was | {"accepted": record["accepted"]} == record:
        return  # the date is that of the first time
    log.info("%s, with its acceptable-use policy, is accepted (%s)", model.licence, record_file())
    try:
        with _files.appearing(record_file()) as draft:
            draft.write_text(json.dumps(known | {model.name: record}, indent=2) + "\n")
    except OSError as error:
        log.warning(
            "that the licence of %s is accepted can't be remembered in %s (%s): it counts in this process",
            model.name, record_file(), _files.reason(error),
        )  # fmt: skip


def require(model: Published) -> None:
    """Make sure that the terms of a model are accepted.

    Raises
    ------
    LicenceError
        They are not. The message says where they can be read, and how to accept them.
    """
    if not accepted(model):
        raise errors.LicenceError(
            f"{model.name} can be downloaded once you accept its licence ({model.terms}; {model.addresses[0]}) and "
            f"acceptable-use policy ({model.addresses[1]}): with `se600m download {model.name}`, which asks "
            f"(or is told with '--accept-licence'), with the argument 'accept_licence' of se600m.load_model, or with "
            f"{VARIABLE}={model.name} in the environment"
        )


def described(model: Published) -> str:
    """Show the terms of a model."""
    licence, policy = model.addresses
    return (
        f"The weights of {model.name} are under the {model.licence}: {model.terms}.\n"
        f"  licence                {licence}\n"
        f"  acceptable-use policy  {policy}"
    )


def _record() -> dict[str, Any]:
    try:
        return dict(json.loads(record_file().read_text()))
    except (OSError, ValueError, TypeError):
        return {}
