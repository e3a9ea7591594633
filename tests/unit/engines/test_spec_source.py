"""spec_source and spec_fields: where a spec comes from, what it must fit, and what is said when it does not."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from reidstream_engines.errors import ModelError, SpecError
from reidstream_engines.onnx_file import read_signature
from reidstream_engines.profiles import PROFILES
from reidstream_engines.space import space_id
from reidstream_engines.spec import ColorOrder, CropRule, Fit, ModelSpec, Resize
from reidstream_engines.spec_source import (
    SHA_KEY,
    SPEC_KEY,
    ModelSignature,
    TensorSignature,
    encode_spec_metadata,
    resolve_spec,
)

CONTENT = b"the weights"
SHA = hashlib.sha256(CONTENT).hexdigest()
FLOAT32_MAX = float(np.finfo(np.float32).max)
WHOLE: dict[str, object] = {
    "color_order": "bgr",
    "resize": "pil_bicubic",
    "fit": "letterbox_corner",
    "crop_rule": "even_aligned",
    "scale": 0.25,
    "mean": [1, 2.5, 3],
    "std": [4, 5, 6],
    "l2_normalize": False,
}


def tensor(name: str, *shape: int | None, dtype: str = "tensor(float)") -> TensorSignature:
    return TensorSignature(name=name, shape=shape, dtype=dtype)


def signature(
    *,
    inputs: tuple[TensorSignature, ...] = (tensor("input", None, 3, 256, 128),),
    outputs: tuple[TensorSignature, ...] = (tensor("embedding", None, 512),),
    **metadata: str,
) -> ModelSignature:
    return ModelSignature(inputs=inputs, outputs=outputs, metadata=metadata)


def with_metadata(**metadata: object) -> ModelSignature:
    return replace(signature(), metadata={SPEC_KEY: json.dumps(metadata)})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "osnet.onnx"
    path.write_bytes(CONTENT)
    return path


def write_toml(model: Path, text: str) -> None:
    model.with_suffix(".toml").write_text(text)


def resolve(
    model: Path, network: ModelSignature | None = None, profile: str | None = None, name: str | None = None
) -> ModelSpec:
    return resolve_spec(path=model, signature=network or signature(), name=name, profile=profile)


def toy(*, batch: int | str, height: int, width: int | str) -> onnx.ModelProto:
    """A network that onnxruntime runs: a picture's mean colour, times a matrix."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["vector"]),
        ],
        "toy",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, height, width])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, [batch, 5])],
        [numpy_helper.from_array(np.ones((3, 5), np.float32), "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def load(path: Path, profile: str | None = None) -> ModelSpec:
    """As it is served."""
    return resolve(path, read_signature(path), profile=profile)


class TestOrder:
    def test_a_profile_and_the_network_make_the_whole_spec(self, model: Path) -> None:
        """Preprocessing from the profile, sizes and names from the network, the space from all of it."""
        spec = resolve(model, profile="torchreid")
        torchreid = PROFILES["torchreid"]
        assert (spec.name, spec.profile, spec.artifact_sha256, spec.version) == ("osnet", "torchreid", SHA, SHA[:12])
        assert (spec.input.name, spec.input.width, spec.input.height) == ("input", 128, 256)
        assert (spec.input.mean, spec.input.std, spec.input.scale) == (torchreid.mean, torchreid.std, torchreid.scale)
        assert (spec.input.color_order, spec.input.resize) == (torchreid.color_order, torchreid.resize)
        assert (spec.input.fit, spec.input.crop_rule) == (torchreid.fit, torchreid.crop_rule)
        assert (spec.output.name, spec.output.dim, spec.output.l2_normalize) == ("embedding", 512, True)
        assert spec.space_id == space_id(artifact_sha256=SHA, input_spec=spec.input, output_spec=spec.output)

    def test_a_name_of_its_own(self, model: Path) -> None:
        """Two files may have one name in two folders; the space does not care."""
        named = resolve(model, profile="tao", name="persons")
        assert named.name == "persons"
        assert named.space_id == resolve(model, profile="tao").space_id

    def test_the_toml_names_a_profile(self, model: Path) -> None:
        """The same vectors as with the flag, so the same space."""
        by_flag = resolve(model, profile="fastreid")
        write_toml(model, 'profile = "fastreid"\n')
        assert resolve(model) == replace(by_flag, profile="toml")

    def test_the_toml_corrects_a_profile(self, model: Path) -> None:
        """A field beside it wins."""
        write_toml(model, 'profile = "tao"\nstd = [0.226, 0.226, 0.226]\nl2_normalize = false\n')
        spec = resolve(model)
        assert spec.input.std == (0.226, 0.226, 0.226)
        assert spec.input.mean == PROFILES["tao"].mean
        assert not spec.output.l2_normalize

    def test_the_toml_says_everything(self, model: Path) -> None:
        """Without any profile, in TOML's own types; whole numbers are numbers."""
        lines = [f"{key} = {json.dumps(value)}" for key, value in WHOLE.items()]
        write_toml(model, "\n".join(lines))
        spec = resolve(model)
        assert (spec.input.color_order, spec.input.resize) == (ColorOrder.BGR, Resize.PIL_BICUBIC)
        assert (spec.input.fit, spec.input.crop_rule) == (Fit.LETTERBOX_CORNER, CropRule.EVEN_ALIGNED)
        assert (spec.input.scale, spec.input.mean, spec.input.std) == (0.25, (1.0, 2.5, 3.0), (4.0, 5.0, 6.0))
        assert not spec.output.l2_normalize

    def test_a_deepstream_profile_with_its_numbers(self, model: Path) -> None:
        """By the flag or in the TOML, and named as it was given."""
        text = "deepstream:scale=0.0078431372549,offsets=127.5/127.5/127.5"
        spec = resolve(model, profile=text)
        assert spec.profile == text
        assert spec.input.crop_rule is CropRule.EVEN_ALIGNED
        write_toml(model, f'profile = "{text}"')
        assert resolve(model).space_id == spec.space_id

    def test_metadata(self, model: Path) -> None:
        """The same keys, as JSON."""
        spec = resolve(model, with_metadata(profile="paddleclas", scale=0.5))
        assert (spec.profile, spec.input.scale) == ("metadata", 0.5)
        assert spec.input.resize is Resize.PIL_BILINEAR

    def test_the_toml_is_read_before_the_metadata(self, model: Path) -> None:
        """Whoever serves a file knows better than whoever made it."""
        write_toml(model, 'profile = "tao"')
        assert resolve(model, with_metadata(profile="torchreid")).input.std == PROFILES["tao"].std

    def test_the_flag_comes_before_both(self, model: Path) -> None:
        """All of their preprocessing is replaced, none of it is mixed in."""
        plain = resolve(model, profile="torchreid")
        assert replace(resolve(model, with_metadata(**WHOLE), profile="torchreid"), set_aside="") == plain
        write_toml(model, 'profile = "fastreid"\nscale = 0.5\nl2_normalize = false\n')
        flagged = resolve(model, with_metadata(profile="tao"), profile="torchreid")
        assert replace(flagged, set_aside="") == plain

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("mean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]", "says mean = [0.5, 0.5, 0.5], std = [0.5, 0.5, 0.5]; "),
            ('profile = "tao"\nl2_normalize = false', 'says profile = "tao", l2_normalize = false; '),
            ('profile = "torchreid"\nmean = [0.5, 0.5, 0.5]', "says mean = [0.5, 0.5, 0.5]; "),
            ("mean = [0.485, 0.456, 0.406]\nl2_normalize = true", ""),
            ('profile = "torchreid"\noutput = "embedding"', ""),
        ],
    )
    def test_what_the_flag_replaces_is_said(self, model: Path, text: str, said: str) -> None:
        """Each field that is other than the profile's, with its value; nothing where nothing changes."""
        write_toml(model, text + "\n")
        found = resolve(model, profile="torchreid").set_aside
        if not said:
            assert found == ""
            return
        assert f"osnet.toml {said}" in found
        assert found.endswith("the profile torchreid is used instead")

    def test_what_the_flag_replaces_in_the_metadata_is_said(self, model: Path) -> None:
        """The same."""
        found = resolve(model, with_metadata(profile="tao", scale=0.5), profile="torchreid").set_aside
        assert 'metadata reidstream.spec says profile = "tao", scale = 0.5; ' in found

    def test_an_empty_toml_says_nothing(self, model: Path) -> None:
        """A shell makes it before the program runs that fills it."""
        write_toml(model, "")
        assert resolve(model, with_metadata(profile="tao")).profile == "metadata"
        assert resolve(model, profile="torchreid") == resolve(model, with_metadata(), profile="torchreid")
        with pytest.raises(SpecError, match="is not known"):
            resolve(model)

    def test_the_flag_leaves_what_is_said_of_the_network(self, model: Path) -> None:
        """Which output, and sizes that the network leaves open, are no preprocessing."""
        network = signature(
            inputs=(tensor("x", None, 3, None, None),), outputs=(tensor("a", None, 8), tensor("b", None, 9))
        )
        write_toml(model, 'output = "b"\nwidth = 64\nheight = 128\n')
        spec = resolve(model, network, profile="torchreid")
        assert (spec.input.width, spec.input.height) == (64, 128)
        assert (spec.output.name, spec.output.dim) == ("b", 9)

    def test_nothing_says_it(self, model: Path) -> None:
        """Refused, with the flag, the file and every profile."""
        with pytest.raises(SpecError) as caught:
            resolve(model)
        message = str(caught.value)
        for words in ("osnet.onnx", "--profile", "osnet.toml", *PROFILES):
            assert words in message
        for profile in PROFILES.values():
            assert profile.description in message


class TestRoundTrip:
    @pytest.mark.parametrize("profile", ["torchreid", "fastreid", "tao", "deepstream:scale=0.017,offsets=1.1/2.2/3.3"])
    def test_a_spec_in_metadata_is_read_back(self, model: Path, profile: str) -> None:
        """To the last bit: the space is the same."""
        spec = resolve(model, profile=profile)
        read = resolve(model, replace(signature(), metadata=encode_spec_metadata(spec)))
        assert replace(read, profile=profile) == spec

    def test_vectors_of_any_length_are_read_back(self, model: Path) -> None:
        """Every field, none of them a profile's."""
        spec = resolve(model, with_metadata(**WHOLE))
        assert resolve(model, replace(signature(), metadata=encode_spec_metadata(spec))) == spec

    def test_a_derived_file_is_in_the_space_of_its_original(self, model: Path) -> None:
        """Its own bytes do not count; where it is renamed, nor does its name."""
        original = resolve(model, profile="torchreid")
        derived = model.with_name("osnet_fp16.onnx")
        derived.write_bytes(b"other bytes")
        read = resolve(derived, replace(signature(), metadata={SHA_KEY: SHA}), profile="torchreid")
        assert (read.artifact_sha256, read.space_id) == (SHA, original.space_id)
        assert resolve(derived, profile="torchreid").space_id != original.space_id

    def test_a_dynamic_batch_made_of_a_fixed_one(self, tmp_path: Path) -> None:
        """Real files, and the whole way: loaded, derived with its original's sha256 and its own spec, loaded again."""
        fixed, derived = tmp_path / "fixed16.onnx", tmp_path / "dynamic.onnx"
        proto = toy(batch=16, height=32, width=16)
        onnx.save(proto, fixed)
        original = load(fixed, profile="tao")
        for value in (*proto.graph.input, *proto.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        helper.set_model_props(proto, encode_spec_metadata(original) | {SHA_KEY: original.artifact_sha256})
        onnx.save(proto, derived)
        assert derived.read_bytes() != fixed.read_bytes()
        assert read_signature(derived).inputs == (tensor("images", None, 3, 32, 16),)
        assert load(derived) == replace(original, name="dynamic", profile="metadata")

    @pytest.mark.parametrize("sha", ["", "abc", SHA.upper(), SHA + "0", SHA + "\n"])
    def test_a_carried_sha_that_is_none(self, model: Path, sha: str) -> None:
        """It would name a space that nobody else can compute."""
        with pytest.raises(SpecError, match="not a sha256"):
            resolve(model, replace(signature(), metadata={SHA_KEY: sha}), profile="tao")

    def test_a_file_that_went_away(self, tmp_path: Path) -> None:
        """The model, not its spec, is at fault."""
        with pytest.raises(ModelError, match=r"gone\.onnx"):
            resolve(tmp_path / "gone.onnx", profile="tao")


class TestFields:
    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"color": "rgb"}, "unknown color; the known keys are profile, color_order, .* output, width, height"),
            ({"color_order": "yuv"}, "color_order is 'yuv'; it must be one of rgb, bgr, gray"),
            ({"resize": ["pil_bilinear"]}, "resize is .*must be one of opencv_bilinear, .*pil_bicubic"),
            ({"fit": 1}, "fit is 1; it must be one of stretch"),
            ({"crop_rule": None}, "crop_rule is None; it must be one of exact, even_aligned"),
            ({"scale": "0.1"}, "scale is '0.1'"),
            ({"scale": True}, "scale is True"),
            ({"scale": 0}, "scale is 0; it must be greater than 0"),
            ({"scale": float("inf")}, "scale is inf"),
            ({"scale": float("nan")}, "scale is nan"),
            ({"scale": 10**400}, "scale is 1000"),
            ({"mean": 0.5}, "mean is 0.5; it must be a list of 1 or 3 numbers"),
            ({"mean": [1, 2]}, "must be a list of 1 or 3 numbers"),
            ({"mean": [1, 2, "3"]}, "mean is '3'"),
            ({"std": [1, 0, 1]}, "each number must be greater than 0"),
            ({"std": [1, -1, 1]}, "each number must be greater than 0"),
            ({"l2_normalize": 1}, "l2_normalize is 1; it must be true or false"),
            ({"output": 3}, "output is 3; it must be text"),
            ({"width": 0}, "width is 0; it must be a whole number, at least 1"),
            ({"width": 128.0}, "width is 128.0; it must be a whole number"),
            ({"height": True}, "height is True; it must be a whole number"),
            ({"profile": "osnet"}, "unknown profile 'osnet'; the profiles are"),
            ({"profile": 7}, "profile is 7; it must be text"),
        ],
    )
    def test_mistakes_name_place_key_and_value(self, model: Path, changes: dict[str, object], words: str) -> None:
        """In the file's metadata here; the TOML goes the same way."""
        with pytest.raises(SpecError, match=words) as caught:
            resolve(model, with_metadata(**{**WHOLE, **changes}))
        assert str(caught.value).startswith(f"{model}, metadata {SPEC_KEY}: ")

    @pytest.mark.parametrize("absent", WHOLE)
    def test_a_field_without_a_profile_has_no_default(self, model: Path, absent: str) -> None:
        """None of the eight is guessed."""
        with pytest.raises(SpecError, match=f"{absent} missing; add them, or name a profile"):
            resolve(model, with_metadata(**{key: value for key, value in WHOLE.items() if key != absent}))

    @pytest.mark.parametrize(
        "content", [b"profile = ", b'profile = "tao"\nprofile = "tao"', b"\xff\xfe\x00", b"mean = [1,"]
    )
    def test_a_toml_that_is_none(self, model: Path, content: bytes) -> None:
        """Named by its path, whatever is wrong with it; also where a profile was given by hand."""
        model.with_suffix(".toml").write_bytes(content)
        for profile in (None, "tao"):
            with pytest.raises(SpecError, match=r"osnet\.toml"):
                resolve(model, profile=profile)

    @pytest.mark.parametrize("text", ["a=" + "[" * 100_000, "a=" + "{b=" * 100_000])
    def test_a_toml_that_is_nested_without_end(self, model: Path, text: str) -> None:
        """The parser's recursion is the file's fault."""
        write_toml(model, text)
        with pytest.raises(SpecError, match=r"osnet\.toml: .*recursion"):
            resolve(model)

    def test_a_folder_that_is_called_like_a_toml(self, model: Path) -> None:
        """It says nothing."""
        model.with_suffix(".toml").mkdir()
        assert resolve(model, with_metadata(profile="tao")).profile == "metadata"

    def test_the_order_of_keys_says_nothing(self, model: Path) -> None:
        """The profile comes first wherever it stands."""
        write_toml(model, 'profile = "tao"\nscale = 0.5\nl2_normalize = false\n')
        one = resolve(model)
        write_toml(model, 'l2_normalize = false\nscale = 0.5\nprofile = "tao"\n')
        assert resolve(model) == one

    @pytest.mark.parametrize(
        "changes",
        [
            {"scale": FLOAT32_MAX / 254},
            {"mean": [0, 3.5e38, 0]},
            {"mean": [0, 0, -3.5e38]},
            {"std": [1, 1, 1e-320]},
            {"scale": FLOAT32_MAX / 256, "mean": [FLOAT32_MAX / 100, 0, 0]},
        ],
    )
    def test_numbers_beyond_float32(self, model: Path, changes: dict[str, object]) -> None:
        """Finite as they are written; but no engine could compute with them."""
        plain = {**WHOLE, "mean": [0, 0, 0], "std": [1, 1, 1], "scale": 1}
        for largest in ({"scale": FLOAT32_MAX / 256}, {"scale": 1e-30, "mean": [FLOAT32_MAX, 0, -FLOAT32_MAX]}):
            resolve(model, with_metadata(**{**plain, **largest}))
        with pytest.raises(SpecError, match=r"osnet\.onnx \(spec from metadata\): scale .* more than a float32 holds"):
            resolve(model, with_metadata(**{**plain, **changes}))

    def test_deepstream_numbers_beyond_float32(self, model: Path) -> None:
        """Each in range, and their product not even in a double's."""
        with pytest.raises(SpecError, match="more than a float32 holds"):
            resolve(model, profile="deepstream:scale=1e200,offsets=1e200/0/0")

    @pytest.mark.parametrize("text", ["", "{", '"tao"', "[1]", "null", "[" * 100_000, '{"a":' * 100_000])
    def test_metadata_that_is_no_json_object(self, model: Path, text: str) -> None:
        """The key is named."""
        with pytest.raises(SpecError, match=SPEC_KEY):
            resolve(model, replace(signature(), metadata={SPEC_KEY: text}))

    def test_a_mistyped_key_is_found_also_where_a_profile_is_given_by_hand(self, model: Path) -> None:
        """It may have been the output's name."""
        write_toml(model, 'outptu = "embedding"')
        with pytest.raises(SpecError, match="unknown outptu"):
            resolve(model, profile="tao")


class TestNetwork:
    @pytest.mark.parametrize(("toml", "source"), [("", "torchreid"), ('profile = "torchreid"\n', "toml")])
    def test_what_does_not_fit_names_the_file_and_the_source(self, model: Path, toml: str, source: str) -> None:
        """One of several models is at fault, and a mistake is looked for where the spec came from."""
        write_toml(model, f'{toml}output = "fc_pred"')
        with pytest.raises(SpecError) as caught:
            resolve(model, profile=None if toml else "torchreid")
        assert str(caught.value) == (
            f"{model} (spec from {source}): this network has no float output 'fc_pred' [batch, dim]; "
            "found embedding tensor(float) [?, 512]"
        )

    @pytest.mark.parametrize(
        "inputs",
        [
            (),
            (tensor("input", None, 3, 256),),
            (tensor("input", None, 3, 256, 128, dtype="tensor(float16)"),),
            (tensor("input", None, 3, 256, 128, dtype="tensor(uint8)"),),
            (tensor("input", None, 3, 256, 128), tensor("camera", None, dtype="tensor(int64)")),
        ],
    )
    def test_inputs_that_are_no_picture(self, model: Path, inputs: tuple[TensorSignature, ...]) -> None:
        """What was found is written out."""
        with pytest.raises(SpecError, match=r"one float input .* is needed; found") as caught:
            resolve(model, signature(inputs=inputs), profile="torchreid")
        for found in inputs:
            assert str(found) in str(caught.value)

    @pytest.mark.parametrize("channels", [1, 4, 256])
    def test_channels_that_are_not_the_profiles(self, model: Path, channels: int) -> None:
        """Grey, and pixels last, are told by their number."""
        network = signature(inputs=(tensor("input", None, channels, 128, 3),))
        with pytest.raises(SpecError, match=rf"has {channels} channels .*rgb needs 3"):
            resolve(model, network, profile="torchreid")

    def test_gray(self, model: Path) -> None:
        """One channel, one mean; a colour network refuses it, and a grey one colour."""
        grey = signature(inputs=(tensor("input", None, 1, 256, 128),))
        profile = "deepstream:scale=1,color=gray"
        assert resolve(model, grey, profile=profile).input.mean == (0.0,)
        with pytest.raises(SpecError, match="gray needs 1"):
            resolve(model, profile=profile)

    @pytest.mark.parametrize(("mean", "std"), [([1], [1, 1, 1]), ([1, 1, 1], [1]), ([1], [1])])
    def test_as_many_numbers_as_channels(self, model: Path, mean: list[int], std: list[int]) -> None:
        """Also where the network leaves its channels open."""
        network = replace(
            with_metadata(**{**WHOLE, "mean": mean, "std": std}), inputs=(tensor("input", None, None, 256, 128),)
        )
        with pytest.raises(SpecError, match=f"bgr needs 3 means and stds; the spec has {len(mean)} and {len(std)}"):
            resolve(model, network)

    @pytest.mark.parametrize(("axis", "shape"), [("height", (None, 128)), ("width", (256, None))])
    def test_an_open_size_must_be_said(self, model: Path, axis: str, shape: tuple[int | None, int | None]) -> None:
        """In the TOML, with or without the flag; then it counts."""
        network = signature(inputs=(tensor("input", None, 3, *shape),))
        with pytest.raises(SpecError, match=f"write {axis} = PIXELS in the TOML file"):
            resolve(model, network, profile="tao")
        write_toml(model, f"{axis} = 99")
        assert getattr(resolve(model, network, profile="tao").input, axis) == 99

    def test_a_size_that_the_network_contradicts(self, model: Path) -> None:
        """Neither is preferred."""
        write_toml(model, 'profile = "tao"\nheight = 384\n')
        with pytest.raises(SpecError, match=r"height is 256 .*, the spec says 384"):
            resolve(model)

    def test_several_outputs_want_a_choice(self, model: Path) -> None:
        """Even where only one looks like a vector: class scores look like vectors, too."""
        network = signature(outputs=(tensor("scores", None, 751), tensor("map", None, 512, 16, 8)))
        with pytest.raises(SpecError, match='with output = "NAME"') as caught:
            resolve(model, network, profile="torchreid")
        assert "scores tensor(float) [?, 751]" in str(caught.value)

    def test_outputs_of_one_dimension_have_spaces_of_their_own(self, model: Path) -> None:
        """Before and after the neck are not to be compared; a renamed single output is."""
        network = signature(outputs=(tensor("before", None, 512), tensor("after", None, 512)))
        spaces = set()
        for name in ("before", "after"):
            write_toml(model, f'profile = "tao"\noutput = "{name}"\n')
            spaces.add(resolve(model, network).space_id)
        model.with_suffix(".toml").unlink()
        spaces.add(resolve(model, profile="tao").space_id)
        spaces.add(resolve(model, signature(outputs=(tensor("fc_pred", None, 512),)), profile="tao").space_id)
        assert len(spaces) == 3

    @pytest.mark.parametrize("name", ["other", "map", "half"])
    def test_a_chosen_output_that_is_no_vector(self, model: Path, name: str) -> None:
        """Not there, not of two axes, not float32."""
        network = signature(
            outputs=(
                tensor("embedding", None, 512),
                tensor("map", None, 512, 16, 8),
                tensor("half", None, 512, dtype="tensor(float16)"),
            )
        )
        write_toml(model, f'output = "{name}"')
        with pytest.raises(SpecError, match=f"no float output '{name}'"):
            resolve(model, network, profile="tao")

    @pytest.mark.parametrize("outputs", [(), (tensor("embedding", None, 512, 1, 1),)])
    def test_no_vector_at_all(self, model: Path, outputs: tuple[TensorSignature, ...]) -> None:
        """What was found is written out."""
        with pytest.raises(SpecError, match=r"a float output \[batch, dim\] is needed; found"):
            resolve(model, signature(outputs=outputs), profile="tao")

    def test_an_open_dimension(self, model: Path) -> None:
        """Nobody could allocate for it."""
        with pytest.raises(SpecError, match=r"embedding tensor\(float\) \[\?, \?\]"):
            resolve(model, signature(outputs=(tensor("embedding", None, None),)), profile="tao")


def test_the_signature_of_a_real_session(tmp_path: Path) -> None:
    """Names, types, fixed and open axes, metadata, as onnxruntime reports them; and a spec from a real file."""
    path = tmp_path / "toy.onnx"
    proto = toy(batch="batch", height=32, width="width")
    proto.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch", 3]))
    helper.set_model_props(proto, {SPEC_KEY: json.dumps({"profile": "torchreid", "output": "vector", "width": 16})})
    onnx.save(proto, path)
    found = read_signature(path)
    assert found.inputs == (tensor("images", None, 3, 32, None),)
    assert found.outputs == (tensor("vector", None, 5), tensor("mean", None, 3))
    assert found.metadata.keys() == {SPEC_KEY}
    spec = load(path)
    assert (spec.name, spec.input.name, spec.output.name, spec.output.dim) == ("toy", "images", "vector", 5)
    assert (spec.input.width, spec.input.height) == (16, 32)
    assert spec.artifact_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.needs("shared-data")
def test_a_real_osnet(shared_data: Path) -> None:
    """What the README of the data says of it."""
    path = shared_data / "models" / "osnet_x0_25_msmt17.onnx"
    spec = resolve(path, read_signature(path), profile="torchreid")
    assert spec.artifact_sha256 == "042c90359a275853b53b447d2feb0dcbdb8785f91f3bdb0794d2927765da89c5"
    assert (spec.input.name, spec.input.width, spec.input.height) == ("input", 128, 256)
    assert (spec.output.name, spec.output.dim) == ("embedding", 512)
