"""The fakes: deterministic vectors that show every mix-up, costs without waiting, faults by script."""

from __future__ import annotations

import numpy as np
import pytest

from reidstream_engines.cpu.stager import CpuStager
from reidstream_engines.errors import EngineFault, EngineLost, InvalidImage
from reidstream_engines.fake import FakeEngine, FakeScript, FakeStager, fake_embedding, fake_spec
from reidstream_engines.image import (
    ColorMatrix,
    ColorRange,
    EncodedImage,
    Image,
    ImageFormat,
    PixelBox,
    PixelFormat,
    RawImage,
)
from reidstream_engines.protocol import BoxCrop, Crop, Engine, Health, Stager, TensorCrop

BOX = PixelBox(x1=1, y1=2, x2=30, y2=40)
OTHER_BOX = PixelBox(x1=1, y1=2, x2=30, y2=41)


def encoded(data: bytes = b"one camera") -> EncodedImage:
    return EncodedImage(data=data, format=ImageFormat.JPEG, width=100, height=50)


def raw(data: bytes | memoryview, kind: PixelFormat = PixelFormat.GRAY) -> RawImage:
    return RawImage(
        data=data,
        format=kind,
        width=4,
        height=1,
        stride=4,
        offset=0,
        chroma_stride=0,
        chroma_offset=0,
        color_matrix=ColorMatrix.BT601,
        color_range=ColorRange.LIMITED,
    )


def crop(image: Image | None = None, box: PixelBox = BOX) -> BoxCrop:
    return BoxCrop(frame=FakeStager().stage(encoded() if image is None else image, ()), box=box)


def test_they_are_a_stager_and_an_engine() -> None:
    """The Protocols hold."""
    stager: Stager = FakeStager()
    engine: Engine = FakeEngine(max_batch=3, slots=1)
    assert stager.staged_bytes(encoded(), ()) == 15_000
    assert engine.spec == fake_spec()
    assert (engine.limits.max_batch, engine.limits.slots) == (3, 1)
    assert engine.info.engine == "fake"
    engine.close()


def test_a_vector_belongs_to_one_picture_and_one_box() -> None:
    """The same for the same, and far from every other."""
    images: list[Image] = [encoded(), encoded(b"another"), raw(b"1234567890ab"), raw(b"1234567890ab", PixelFormat.BGR)]
    crops: list[Crop] = [crop(image, box) for image in images for box in (BOX, OTHER_BOX)]
    rows = FakeEngine().submit(crops).result()
    expected = [fake_embedding(image, box, 32) for image in images for box in (BOX, OTHER_BOX)]
    np.testing.assert_array_equal(rows, expected)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)
    assert (rows @ rows.T - np.eye(8) < 0.9).all()


def test_views_of_the_same_bytes_are_the_same_picture() -> None:
    """Bytes and memoryview alike."""
    np.testing.assert_array_equal(
        fake_embedding(raw(b"1234"), BOX, 8), fake_embedding(raw(memoryview(b"1234")), BOX, 8)
    )


def test_tensors_have_vectors_of_their_own() -> None:
    """By their numbers."""
    zeros, ones = TensorCrop(tensor=np.zeros(4, np.float32)), TensorCrop(tensor=np.ones(4, np.float32))
    rows = FakeEngine().submit([zeros, ones, zeros]).result()
    np.testing.assert_array_equal(rows[0], rows[2])
    assert (rows[0] != rows[1]).any()


def test_open_frames_are_counted() -> None:
    """So that a leak shows; closing twice counts once."""
    stager = FakeStager()
    with stager.stage(encoded(), ()) as frame:
        assert stager.open_frames == 1
        stager.stage(encoded(), ()).close()
        assert stager.open_frames == 1
    frame.close()
    assert stager.open_frames == 0


def test_a_closed_frame_is_a_fault() -> None:
    """As with real pixels."""
    frame = FakeStager().stage(encoded(), ())
    frame.close()
    with pytest.raises(EngineFault, match="closed"):
        FakeEngine().submit([BoxCrop(frame=frame, box=BOX)])


def test_a_real_frame_is_a_fault() -> None:
    """Devices do not mix."""
    with CpuStager().stage(raw(b"1234"), ()) as frame, pytest.raises(EngineFault, match="FakeStager"):
        FakeEngine().submit([BoxCrop(frame=frame, box=BOX)])


def test_batch_limits_hold() -> None:
    """Empty and oversized batches are faults."""
    for count in (0, 9):
        with pytest.raises(EngineFault, match="1 to 8"):
            FakeEngine().submit([crop()] * count)


def test_cost_goes_to_the_given_clock() -> None:
    """Per batch and per crop, in `result`; staging, too. Nothing really waits."""
    slept: list[float] = []
    script = FakeScript(seconds_per_batch=10.0, seconds_per_crop=1.0, sleep=slept.append)
    ticket = FakeEngine(script=script).submit([crop(), crop(), crop()])
    assert slept == []
    ticket.result()
    assert slept == [13.0]
    FakeStager(seconds=7.0, sleep=slept.append).stage(encoded(), ())
    assert slept == [13.0, 7.0]


def test_failing_batches() -> None:
    """By number; the others succeed."""
    engine = FakeEngine(script=FakeScript(failing_batches=frozenset({1})))
    tickets = [engine.submit([crop()]) for _ in range(3)]
    with pytest.raises(EngineFault, match="batch 1 fails"):
        tickets[1].result()
    np.testing.assert_array_equal(tickets[0].result(), tickets[2].result())
    assert engine.health() is Health.SERVING


def test_a_poisoned_crop_fails_its_batch() -> None:
    """And only with that crop in it."""

    def poison(candidate: Crop) -> bool:
        return isinstance(candidate, BoxCrop) and candidate.box == OTHER_BOX

    engine = FakeEngine(script=FakeScript(poison=poison))
    with pytest.raises(EngineFault, match=r"rows \[1\]"):
        engine.submit([crop(), crop(box=OTHER_BOX)]).result()
    engine.submit([crop()]).result()


def test_lost_is_for_good() -> None:
    """From its batch on, whatever is asked, earlier tickets included."""
    engine = FakeEngine(script=FakeScript(lost_at=1))
    early, _, late = (engine.submit([crop()]) for _ in range(3))
    assert engine.health() is Health.SERVING
    with pytest.raises(EngineLost):
        late.result()
    with pytest.raises(EngineLost):
        early.result()
    assert engine.health() is Health.LOST


def test_pictures_are_refused_by_script() -> None:
    """As damaged ones would be."""
    stager = FakeStager(refuse=lambda image: image.width == 100)
    with pytest.raises(InvalidImage):
        stager.stage(encoded(), ())
    stager.stage(raw(b"1234"), ()).close()
    assert stager.open_frames == 0
