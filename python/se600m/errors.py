"""Exceptions and warnings of se600m. Every exception is a :class:`SE600MError`."""

from __future__ import annotations


class SE600MError(Exception):
    """Base class of all errors that se600m raises on purpose."""


class DataWarning(UserWarning):
    """The data may not be suitable for the model; it was embedded, or compared, nevertheless."""


class DefaultModelWarning(UserWarning):
    """No model was named, so the small model of the package is used. It is no substitute for SE-600M."""


class LibraryWarning(UserWarning):
    """A library of this machine has a version that is known to be slow or broken; it is used nevertheless."""


class OptionError(SE600MError, ValueError):
    """An argument has an invalid value."""


class DataError(SE600MError, ValueError):
    """The AnnData can't be embedded, or compared, as it is."""


class UnknownGeneError(OptionError):
    """A gene that was requested by name is not in the model's vocabulary."""


class NotFiniteError(DataError):
    """The expression matrix or an embedding has a NaN or infinite value; the message says where."""


class SuspiciousDataError(DataError):
    """The data looks wrong, and ``strict=True``. The message has the text of every warning; nothing was computed."""


class GeneCoverageError(DataError):
    """Too few of the data set's genes are known to the model."""


class TooFewGenesError(DataError):
    """The data set has fewer valid genes than the [CLS] slot needs."""


class ModelNotFoundError(SE600MError, FileNotFoundError):
    """There is no model or checkpoint with this name or at this path."""


class LicenceError(SE600MError):
    """The licence of a model that would be downloaded has not been accepted; nothing was downloaded."""


class DownloadError(SE600MError, OSError):
    """A model could not be downloaded. What has arrived is kept, and the next try goes on from there."""


class ModelError(SE600MError, ValueError):
    """A converted model directory is damaged, or its format is not supported."""


class NotInModelError(SE600MError, ValueError):
    """The model does not have the requested part: an expression decoder or a dataset embedding."""


class ModelClosedError(SE600MError, RuntimeError):
    """The model has been closed."""


class CheckpointError(SE600MError, ValueError):
    """A checkpoint is damaged, is not a State checkpoint, or does not match its configuration."""


class UnsafePickleError(CheckpointError):
    """A checkpoint's pickle refers to code that does not belong in a checkpoint. Nothing was executed."""


class DestinationError(SE600MError, OSError):
    """The destination can't be written, or the disk is full. A computed result is kept; the message says where."""


class DestinationExistsError(DestinationError, FileExistsError):
    """The destination already exists: a file, a folder or a key of an AnnData."""


class ResumeError(SE600MError, ValueError):
    """A run can't be resumed: its input, model, or an option has changed. What was done is kept."""


class DeviceError(SE600MError, RuntimeError):
    """The device is unknown, or it is not available on this machine."""


class OutOfMemoryError(DeviceError, MemoryError):
    """The memory of a GPU is too small even for a batch of one cell. Larger batches are halved instead."""


class PrecisionError(SE600MError, ArithmeticError):
    """The model's numbers leave the range of a 16-bit precision; the message names another one."""


class ClusterError(SE600MError, RuntimeError):
    """A Dask scheduler does not answer, or its workers failed. What was done is kept."""


class RuntimeLibraryError(SE600MError, RuntimeError):
    """ONNX Runtime was not found, or it failed."""


class MissingPackageError(SE600MError, ImportError):
    """An optional package is needed; the message says how to install it."""


class ForkError(SE600MError, RuntimeError):
    """The process was forked after se600m had been loaded, and Go's threads do not survive a fork."""


class InternalError(SE600MError, RuntimeError):
    """A bug in se600m. Please report it."""


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
    "memory": OutOfMemoryError,
    "overflow": PrecisionError,
    "runtime": RuntimeLibraryError,
    "internal": InternalError,
    "other": InternalError,
}
"""The exception class of each error code of the native core (pybind/errors.go)."""
