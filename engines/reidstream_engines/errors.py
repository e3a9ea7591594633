"""Everything this package raises.

    EnginesError
    ├── ImageError              the picture, not the engine, is at fault
    │   ├── InvalidImage        garbage, truncated, shorter than its dimensions say
    │   └── UnsupportedImage    a kind that is refused: CMYK, 16-bit, animated, unknown format
    ├── SpecError               no spec, an unknown profile, or a spec and a model that do not fit
    ├── ModelError              the model file cannot be read or run
    ├── PackageMissing          an optional package is not installed; says which line installs it
    ├── UnsupportedProfile      this (profile, device) pair cannot be exact here; says what to install
    ├── DeviceUnavailable       a device lacks something (`Missing`); says what to install or to choose
    ├── KernelError             the crop kernel cannot be compiled, kept or loaded; has the compiler's log
    ├── PlanError               a TensorRT plan cannot be built, kept or used here; says which field or call, and why
    ├── EngineFault             this batch failed; the engine can go on
    │   └── OutOfDeviceMemory   there was no memory for it; later there may be
    └── EngineLost              the engine cannot go on (a sticky device error); nothing on it can succeed

Trap: an engine must not let any other exception out of `submit` or `result`; callers treat a foreign one as an
EngineFault, and log it.
"""

from enum import Enum


class Missing(Enum):
    """What a device lacks."""

    PACKAGE = "package"
    DRIVER = "driver"
    NEWER_DRIVER = "newer driver"
    DEVICE = "device"
    THAT_DEVICE = "device of that number"


class EnginesError(Exception):
    """Root of the tree. The message is for people and says what to do next."""


class ImageError(EnginesError):
    """The picture is at fault."""


class InvalidImage(ImageError):
    """Garbage, truncated, empty, or not as long as its dimensions say."""


class UnsupportedImage(ImageError):
    """A well-formed picture of a kind that is refused."""


class SpecError(EnginesError):
    """There is no spec for a model, or it does not fit the model."""


class ModelError(EnginesError):
    """The model file cannot be read or run."""


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
    """Neither the device nor the bound that it was given has room; when others have finished there may be."""


class EngineLost(EnginesError):
    """The engine cannot go on."""
