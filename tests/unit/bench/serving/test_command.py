"""What is measured where: on one core, on all of them, or both."""

from __future__ import annotations

import os

import pytest

from bench.serving.command import chosen, parser


@pytest.mark.parametrize(
    ("arguments", "titles"),
    [
        ([], ["tiny", "tiny, all cores", "tiny-band", "tiny-band, all cores", "crops", "raw", "shared"]),
        (["--quick"], ["tiny", "crops"]),
        (["--quick", "--cores", "all"], ["tiny, all cores", "crops, all cores"]),
        (["--cores", "one"], ["tiny", "tiny-band", "crops", "raw", "shared"]),
        (["--scenario", "raw", "--scenario", "tiny"], ["raw", "tiny", "tiny, all cores"]),
        (["--model", "osnet.onnx"], ["osnet", "osnet, all cores"]),
        (["--model", "osnet.onnx", "--cores", "all"], ["osnet, all cores"]),
    ],
)
def test_a_scenario_is_measured_on_all_cores_where_its_work_fills_them(arguments: list[str], titles: list[str]) -> None:
    """Unless somebody asks for something else."""
    assert [scenario.title for scenario in chosen(parser().parse_args(arguments))] == titles


def test_on_all_cores_server_and_load_share_them() -> None:
    """On one core each has its own, if there are two."""
    one, both = chosen(parser().parse_args(["--scenario", "tiny"]))
    cores = sorted(os.sched_getaffinity(0))
    assert (both.place.server, both.place.load) == (tuple(cores), tuple(cores))
    assert (one.place.server, one.place.load) == ((cores[0],), (cores[:2][-1],))
