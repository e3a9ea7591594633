"""The served models: found by name, and told whole."""

from __future__ import annotations

from dataclasses import replace
from enum import Enum

import pytest

from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager, fake_spec
from reidstream_engines.headers import parse_encoded
from reidstream_engines.image import PixelBox
from reidstream_engines.protocol import BoxCrop, EngineInfo
from reidstream_engines.spec import ColorOrder, CropRule, Fit, ModelSpec, Resize
from reidstream_proto.v1 import model_pb2
from reidstream_server.errors import UnknownModel
from reidstream_server.transport.embedding.models import details, summary
from tests.support.harness import JPEG
from tests.support.models import table_of


def told(spec: ModelSpec) -> model_pb2.ModelDetails:
    table = table_of([FakeEngine(spec)])
    return details(table.default, table)


def with_input(**fields: object) -> ModelSpec:
    spec = fake_spec()
    return replace(spec, input=replace(spec.input, **fields))  # type: ignore[arg-type]  # fields of many types


def test_models_are_found_by_name_and_the_first_without_one() -> None:
    """An unknown name is answered with those that there are."""
    table = table_of([FakeEngine(fake_spec("b")), FakeEngine(fake_spec("a"))])
    assert [table.find(name).index for name in ("", "b", "a")] == [0, 0, 1]
    with pytest.raises(UnknownModel, match="unknown model 'A'; this server has a, b"):
        table.find("A")


def test_only_a_smaller_jpeg_is_told() -> None:
    """Absent: at full size, as from a server that knows of no other."""
    assert not told(with_input()).input.HasField("jpeg_scale")
    assert told(with_input(jpeg_scale=4)).input.jpeg_scale == 4


def test_the_summary_is_that_of_the_spec() -> None:
    """Exactly one model is the default."""
    table = table_of([FakeEngine(fake_spec("b", dim=7)), FakeEngine(fake_spec("a"))])
    first, second = (summary(model, table) for model in table.models)
    spec = table.default.spec
    assert (first.name, first.dim, first.version, first.space_id) == ("b", 7, spec.artifact_sha256[:12], spec.space_id)
    assert (first.is_default, second.is_default) == (True, False)
    assert first.ready


def test_a_lost_engine_is_not_ready() -> None:
    """From the moment that it knows."""
    engine = FakeEngine(script=FakeScript(lost_at=0))
    table = table_of([engine])
    with FakeStager().stage(parse_encoded(JPEG), ()) as staged:
        ticket = engine.submit([BoxCrop(frame=staged, box=PixelBox(x1=0, y1=0, x2=5, y2=5))])
        with pytest.raises(Exception, match="lost by script"):
            ticket.result()
    assert not summary(table.default, table).ready


def test_details_hold_the_whole_spec() -> None:
    """Numbers of the preprocessing as they are, in the network's channel order."""
    spec = with_input(name="x", width=64, height=96, scale=1 / 255, mean=(0.5, 0.25, 0.125), std=(1.0, 2.0, 3.0))
    model = told(replace(spec, profile="torchreid"))
    assert (model.profile, model.artifact_sha256) == ("torchreid", spec.artifact_sha256)
    assert (model.input.name, model.input.width, model.input.height) == ("x", 64, 96)
    assert (model.input.scale, list(model.input.mean)) == (1 / 255, [0.5, 0.25, 0.125])
    assert list(model.input.std) == [1.0, 2.0, 3.0]
    assert (model.output.name, model.output.dim, model.output.l2_normalize) == ("embedding", 32, True)


def test_details_hold_what_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """And why, if it is not what was wanted."""
    info = EngineInfo(engine="onnxruntime", device="cpu", precision="fp32", fallback_reason="no GPU here")
    monkeypatch.setattr(FakeEngine, "info", info)
    table = table_of([FakeEngine(max_batch=5)])
    engine = details(table.default, table).engine
    assert (engine.engine, engine.device, engine.precision) == ("onnxruntime", "cpu", "fp32")
    assert (engine.fallback_reason, engine.max_batch) == ("no GPU here", 5)


@pytest.mark.parametrize(
    ("field", "kind", "prefix"),
    [
        ("color_order", ColorOrder, "COLOR_ORDER"),
        ("resize", Resize, "RESIZE"),
        ("fit", Fit, "FIT"),
        ("crop_rule", CropRule, "CROP_RULE"),
    ],
)
def test_every_member_of_the_spec_has_its_word_in_the_contract(field: str, kind: type[Enum], prefix: str) -> None:
    """By the same name, and the contract has no word for anything else."""
    enum = model_pb2.InputSpec.DESCRIPTOR.fields_by_name[field].enum_type
    assert enum is not None
    names = {value.number: value.name for value in enum.values}
    words = [names[getattr(told(with_input(**{field: member})).input, field)] for member in kind]
    assert words == [f"{prefix}_{member.name}" for member in kind]
    assert set(names.values()) - set(words) == {f"{prefix}_UNSPECIFIED"}
