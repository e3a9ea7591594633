"""The default model: its file is what its maker makes, and its vectors do what the card says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from bench.accuracy.default_model import Embedder, measure
from bench.accuracy.retrieval import random_average_precision
from reidstream_engines.cpu.onnx_loading import load_onnx
from reidstream_engines.cpu.options import OnnxOptions
from reidstream_engines.default_model import NAME, PATH, build, weights
from reidstream_engines.space import sha256_file
from reidstream_engines.spec import ColorOrder, CropRule, Fit, Resize

Floats = npt.NDArray[np.float32]

CARD = PATH.with_name("MODEL_CARD.md")
WHITE, BLACK, RED, BLUE, GREEN, GREY = (
    *((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.8, 0.1, 0.1)),
    *((0.1, 0.2, 0.7), (0.1, 0.6, 0.2), (0.5, 0.5, 0.5)),
)
Color = tuple[float, float, float]


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(PATH), providers=["CPUExecutionProvider"])


def embed(session: onnxruntime.InferenceSession, *crops: Floats) -> Floats:
    """Unit rows."""
    (rows,) = session.run(["embedding"], {"input": np.stack(crops).astype(np.float32)})
    assert np.isfinite(rows).all()
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    assert (lengths > 0.1).all()
    return np.asarray(rows / lengths, np.float32)


def plain(color: Color) -> Floats:
    return np.broadcast_to(np.array(color, np.float32)[:, None, None], (3, 128, 64)).copy()


def person(torso: Color, legs: Color, *, background: Color = GREY, seed: int = 0) -> Floats:
    """A head, a torso and legs in front of a wall, with noise."""
    crop = plain(background)
    crop[:, 5:22, 25:39] = np.array((0.8, 0.6, 0.5))[:, None, None]
    crop[:, 22:70, 16:48] = np.array(torso)[:, None, None]
    crop[:, 70:124, 19:45] = np.array(legs)[:, None, None]
    noise = np.random.default_rng(seed).normal(0, 0.02, crop.shape)
    return np.clip(crop + noise, 0, 1).astype(np.float32)


WARDROBE = tuple((torso, legs) for torso in (RED, BLUE, GREEN, WHITE, BLACK) for legs in (RED, BLUE, WHITE, BLACK))


def test_the_committed_file_is_what_its_maker_makes() -> None:
    """Byte for byte, so that nobody has to trust it."""
    assert build.build() == PATH.read_bytes()


def test_the_maker_writes_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`main` writes the model to PATH, and nothing else."""
    monkeypatch.setattr(build, "PATH", tmp_path / "made.onnx")
    build.main()
    assert (tmp_path / "made.onnx").read_bytes() == PATH.read_bytes()


def test_the_file_is_small_and_runs_on_old_runtimes() -> None:
    """Under 200 kB, standard operators of opset 17, IR 8, any batch size."""
    assert PATH.stat().st_size < 200_000
    model = onnx.load(str(PATH))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert {node.domain for node in model.graph.node} == {""}
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert shapes == {"input": ["batch", 3, 128, 64], "embedding": ["batch", 384]}


def test_it_is_served_without_a_profile() -> None:
    """The file says itself how it wants its crops."""
    engine = load_onnx(PATH, name=NAME, profile=None, options=OnnxOptions())
    spec = engine.spec
    assert (spec.name, spec.profile, spec.artifact_sha256) == ("stripes", "metadata", sha256_file(PATH))
    assert (spec.input.width, spec.input.height, spec.output.dim) == (64, 128, weights.DIM)
    assert (spec.input.color_order, spec.input.resize, spec.input.fit, spec.input.crop_rule) == (
        *(ColorOrder.RGB, Resize.OPENCV_BILINEAR),
        *(Fit.STRETCH, CropRule.EXACT),
    )
    assert (spec.input.scale, spec.input.mean, spec.input.std) == (1 / 255, (0.0,) * 3, (1.0,) * 3)
    assert spec.output.l2_normalize


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (400, 3), (3, 400)])
def test_the_smallest_crops_have_unit_vectors(shape: tuple[int, int]) -> None:
    """Through the whole engine, resize included."""
    rows = Embedder().embed([np.full((*shape, 3), level, np.uint8) for level in (0, 128, 255)])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_crop_has_the_same_vector_in_any_batch(session: onnxruntime.InferenceSession) -> None:
    """Batch 1 and batch N agree to the last bits of float32."""
    crops = [person(torso, legs, seed=seed) for seed, (torso, legs) in enumerate(WARDROBE)]
    alone = np.concatenate([embed(session, crop) for crop in crops])
    np.testing.assert_allclose(embed(session, *crops), alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("color", [BLACK, WHITE, GREY, RED, BLUE, (1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0)])
def test_a_crop_of_one_color_has_a_direction(session: onnxruntime.InferenceSession, color: Color) -> None:
    """Finite and not zero, so that it can be normalised; and near a hardly different colour's."""
    near = tuple(0.02 + 0.96 * channel for channel in color)
    rows = embed(session, plain(color), plain((near[0], near[1], near[2])))
    assert rows[0] @ rows[1] > 0.9


def test_crops_of_different_colors_differ(session: onnxruntime.InferenceSession) -> None:
    """Also without any texture or contrast, red is not blue and black is not white."""
    rows = embed(session, *(plain(color) for color in (BLACK, WHITE, RED, BLUE, GREEN)))
    cosines = (rows @ rows.T)[~np.eye(5, dtype=bool)]
    assert cosines.max() < 0.8


@pytest.mark.parametrize("value", [-1e6, -1.0, 2.0, 1e6])
def test_tensors_out_of_range_do_no_harm(session: onnxruntime.InferenceSession, value: float) -> None:
    """A caller's tensor normalised in another way gives a poor vector, not a broken one."""
    embed(session, np.full((3, 128, 64), value, np.float32))


def test_people_in_the_same_clothes_are_found_again(session: onnxruntime.InferenceSession) -> None:
    """20 people, darker, in warmer light, before another wall, or a little aside: each nearest to themselves."""
    gallery = embed(session, *(person(*clothes, seed=1) for clothes in WARDROBE))
    changes = {
        "darker": [0.7 * person(*clothes, seed=2) for clothes in WARDROBE],
        "warmer": [person(*clothes, seed=2) * np.array((1, 0.92, 0.84))[:, None, None] for clothes in WARDROBE],
        "elsewhere": [person(*clothes, background=(0.4, 0.5, 0.4), seed=2) for clothes in WARDROBE],
        "shifted": [np.roll(person(*clothes, seed=2), (5, 3), axis=(1, 2)) for clothes in WARDROBE],
    }
    for name, crops in changes.items():
        similarity = embed(session, *(np.asarray(crop, np.float32) for crop in crops)) @ gallery.T
        assert (similarity.argmax(axis=1) == np.arange(len(WARDROBE))).all(), name


def test_people_in_other_clothes_are_far(session: onnxruntime.InferenceSession) -> None:
    """Cosines of different people spread: they are not all near 1, as plain histograms would have them."""
    rows = embed(session, *(person(*clothes) for clothes in WARDROBE))
    others = (rows @ rows.T)[~np.eye(len(rows), dtype=bool)]
    assert others.mean() < 0.5
    assert others.std() > 0.15


def test_the_middle_counts_more_than_the_margins(session: onnxruntime.InferenceSession) -> None:
    """A blot in the middle moves the vector more than the same blot at either side."""
    clean = person(RED, BLUE)
    middle, left, right = clean.copy(), clean.copy(), clean.copy()
    for crop, column in ((middle, 26), (left, 0), (right, 52)):
        crop[:, 30:90, column : column + 12] = 0.9
    rows = embed(session, clean, middle, left, right)
    moved = 1 - rows[1:] @ rows[0]
    assert moved[0] > 2 * moved[1]
    assert moved[0] > 2 * moved[2]


@pytest.mark.parametrize("period", [6, 8, 12, 24])
def test_stripes_along_and_across_are_told_apart(session: onnxruntime.InferenceSession, period: int) -> None:
    """Patterns of the same two colours differ by their direction alone; none is as long as what looks at it is wide."""
    along, across = plain(GREY), plain(GREY)
    along[:, :, np.arange(64) % period < period // 2] = 0.8
    across[:, np.arange(128) % period < period // 2, :] = 0.8
    rows = embed(session, along, across)
    assert rows[0] @ rows[1] < 0.95


def test_the_prior_is_centred_and_whitened() -> None:
    """The projection turns the prior's stripes into a signal of mean 0 whose parts do not correlate."""
    projection, centre = weights.whitening()
    assert projection.shape == (len(weights.luminance_bins()) * len(weights.chroma_bins()), weights.COMPONENTS)
    assert centre.shape == (weights.COMPONENTS,)
    gram = projection.T @ projection
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9 * gram.max())


def test_the_chance_of_a_random_ranking_is_exact() -> None:
    """The closed form equals the mean over all rankings of 5 candidates, 2 of them right."""
    ranks = [(first, second) for first in range(1, 6) for second in range(first + 1, 6)]
    expected = np.mean([(1 / first + 2 / second) / 2 for first, second in ranks])
    assert random_average_precision(5, 2) == pytest.approx(expected)


@pytest.mark.needs("shared-data")
def test_the_card_tells_what_is_measured(shared_data: Path) -> None:
    """Every figure of the card's tables comes out again, within one query of 98."""
    told, measured = (_figures(text) for text in (CARD.read_text(encoding="utf-8"), measure(shared_data).markdown()))
    assert measured.keys() == told.keys()
    for name, figures in measured.items():
        assert figures == pytest.approx(told[name], abs=0.011), name


def _figures(markdown: str) -> dict[str, list[float]]:
    """The rows of tables that end in a figure with three decimals, by their first cell."""
    rows = [line.strip("| ").split(" | ") for line in markdown.splitlines() if re.search(r"\.\d{3} \|$", line)]
    return {name: [float(cell) for cell in cells] for name, *cells in rows}


def test_the_card_names_what_it_must() -> None:
    """Name, sizes, operators and licence are those of the file."""
    card = CARD.read_text(encoding="utf-8")
    graph = onnx.load(str(PATH)).graph
    operators = len({node.op_type for node in graph.node})
    numbers = sum(np.prod(constant.dims, dtype=int) for constant in graph.initializer)
    for fact in (
        *(NAME, "64 x 128", f"[batch, {weights.DIM}]", "Apache-2.0", f"{PATH.stat().st_size:,} bytes"),
        *(f"{numbers:,} numbers", f"{len(graph.node)} nodes of {operators} standard operators"),
    ):
        assert fact in card, fact
