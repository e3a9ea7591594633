"""The mutants: small, realistic faults, each of which the simulator must find.

Every one is a mistake that somebody could make in this code, or that was made in it. None is equivalent: each changes
what a camera, an engine or the shell can observe.
"""

from __future__ import annotations

from .bounds import BOUNDS
from .ends import ENDS
from .models import MODELS
from .turns import TURNS
from .work import WORK

MUTANTS = (*BOUNDS, *TURNS, *WORK, *ENDS, *MODELS)
