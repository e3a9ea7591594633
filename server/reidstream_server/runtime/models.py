"""The models that are served, and how a call's choice of them becomes routes for its boxes.

A name stands for its newest model. An older one goes on for the sessions that agreed on it, until they are over. Trap:
a session's answers must name the model that it agreed on, whatever the table says by then; so routes hold the models
themselves, and nothing that is open looks into the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reidstream_engines.protocol import Engine
from reidstream_engines.spec import ModelSpec
from reidstream_server.core.terms import ModelIndex
from reidstream_server.errors import InvalidCall, UnknownModel, WrongSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A warmed engine under its name. `index`: the scheduler's, of this engine alone."""

    index: ModelIndex
    engine: Engine

    @property
    def name(self) -> str:
        """Unique among the models that new calls get."""
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
    """Which model a box goes to. `others` takes every class that is not in `by_class`, and boxes without one.

    `models`: all of them, by index. `choices`: as the call made them.
    """

    models: Mapping[ModelIndex, ServedModel]
    by_class: Mapping[int, ModelIndex]
    others: ModelIndex | None
    choices: tuple[tuple[ModelIndex, tuple[int, ...]], ...]

    def of(self, class_id: int | None) -> ModelIndex | None:
        """The model for a box of this class; None if no model takes it."""
        if class_id is None:
            return self.others
        return self.by_class.get(class_id, self.others)


class ModelTable:
    """The models that new calls get, by name. The first name is the default for ever. Event loop only."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[ServedModel]] = {}  # the newest last; an older one steps in where it goes

    @property
    def models(self) -> tuple[ServedModel, ...]:
        """The newest of each name, the default first."""
        return tuple(models[-1] for models in self._by_name.values() if models)

    @property
    def default(self) -> ServedModel:
        """Used where a call names none. Raises UnknownModel while it is not served."""
        for name, models in self._by_name.items():
            if models:
                return models[-1]
            raise UnknownModel(f"the default model, {name!r}, is not served at present; {self._served()}")
        raise UnknownModel("this server has no models at present; try again later")

    def add(self, model: ServedModel) -> None:
        """Serve a model under its name, in the place of the one that had the name."""
        self._by_name.setdefault(model.name, []).append(model)

    def withdraw(self, model: ServedModel) -> None:
        """Give it to no new call. If it was the newest of its name, the one before it has the name again."""
        models = self._by_name.get(model.name, [])
        if model in models:
            models.remove(model)
        if not models and model.name != next(iter(self._by_name), None):
            self._by_name.pop(model.name, None)

    def is_default(self, model: ServedModel) -> bool:
        """Whether calls that name no model get this one."""
        first = next(iter(self._by_name.values()), [])
        return bool(first) and first[-1] is model

    def find(self, name: str) -> ServedModel:
        """By name; empty for the default. Raises UnknownModel, which lists the names."""
        if not name:
            return self.default
        models = self._by_name.get(name)
        if not models:
            raise UnknownModel(f"unknown model {name!r}; {self._served()}")
        return models[-1]

    def _served(self) -> str:
        return f"this server has {', '.join(sorted(model.name for model in self.models)) or 'no models at present'}"

    def routes(self, choices: Sequence[ModelChoice]) -> Routes:
        """Resolve a call's wishes; none means the default model for every box.

        Raises UnknownModel, WrongSpace, or InvalidCall for a class that is named twice.
        """
        by_class: dict[int, ModelIndex] = {}
        others: ModelIndex | None = None
        models: dict[ModelIndex, ServedModel] = {}
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
                    raise InvalidCall("models: two choices have no class_ids; only one may take all other classes")
                others = model.index
            for class_id in choice.class_ids:
                if class_id in by_class:
                    raise InvalidCall(f"models: class {class_id} is named twice")
                by_class[class_id] = model.index
            models[model.index] = model
            resolved.append((model.index, choice.class_ids))
        return Routes(models=models, by_class=by_class, others=others, choices=tuple(resolved))
