"""Errors of the model side, one tree.

::

    ModelError              anything that a command prints as one line
    ├── ArtifactError       a weights file or its manifest is missing, damaged or does not fit
    ├── DeviceError         the device that was asked for is not there
    └── DataError           a data set lacks a column or holds what cannot be scored
"""


class ModelError(Exception):
    """Base of every error that a user is meant to read: one line that says what to do."""


class ArtifactError(ModelError):
    """A weights file or its manifest is missing, damaged, or does not fit the code."""


class DeviceError(ModelError):
    """The device that was asked for does not exist or cannot be used."""


class DataError(ModelError):
    """A data set lacks a column or holds values that cannot be scored."""
