"""The mutants: small, realistic faults, each of which the simulator must find.

Each is a mistake that somebody could make in this code, or that was made in it. None is equivalent to the original:
each changes what a camera, an engine or the runtime can observe.
"""

from __future__ import annotations

from .bounds import BOUNDS
from .costs import COSTS
from .ends import ENDS
from .models import MODELS
from .reading import READING
from .sharing import SHARING
from .turns import TURNS
from .work import WORK

MUTANTS = (*BOUNDS, *TURNS, *WORK, *ENDS, *MODELS, *COSTS, *READING, *SHARING)
