"""The bounds of a call's text and lists, which the wire contract publishes.

Why apart from `terms`: a door looks at a list's length before it makes anything of the list. Four million class ids
take seconds to become a set, on the event loop. Trap: text is bounded in bytes of UTF-8, as it is on the wire.
"""

from __future__ import annotations

from collections.abc import Sequence

from reidstream_proto.v1 import contract
from reidstream_server.errors import InvalidCall
from reidstream_server.runtime.models import ModelChoice


def check_count(field: str, count: int, most: int) -> None:
    """Raises InvalidCall for a list of more than `most` items."""
    if count > most:
        raise InvalidCall(f"{field} has {count} items; it may have at most {most}")


def check_text(field: str, text: str, most: int) -> None:
    """Raises InvalidCall for text of more than `most` bytes."""
    length = utf8_bytes(field, text)
    if length > most:
        raise InvalidCall(f"{field} has {length} bytes; it may have at most {most}")


def utf8_bytes(field: str, text: str) -> int:
    """The length of a text. Raises InvalidCall if UTF-8 cannot write it: JSON can say half of a surrogate pair."""
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidCall(f"{field} is not text that UTF-8 can write: {error.reason}") from error


def check_model_name(field: str, name: str) -> None:
    """Raises InvalidCall for a name that no model can have."""
    check_text(field, name, contract.MAX_MODEL_NAME_BYTES)


def check_choices(choices: Sequence[ModelChoice]) -> None:
    """Raises InvalidCall for more models, classes or text than a call may name."""
    check_choice_counts(len(choices), sum(len(choice.class_ids) for choice in choices))
    for choice in choices:
        check_model_name("models.name", choice.name)
        if choice.expected_space_id is not None:
            check_text("models.expected_space_id", choice.expected_space_id, contract.MAX_SPACE_ID_BYTES)


def check_choice_counts(choices: int, class_ids: int) -> None:
    """For a door, before it reads them. `class_ids`: of all choices together. Raises InvalidCall."""
    check_count("models", choices, contract.MAX_MODEL_CHOICES)
    check_count("models.class_ids, of all models together,", class_ids, contract.MAX_CLASS_IDS)


def check_filter_count(class_ids: int) -> None:
    """For a door, before it reads them. Raises InvalidCall."""
    check_count("box_filter.class_ids", class_ids, contract.MAX_CLASS_IDS)
