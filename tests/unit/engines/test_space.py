"""space: the same vectors have the same space, others never do, and the ids are for ever."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidstream_engines.space import sha256_file, space_id
from reidstream_engines.spec import ColorOrder, CropRule, Fit, InputSpec, OutputSpec, Resize
from tests.support.samples import TORCHREID_INPUT

SHA = "042c90359a275853b53b447d2feb0dcbdb8785f91f3bdb0794d2927765da89c5"
OUTPUT = OutputSpec(name="embedding", dim=512, l2_normalize=True)


def space(input_spec: InputSpec = TORCHREID_INPUT, output: OutputSpec = OUTPUT, sha: str = SHA) -> str:
    return space_id(artifact_sha256=sha, input_spec=input_spec, output_spec=output)


def test_an_id_that_is_out_in_the_world() -> None:
    """Galleries hold this id. If this test fails, mend the code, not the test."""
    assert space() == "1:ad849c6a659fa48c7065ba6d7fb5d1d16ae703ebac931788546986205d583037"


FORM = (
    f'{{"artifact":"{SHA}","features":{{}},"input":{{"color_order":"rgb","crop_rule":"exact","fit":"stretch",'
    '"height":256,"mean":["0x1.f0a3d70a3d70ap-2","0x1.d2f1a9fbe76c9p-2","0x1.9fbe76c8b4396p-2"],'
    '"resize":"opencv_bilinear","scale":"0x1.0101010101010p-8",'
    '"std":["0x1.d4fdf3b645a1dp-3","0x1.cac083126e979p-3","0x1.ccccccccccccdp-3"],"width":128},'
    '"output":{"dim":512,"l2_normalize":true}}'
)


def test_the_canonical_form() -> None:
    """What is digested, byte for byte, so that another program can compute an id."""
    assert space() == "1:" + hashlib.sha256(FORM.encode("ascii")).hexdigest()


def test_the_canonical_form_of_a_chosen_output() -> None:
    """Its name is digested, too; it may be any text, and is escaped as JSON does it."""
    chosen = space_id(artifact_sha256=SHA, input_spec=TORCHREID_INPUT, output_spec=OUTPUT, chosen_output="\u7279\u5fb4")
    form = FORM.replace('"l2_normalize":true', '"l2_normalize":true,"name":"\\u7279\\u5fb4"')
    assert form != FORM
    assert chosen == "1:" + hashlib.sha256(form.encode("ascii")).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        replace(TORCHREID_INPUT, width=64),
        replace(TORCHREID_INPUT, height=128),
        replace(TORCHREID_INPUT, color_order=ColorOrder.BGR),
        replace(TORCHREID_INPUT, resize=Resize.PIL_BILINEAR),
        replace(TORCHREID_INPUT, fit=Fit.LETTERBOX_CENTER),
        replace(TORCHREID_INPUT, crop_rule=CropRule.EVEN_ALIGNED),
        replace(TORCHREID_INPUT, scale=1 / 256),
        replace(TORCHREID_INPUT, mean=(0.485, 0.456, 0.4060000000000001)),
        replace(TORCHREID_INPUT, mean=(0.406, 0.456, 0.485)),
        replace(TORCHREID_INPUT, std=(0.224, 0.224, 0.224)),
        replace(TORCHREID_INPUT, jpeg_scale=2),
    ],
)
def test_everything_in_the_preprocessing_moves_it(other: InputSpec) -> None:
    """One field at a time, the last bit of a mean included."""
    assert space(other) != space()


def test_artifact_dimension_and_normalisation_move_it() -> None:
    """Other weights, a shorter vector, a vector that is not of length 1."""
    others = {
        space(),
        space(sha="0" * 64),
        space(output=replace(OUTPUT, dim=256)),
        space(output=replace(OUTPUT, l2_normalize=False)),
    }
    assert len(others) == 4


def test_names_do_not_move_it() -> None:
    """A tensor that was renamed gives the same numbers."""
    assert space(replace(TORCHREID_INPUT, name="images"), replace(OUTPUT, name="fc_pred")) == space()


def test_a_chosen_output_moves_it() -> None:
    """Two outputs of one network may have the same dimension, and are not the same."""
    ids = {
        space_id(artifact_sha256=SHA, input_spec=TORCHREID_INPUT, output_spec=OUTPUT, chosen_output=name)
        for name in (None, "before_neck", "after_neck")
    }
    assert len(ids) == 3


def test_numbers_that_are_equal_are_written_alike() -> None:
    """Whole numbers from a TOML, and minus zero, are the same arithmetic."""
    plain = replace(TORCHREID_INPUT, scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    assert space(replace(plain, scale=1, mean=(-0.0, 0, 0.0), std=(1, 1, 1))) == space(plain)


numbers = st.floats(allow_nan=False, allow_infinity=False)
specs = st.builds(
    InputSpec,
    name=st.just("input"),
    width=st.integers(1, 3),
    height=st.integers(1, 3),
    color_order=st.sampled_from(ColorOrder),
    resize=st.sampled_from(Resize),
    fit=st.sampled_from(Fit),
    crop_rule=st.sampled_from(CropRule),
    scale=numbers,
    mean=st.tuples(numbers) | st.tuples(numbers, numbers, numbers),
    std=st.tuples(numbers) | st.tuples(numbers, numbers, numbers),
    jpeg_scale=st.sampled_from((1, 2, 4, 8)),
)


@settings(deadline=None)
@given(specs, specs)
def test_equal_specs_and_only_those_share_a_space(one: InputSpec, other: InputSpec) -> None:
    """No two specs run into each other in the canonical form."""
    assert (space(one) == space(other)) is (one == other)


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 21) + 1])
def test_sha256_file(tmp_path: Path, size: int) -> None:
    """Of the whole file, whatever pieces it is read in."""
    content = b"reid" * (size // 4) + b"x" * (size % 4)
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert sha256_file(path) == hashlib.sha256(content).hexdigest()


def test_sha256_of_several_files(tmp_path: Path) -> None:
    """As of one file that holds them all, in the order given."""
    paths = [tmp_path / name for name in "abc"]
    for path, content in zip(paths, (b"plan", b"", b"weights"), strict=True):
        path.write_bytes(content)
    assert sha256_file(*paths) == hashlib.sha256(b"planweights").hexdigest()
    assert sha256_file(*reversed(paths)) == hashlib.sha256(b"weightsplan").hexdigest()


def test_sha256_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    """OSError; whoever asked knows what the file is."""
    with pytest.raises(FileNotFoundError):
        sha256_file(tmp_path / "none.onnx")
