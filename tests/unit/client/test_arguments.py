"""Whatever a caller gives, it is taken, or it is refused with an error of ours that names the argument."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from reidstream_client import (
    AsyncReidClient,
    BoxFilter,
    CallOptions,
    ClientOptions,
    Crops,
    InvalidRequest,
    ModelChoice,
    Nv12,
    RawFrame,
    ReidClient,
    ReidError,
    RetryPolicy,
    TlsOptions,
    TrackingResumingStreamOptions,
    testing,
)
from tests.unit.client.samples import BOXES, IMAGE

HALF_A_PAIR = "gate-\udce4"
LONGEST_MESSAGE = 700


class Tensor:
    """Of a GPU: it looks like an array, and cannot be read as one."""

    __module__ = "torch"
    shape = (2, 4)

    def __array__(self, *_: object, **__: object) -> np.ndarray[Any, Any]:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


STRANGE: dict[str, object] = {
    "None": None,
    "True": True,
    "minus one": -1,
    "a fraction": 1.5,
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "beyond 64 bits": 2**70,
    "beyond any float": 10**5000,
    "a float beyond float32": 1e300,
    "numpy's int": np.int64(-7),
    "numpy's bool": np.True_,
    "numpy's nan": np.float32("nan"),
    "empty text": "",
    "text": "high",
    "half a pair": HALF_A_PAIR,
    "text with a NUL": "a\0b",
    "long text": "x" * 100_000,
    "bytes": b"high",
    "no bytes": b"",
    "a path": pathlib.Path("frame.jpg"),
    "an empty list": [],
    "a list of text": ["a", "b"],
    "a list of None": [None, None],
    "a ragged list": [[1, 2], [3]],
    "a dict": {"a": 1},
    "a set": {1, 2},
    "an object": object(),
    "a class": int,
    "a function": len,
    "a generator": iter(()),
    "a tensor": Tensor(),
    "an empty array": np.zeros(0),
    "an array of objects": np.array([None, {}], object),
    "an array of complex numbers": np.zeros(2, complex),
    "an array of dates": np.zeros(2, "M8[s]"),
    "an array of nan": np.full(2, np.nan),
    "an array without dimensions": np.array(7),
    "an array of bytes, not together": np.zeros((6, 8), np.uint8)[:, ::2],
    "a view of floats": np.zeros(4).data,
    "an enum of another": grpc.StatusCode.OK,
}


@pytest.fixture(scope="module")
def server() -> Iterator[testing.FakeServer]:
    with testing.FakeServer() as server:
        yield server


@pytest.fixture(scope="module")
def client(server: testing.FakeServer) -> Iterator[ReidClient]:
    with server.client(camera_id="door", timeout_s=5) as client:
        yield client


def failures(call: Callable[[Any], object], name: str = "") -> dict[str, str]:
    """The strange values that raise another error than ours, or one of ours that does not name the argument."""
    wrong: dict[str, str] = {}
    for kind, value in STRANGE.items():
        try:
            call(value)
        except InvalidRequest as error:
            if name not in str(error) or len(str(error)) > LONGEST_MESSAGE:
                wrong[kind] = str(error)[:LONGEST_MESSAGE]
        except ReidError:
            pass
        except Exception as error:  # noqa: BLE001 - that is the question
            wrong[kind] = repr(error)
    return wrong


@pytest.mark.parametrize("name", sorted(set(ClientOptions.__annotations__) - {"connect"}))
def test_no_option_of_a_client_fails_with_another_error(name: str) -> None:
    """It is refused by its name, or the client is there."""
    make: Any = AsyncReidClient
    assert failures(lambda value: make("localhost:1", **{name: value}), name) == {}


@pytest.mark.parametrize("name", sorted(TrackingResumingStreamOptions.__annotations__))
def test_no_option_of_a_stream_fails_with_another_error(client: ReidClient, name: str) -> None:
    """It is refused by its name, or the session opens."""

    def call(value: Any) -> None:
        options: Any = {name: value}
        with client.resuming_stream(**options):
            pass

    assert failures(call, name) == {}


@pytest.mark.parametrize("name", ["image", "boxes", *sorted(CallOptions.__annotations__)])
def test_no_argument_of_a_call_fails_with_another_error(client: ReidClient, name: str) -> None:
    """It is refused by its name, or the frame is embedded."""
    embed: Any = client.embed
    assert failures(lambda value: embed(**{"image": IMAGE, "boxes": BOXES, name: value}), name) == {}


@pytest.mark.parametrize("kind", ["bgr", "bgra", "yuyv", "i420"])
@pytest.mark.parametrize("name", ["data", "width", "height", "format", "stride", "offset", "matrix", "range"])
def test_no_field_of_a_raw_frame_fails_with_another_error(client: ReidClient, kind: str, name: str) -> None:
    """Of one whose pixels are converted as well as of one whose pixels are not."""
    size = {"bgr": 24, "bgra": 32, "yuyv": 16, "i420": 12}[kind]
    make: Any = RawFrame
    given = {"data": bytes(size), "width": 4, "height": 2, "format": kind}
    assert failures(lambda value: client.embed(make(**(given | {name: value})), BOXES)) == {}


@pytest.mark.parametrize(
    "name", ["data", "width", "height", "stride", "offset", "chroma_stride", "chroma_offset", "matrix", "range"]
)
def test_no_field_of_an_nv12_frame_fails_with_another_error(client: ReidClient, name: str) -> None:
    """It is refused, or embedded."""
    make: Any = Nv12
    given = {"data": bytes(12), "width": 4, "height": 2}
    assert failures(lambda value: client.embed(make(**(given | {name: value})), BOXES)) == {}


@pytest.mark.parametrize(
    "crops",
    [
        lambda value: Crops(value),  # noqa: PLW0108 - beside the others
        lambda value: Crops([IMAGE, value]),
        lambda value: Crops([IMAGE, IMAGE], inner_boxes=value),
    ],
    ids=["all of them", "one of them", "their inner boxes"],
)
def test_no_crops_fail_with_another_error(client: ReidClient, crops: Callable[[Any], Crops]) -> None:
    """They are refused, or embedded."""
    assert failures(lambda value: client.embed(crops(value))) == {}


@pytest.mark.parametrize(
    "option",
    [
        lambda value: {"models": [ModelChoice(name=value)]},
        lambda value: {"models": [ModelChoice(class_ids=value)]},
        lambda value: {"models": [ModelChoice(expected_space_id=value)]},
        lambda value: {"box_filter": BoxFilter(min_width=value, max_height=value)},
        lambda value: {"box_filter": BoxFilter(class_ids=value)},
        lambda value: {"retry": RetryPolicy(attempts=value)},
        lambda value: {"retry": RetryPolicy(first_s=value, cap_s=value)},
        lambda value: {"tls": TlsOptions(ca_file=value)},
        lambda value: {"tls": TlsOptions(cert_file=value, key_file=value)},
        lambda value: {"tls": TlsOptions(server_name=value)},
    ],
)
def test_no_record_fails_with_another_error(option: Callable[[Any], dict[str, Any]]) -> None:
    """What is inside an option is checked as the option is."""
    assert failures(lambda value: AsyncReidClient("localhost:1", **option(value))) == {}


def test_no_other_argument_fails_with_another_error(client: ReidClient) -> None:
    """Positional ones, and those of a session."""
    assert failures(lambda value: ReidClient(value).close()) == {}
    assert failures(client.info) == {}
    assert failures(lambda value: list(client.embed_many(value))) == {}
    assert failures(lambda value: list(client.embed_many([value]))) == {}
    with client.stream() as session:
        assert failures(session.send_frame, "frame") == {}
        assert failures(lambda value: session.frame_buffer(20, value), "width") == {}


@pytest.mark.parametrize("value", [7, "gate:50051", [], np.zeros(3)])
def test_what_makes_no_connection_is_refused(value: Any) -> None:
    """It must be a function."""
    with pytest.raises(InvalidRequest, match=r"connect must be a function .*server\.connect"):
        ReidClient("localhost:1", connect=value)


@pytest.mark.parametrize("name", ["dim", "models", "embed", "window_frames", "window_bytes"])
def test_no_option_of_the_fake_server_fails_with_another_error(name: str) -> None:
    """Whoever tests a program is told of mistakes in the test."""
    make: Any = testing.FakeServer
    assert failures(lambda value: make(**{name: value}).close(), name) == {}


def test_no_order_to_the_fake_server_fails_with_another_error() -> None:
    """What shall go wrong is said in the client's words, too."""
    with testing.FakeServer() as server:
        order: Any = server
        bad = "invalid-image"
        assert failures(order.fail_frames, "reason") == {}
        assert failures(lambda value: order.fail_frames(bad, value), "message") == {}
        assert failures(lambda value: order.fail_frames(bad, count=value), "count") == {}
        assert failures(lambda value: order.fail_frames(bad, frame_ids=value), "frame_ids") == {}
        assert failures(lambda value: order.fail_frames(bad, retry_after_s=value), "retry_after_s") == {}
        assert failures(order.refuse, "status") == {}
        assert failures(lambda value: order.refuse("unavailable", calls=value), "calls") == {}
        assert failures(order.unavailable, "attempts") == {}
        assert failures(order.cut, "status") == {}
        assert failures(order.change_space, "space_id") == {}
        assert failures(lambda value: order.change_space("1:a", value), "model") == {}
