"""A message of the protocol as JSON, by the protocol's names.

Why not protobuf's own: it writes numbers of 64 bits as text, and leaves out what is 0 or empty. Clients of the HTTP
wire count on numbers, and on every field.
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


def as_json(message: Message) -> dict[str, object]:
    """Every field; messages and members of a oneof only if they are set."""
    found: dict[str, object] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            found[field.name] = {key: as_json(value[key]) for key in sorted(value)}
        elif field.is_repeated:
            found[field.name] = [_value(field, one) for one in value]
        elif not field.has_presence or message.HasField(field.name):
            found[field.name] = _value(field, value)
    return found


def _value(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, Message):
        return as_json(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value
