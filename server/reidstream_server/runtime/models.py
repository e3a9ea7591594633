"""The models that are served, and how a call's choice of them becomes routes for its boxes.

Trap: routes hold model *indices*; names, versions and spaces are looked up only when something is written for
people or clients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reidstream_engines.protocol import Engine
from reidstream_engines.spec import ModelSpec
from reidstream_server.core.terms import ModelIndex
from reidstream_server.errors import InvalidCall, UnknownModel, WrongSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A warmed engine under its name."""

    index: ModelIndex
    engine: Engine

    @property
    def name(self) -> str:
        """Unique in this server."""
        return self.engine.spec.name

    @property
    def spec(self) -> ModelSpec:
        """What it embeds, and how."""
        return self.engine.spec


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """One wish of a call: a model (empty name: the default), the classes that go to it, the space it must have."""

    name: str = ""
    class_ids: tuple[int, ...] = ()
    expected_space_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Which model a box goes to. `others` takes every class that is not in `by_class`, and boxes without one."""

    by_class: dict[int, ModelIndex]
    others: ModelIndex | None
    choices: tuple[tuple[ModelIndex, tuple[int, ...]], ...]

    def of(self, class_id: int | None) -> ModelIndex | None:
        """The model for a box of this class; None if no model takes it."""
        if class_id is None:
            return self.others
        return self.by_class.get(class_id, self.others)


class ModelTable:
    """The served models; the first is the default. Immutable."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.models = tuple(ServedModel(index=ModelIndex(i), engine=engine) for i, engine in enumerate(engines))
        self._by_name = {model.name: model for model in self.models}

    @property
    def default(self) -> ServedModel:
        """Used where a call names none."""
        return self.models[0]

    def __getitem__(self, index: ModelIndex) -> ServedModel:
        return self.models[index]

    def find(self, name: str) -> ServedModel:
        """By name; empty for the default. Raises UnknownModel, which lists the names."""
        if not name:
            return self.default
        model = self._by_name.get(name)
        if model is None:
            raise UnknownModel(f"unknown model {name!r}; this server has {', '.join(sorted(self._by_name))}")
        return model

    def routes(self, choices: Sequence[ModelChoice]) -> Routes:
        """Resolve a call's wishes; none means the default model for every box.

        Raises UnknownModel, WrongSpace, or InvalidCall for a class that is named twice.
        """
        by_class: dict[int, ModelIndex] = {}
        others: ModelIndex | None = None
        resolved: list[tuple[ModelIndex, tuple[int, ...]]] = []
        for choice in choices or (ModelChoice(),):
            model = self.find(choice.name)
            expected = choice.expected_space_id
            if expected is not None and expected != model.spec.space_id:
                raise WrongSpace(
                    f"model {model.name!r} embeds into space {model.spec.space_id}, the call expects {expected}; "
                    "their vectors must not be compared"
                )
            if not choice.class_ids:
                if others is not None:
                    raise InvalidCall("models: two choices without class_ids; at most one may take all other classes")
                others = model.index
            for class_id in choice.class_ids:
                if class_id in by_class:
                    raise InvalidCall(f"models: class {class_id} is named twice")
                by_class[class_id] = model.index
            resolved.append((model.index, choice.class_ids))
        return Routes(by_class=by_class, others=others, choices=tuple(resolved))
