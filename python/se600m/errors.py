"""The exceptions of se600m. Every one of them is a :class:`SE600MError`."""

from __future__ import annotations


class SE600MError(Exception):
    """Base class of all errors that se600m raises on purpose."""


class DataWarning(UserWarning):
    """The data may not be what the model is made for; it was embedded, or compared, all the same."""


class DefaultModelWarning(UserWarning):
    """No model was named: the small model of the package is used, which is no substitute for SE-600M."""


class OptionError(SE600MError, ValueError):
    """An argument has a value that can't be."""


class DataError(SE600MError, ValueError):
    """The AnnData can't be embedded, or compared, as it is."""


class UnknownGeneError(OptionError):
    """A gene that was asked for by name is not in the model's vocabulary."""


class NotFiniteError(DataError):
    """The expression matrix or an embedding has a NaN or infinite value; its place is given."""


class SuspiciousDataError(DataError):
    """With ``strict=True``: the data looks wrong. All that would have been warned of is named; nothing was computed."""


class GeneCoverageError(DataError):
    """Too few of the data set's genes are known to the model."""


class TooFewGenesError(DataError):
    """Fewer valid genes than the [CLS] slot needs."""


class ModelNotFoundError(SE600MError, FileNotFoundError):
    """No model or checkpoint of this name or at this path."""


class ModelError(SE600MError, ValueError):
    """A converted model directory is damaged, or of a format that is not read."""


class NotInModelError(SE600MError, ValueError):
    """The model lacks a part that was asked for: an expression decoder, a dataset embedding."""


class ModelClosedError(SE600MError, RuntimeError):
    """The model was closed."""


class CheckpointError(SE600MError, ValueError):
    """A checkpoint is damaged, foreign, or disagrees with its configuration."""


class UnsafePickleError(CheckpointError):
    """A checkpoint's pickle names something that has no place in a checkpoint. Nothing was executed."""


class DestinationError(SE600MError, OSError):
    """The place to write to can't be written, or is full. A result that was computed is kept, and its place named."""


class DestinationExistsError(DestinationError, FileExistsError):
    """The place to write to is taken: a file or folder that exists, or a key of an AnnData."""


class DeviceError(SE600MError, RuntimeError):
    """The device is unknown, or this machine lacks what it needs."""


class RuntimeLibraryError(SE600MError, RuntimeError):
    """ONNX Runtime is missing, or failed."""


class MissingPackageError(SE600MError, ImportError):
    """An optional package is needed for what was asked; the extra that installs it is named."""


class ForkError(SE600MError, RuntimeError):
    """The process was forked after se600m was loaded: Go's threads did not come along."""


class InternalError(SE600MError, RuntimeError):
    """A defect of se600m itself. Please report it."""


BY_CODE: dict[str, type[SE600MError]] = {
    "option": OptionError,
    "matrix": DataError,
    "not-finite": NotFiniteError,
    "gene-coverage": GeneCoverageError,
    "too-few-genes": TooFewGenesError,
    "checkpoint-not-found": ModelNotFoundError,
    "model": ModelError,
    "not-in-model": NotInModelError,
    "closed": ModelClosedError,
    "checkpoint": CheckpointError,
    "unsafe-pickle": UnsafePickleError,
    "exists": DestinationExistsError,
    "destination": DestinationError,
    "device": DeviceError,
    "runtime": RuntimeLibraryError,
    "internal": InternalError,
    "other": InternalError,
}
"""The class of each code that the native core gives (pybind/errors.go)."""
