"""Everything this package raises.

    EnginesError
    ├── ImageError              the picture, not the engine, is at fault
    │   ├── InvalidImage        garbage, truncated, shorter than its dimensions say
    │   └── UnsupportedImage    a kind that is refused: CMYK, 16-bit, animated, unknown format
    ├── SpecError               no spec, an unknown profile, or a spec and a model that do not fit
    │   └── UnknownPreprocessing    nothing says how pictures are preprocessed
    ├── ModelError              the model file cannot be read or run
    ├── TuningFileUnusable      the file of remembered tunings cannot be read, or written; nothing depends on it
    ├── PackageMissing          an optional package is not installed; says which line installs it
    ├── UnsupportedProfile      the profile cannot be reproduced exactly on this device; says what to install
    ├── DeviceUnavailable       something is missing for a device (`Missing`); says what to install or to choose
    ├── KernelError             the crop kernel cannot be compiled, kept or loaded; has the compiler's log
    ├── PlanError               a TensorRT plan cannot be built, kept or used here; says which field or call, and why
    ├── EngineFault             this batch failed; the next one may succeed
    │   └── OutOfDeviceMemory   there was no memory for the batch; later there may be
    └── EngineLost              the engine cannot go on (a sticky device error); every later batch fails, too

Trap: `submit` and `result` of an engine must raise nothing else. Callers treat another exception as an EngineFault, and
log it.
"""

from enum import Enum


class Missing(Enum):
    """What a device needs and this machine does not have."""

    PACKAGE = "package"
    DRIVER = "driver"
    NEWER_DRIVER = "newer driver"
    DEVICE = "device"
    THAT_DEVICE = "device with that number"


class EnginesError(Exception):
    """Root of the tree. The message is for people and says what to do next."""


class ImageError(EnginesError):
    """The picture is at fault."""


class InvalidImage(ImageError):
    """Garbage, truncated, empty, or not as long as its dimensions say."""


class UnsupportedImage(ImageError):
    """A well-formed picture of a kind that is not supported."""


class SpecError(EnginesError):
    """A model has no spec, or one that does not fit it."""


class UnknownPreprocessing(SpecError):
    """Neither the model's file, nor what lies beside it, nor whoever loads it says how pictures are preprocessed."""


class ModelError(EnginesError):
    """The model file cannot be read or run."""


class TuningFileUnusable(EnginesError):
    """The file of remembered tunings is damaged, or somebody else's, or cannot be written. Measure instead."""


class PackageMissing(EnginesError):
    """An optional package is not installed. The message says which line installs it."""


class UnsupportedProfile(EnginesError):
    """The profile cannot be reproduced exactly on this device."""


class DeviceUnavailable(EnginesError):
    """Something that the device needs is missing on this machine."""

    def __init__(self, message: str, missing: Missing = Missing.PACKAGE) -> None:
        super().__init__(message)
        self.missing = missing


class KernelError(EnginesError):
    """The crop kernel cannot be compiled, kept or loaded."""


class PlanError(EnginesError):
    """A TensorRT plan cannot be built, kept or used on this machine."""


class EngineFault(EnginesError):
    """One batch failed; the next one may succeed."""


class OutOfDeviceMemory(EngineFault):
    """The device has no memory left, or its bound is reached. When other batches have finished there may be room."""


class EngineLost(EnginesError):
    """The engine cannot go on."""
