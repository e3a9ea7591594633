"""OnnxEngine with small networks made here: batches, pieces, faults, threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from reidstream_engines.cores import usable_cores
from reidstream_engines.cpu.onnx_engine import OnnxEngine
from reidstream_engines.cpu.onnxruntime_network import OnnxRuntimeNetwork, open_onnxruntime
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import EngineFault, ModelError
from reidstream_engines.fake import FakeStager
from reidstream_engines.protocol import BoxCrop, Crop, Engine, Health, Stager, TensorCrop
from reidstream_engines.spec import ModelSpec
from tests.unit.engines.networks import (
    DIM,
    HEIGHT,
    WIDTH,
    boxes,
    channel_means,
    convolution,
    noise,
    only_one,
    spec,
    tensor,
)


def engine_of(path: Path, model: ModelSpec | None = None, **options: int) -> OnnxEngine:
    onnx_options = OnnxOptions(**{"max_batch": 8, "slots": 2, **options})  # type: ignore[arg-type]  # all are numbers
    model = spec() if model is None else model
    session = OnnxRuntimeNetwork(open_onnxruntime(path, onnx_options), model, onnx_options.providers)
    return OnnxEngine(session, model, onnx_options)


@pytest.fixture
def crops() -> list[Crop]:
    frame = CpuStager().stage(noise(), ())
    return [BoxCrop(frame=frame, box=box) for box in boxes(8)]


def test_it_is_an_engine(tmp_path: Path) -> None:
    """The Protocols hold, and the engine says what it is."""
    stager: Stager = CpuStager()
    engine: Engine = engine_of(convolution(tmp_path / "m.onnx"))
    assert stager.staged_bytes(noise(), ()) == 90 * 70 * 3
    assert engine.spec == spec()
    assert (engine.limits.max_batch, engine.limits.slots) == (8, 2)
    assert (engine.info.engine, engine.info.device, engine.info.fallback_reason) == ("onnxruntime", "cpu", "")
    assert engine.health() is Health.SERVING


def test_batch_1_equals_batch_n(tmp_path: Path, crops: list[Crop]) -> None:
    """Whatever a crop shares its batch with, its vector is the same, has norm 1, and is in its own row."""
    engine = engine_of(convolution(tmp_path / "m.onnx"))
    alone = np.concatenate([engine.submit([crop]).result() for crop in crops])
    for count in range(1, 9):
        rows = engine.submit(crops[:count]).result()
        assert rows.dtype == np.float32
        assert rows.shape == (count, DIM)
        np.testing.assert_allclose(rows, alone[:count], rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1.0, rtol=1e-6)
    assert len(np.unique(alone.round(5), axis=0)) == 8  # so that a swap would be seen


@pytest.mark.parametrize("fixed", [1, 3, 8, 16])
def test_a_fixed_batch_size_is_served_in_padded_pieces(tmp_path: Path, crops: list[Crop], fixed: int) -> None:
    """The same rows as from the same network without that restriction, for every count, big batches first."""
    free = engine_of(convolution(tmp_path / "free.onnx"))
    engine = engine_of(convolution(tmp_path / "fixed.onnx", batch=fixed))
    expected = free.submit(crops).result()
    for count in range(8, 0, -1):
        np.testing.assert_allclose(engine.submit(crops[:count]).result(), expected[:count], rtol=0, atol=1e-5)


def test_tensors_and_boxes_share_a_batch(tmp_path: Path, crops: list[Crop]) -> None:
    """A prepared tensor goes in as it is."""
    engine = engine_of(convolution(tmp_path / "m.onnx"))
    ready = TensorCrop(tensor=np.random.default_rng(6).normal(size=(3, HEIGHT, WIDTH)).astype(np.float32))
    mixed = engine.submit([crops[0], ready, crops[1]]).result()
    np.testing.assert_allclose(mixed[1], engine.submit([ready]).result()[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(mixed[::2], engine.submit(crops[:2]).result(), rtol=0, atol=1e-5)


def test_many_threads_with_many_open_tickets(tmp_path: Path, crops: list[Crop]) -> None:
    """Tickets in flight never share a buffer, and each caller may keep its rows."""
    engine = engine_of(convolution(tmp_path / "m.onnx"))
    alone = np.concatenate([engine.submit([crop]).result() for crop in crops])

    def work(shift: int) -> float:
        worst = 0.0
        for turn in range(20):
            order = np.roll(np.arange(8), shift + turn)
            tickets = [engine.submit([crops[i] for i in part]) for part in (order[:3], order[3:])]
            rows = np.concatenate([ticket.result() for ticket in tickets])
            worst = max(worst, float(np.abs(rows - alone[order]).max()))
        return worst

    with ThreadPoolExecutor(4) as threads:
        assert max(threads.map(work, range(4))) < 1e-5


def test_buffers_are_reused_also_after_faults(tmp_path: Path) -> None:
    """A batch that cannot be prepared and one that cannot be computed both give their buffer back."""
    engine = engine_of(only_one(tmp_path / "m.onnx"), spec(dim=3))
    engine.submit([tensor(1.0)]).result()
    (buffer,) = engine._idle
    for _ in range(3):
        with pytest.raises(EngineFault):
            engine.submit([TensorCrop(tensor=np.zeros((1, 2, 3), np.float32))])
        with pytest.raises(EngineFault):
            engine.submit([tensor(1.0), tensor(2.0)]).result()
    assert engine._idle == [buffer]


def test_the_zero_vector_stays_zero_and_extremes_keep_norm_1(tmp_path: Path) -> None:
    """Squares of the largest and smallest float32 leave its range; the rows must not."""
    engine = engine_of(channel_means(tmp_path / "m.onnx"), spec(dim=3))
    rows = engine.submit([tensor(0.0), tensor(1e30), tensor(-1e-30)]).result()
    third = np.sqrt(1 / 3)
    np.testing.assert_allclose(rows, [[0.0] * 3, [third] * 3, [-third] * 3], rtol=1e-5)


def test_rows_stay_as_they_are_where_the_spec_says_so(tmp_path: Path) -> None:
    """No L2 in the spec, no L2 in the rows."""
    engine = engine_of(channel_means(tmp_path / "m.onnx"), spec(dim=3, l2_normalize=False))
    np.testing.assert_allclose(engine.submit([tensor(2.5)]).result(), [[2.5] * 3], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(tmp_path: Path, bad: float) -> None:
    """Such a vector would poison a gallery; the next batch is unharmed."""
    engine = engine_of(channel_means(tmp_path / "m.onnx"), spec(dim=3))
    with pytest.raises(EngineFault, match=r"not finite in rows \[1, 3\]"):
        engine.submit([tensor(1.0), tensor(bad), tensor(2.0), tensor(bad)]).result()
    assert np.isfinite(engine.submit([tensor(1.0)]).result()).all()


def test_a_fault_inside_onnxruntime_has_its_cause(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The network's own failure is an EngineFault, the engine goes on, and nothing is printed."""
    engine = engine_of(only_one(tmp_path / "m.onnx"), spec(dim=3))
    with pytest.raises(EngineFault, match="batch of 2") as caught:
        engine.submit([tensor(1.0), tensor(2.0)]).result()
    assert caught.value.__cause__ is not None
    assert engine.submit([tensor(1.0)]).result().shape == (1, 3)
    assert capfd.readouterr().err == ""


def test_an_answer_of_another_shape_is_a_fault(tmp_path: Path) -> None:
    """A spec that says another width than the network answers."""
    engine = engine_of(channel_means(tmp_path / "m.onnx"), spec(dim=4))
    with pytest.raises(EngineFault, match=r"\(1, 3\).*\(1, 4\)"):
        engine.submit([tensor(1.0)]).result()


def closed_frame() -> Crop:
    frame = CpuStager().stage(noise(), ())
    frame.close()
    return BoxCrop(frame=frame, box=boxes(1)[0])


def foreign_frame() -> Crop:
    return BoxCrop(frame=FakeStager().stage(noise(), ()), box=boxes(1)[0])


def wrong_dtype() -> Crop:
    return TensorCrop(tensor=np.zeros((3, HEIGHT, WIDTH), np.float64))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (closed_frame, "closed"),
        (foreign_frame, "not staged by a CpuStager"),
        (wrong_dtype, "float64"),
    ],
)
def test_a_crop_that_cannot_be_prepared_is_named(tmp_path: Path, make: Callable[[], Crop], message: str) -> None:
    """By its row, so that a log line says which."""
    engine = engine_of(convolution(tmp_path / "m.onnx"))
    with pytest.raises(EngineFault, match=f"crop 1 .*{message}"):
        engine.submit([tensor(0.0), make()])


def test_misuse_is_a_fault(tmp_path: Path) -> None:
    """Empty and oversized batches, a result taken twice, a closed engine."""
    engine = engine_of(convolution(tmp_path / "m.onnx"))
    for count in (0, 9):
        with pytest.raises(EngineFault, match="1 to 8 crops"):
            engine.submit([tensor(0.0)] * count)
    ticket = engine.submit([tensor(1.0)])
    ticket.result()
    with pytest.raises(EngineFault, match="twice"):
        ticket.result()
    engine.close()
    assert engine.health() is Health.LOST
    with pytest.raises(EngineFault, match="closed"):
        engine.submit([tensor(1.0)])


@pytest.mark.parametrize("name", ["threads_per_call", "max_batch", "slots"])
def test_options_name_what_is_wrong(name: str) -> None:
    """Numbers below 1, and no providers."""
    with pytest.raises(ModelError, match=f"{name} must be at least 1, not 0"):
        OnnxOptions(**{name: 0})  # type: ignore[arg-type]  # all three are numbers
    with pytest.raises(ModelError, match="providers"):
        OnnxOptions(providers=())


def test_options_default_to_one_slot_per_core_and_no_spinning() -> None:
    """What a shared machine wants."""
    options = OnnxOptions()
    assert (options.threads_per_call, options.spinning, options.slots) == (1, False, usable_cores())


def test_a_provider_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Never replaced by the CPU in silence."""
    with pytest.raises(ModelError, match=r"no provider NoSuchExecutionProvider here; .* are .*CPUExecutionProvider"):
        open_onnxruntime(convolution(tmp_path / "m.onnx"), OnnxOptions(providers=("NoSuchExecutionProvider",)))
