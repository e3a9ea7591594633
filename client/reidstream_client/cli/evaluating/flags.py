"""The flags of `evaluate` and `calibrate`, and their help."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from reidstream_client.cli.ranges import number, whole
from reidstream_client.evaluation import Distance, Layout, Protocol, Split

EVALUATE: Final = """\
DATASET is one of
  Market-1501             query/ and bounding_box_test/, or one folder of files with such names:
                          0002_c1s1_000451_03.jpg; -1 is junk, 0000 a distractor
  a folder per identity   0002/a.jpg, 0002/b.jpg, ...; or such folders in query/ and gallery/
  MOTChallenge            a sequence with img1/ and gt/gt.txt, or a folder of them; each box is a picture
  TAO's lists             no DATASET, but --query q.json --gallery g.json: [{"img_path": ...}, ...]
Every picture is embedded by a server, or has its vector in a file: --vectors. Each figure (rank-1, 5, 10, 20, mAP,
mINP) has an interval, from a bootstrap over identities. docs/evaluation.md has more.

examples:
  reidstream-client evaluate Market-1501 --report report
  reidstream-client evaluate Market-1501 --identities 100 --seed 1 --cache ~/.cache/reidstream
  reidstream-client evaluate Market-1501 --vectors vectors.npz --rerank --report reranked --compare report/report.json
  reidstream-client evaluate crops --model-file osnet.onnx --profile torchreid
  reidstream-client evaluate Market-1501 --check
  reidstream-client evaluate Market-1501 --group-into market-grouped
"""

CALIBRATE: Final = """\
SOURCE is one of
  recorded streams   one or more files of `reidstream-client stream`, with the track ids of a tracker. No labels are
                     needed: two boxes of one frame are two people, and one track is one person
  a data set         labelled pictures, as `evaluate` takes them
The file says from which cosine on two vectors count as the same person, and for which space.

examples:
  reidstream-client stream gate-sequence --output gate.npz
  reidstream-client calibrate gate.npz --false-match-rate 0.001 --output threshold.json
  reidstream-client calibrate Market-1501 --output threshold.json
"""


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """Add those of `evaluate`, but for the server's."""
    add = parser.add_argument
    add("dataset", nargs="?", type=Path, metavar="DATASET", help="a folder; see below")
    _add_dataset(parser)
    add(
        "--distance",
        choices=[distance.value for distance in Distance],
        default=Distance.COSINE.value,
        help="how vectors are compared; every report names it; default: cosine",
    )
    add("--rerank", action="store_true", help="k-reciprocal re-ranking (Zhong et al., 2017)")
    add("--k1", type=whole(1, 1000), metavar="N", help="of --rerank: neighbours of the reciprocal sets; default: 20")
    add("--k2", type=whole(1, 1000), metavar="N", help="of --rerank: rows that are averaged; default: 6")
    add("--lambda", dest="weight", type=number(0, 1), metavar="W", help="of --rerank: of the distance; default: 0.3")
    add("--spec", type=Path, metavar="FILE", help="re-rank as the block re_ranking of a TAO experiment says")
    add(
        "--query-expansion",
        type=whole(0, 1000),
        default=0,
        metavar="N",
        help="average each query with its N nearest pictures; default: 0, none",
    )
    _add_vectors(parser)
    add("--report", type=Path, metavar="FOLDER", help="write report.json, report.md, report.html and the charts there")
    add(
        "--compare",
        type=Path,
        metavar="REPORT.json",
        help="an earlier run over the same queries: which of the two is better, or that they cannot be told apart",
    )
    add("--json", action="store_true", help="print the report's JSON")
    add(
        "--check", action="store_true", help="look at the data set alone, and say what it has and what is wrong with it"
    )
    add("--group-into", type=Path, metavar="FOLDER", help="copy the data set into a folder for each identity, and end")
    _add_statistics(parser)


def add_calibrate(parser: argparse.ArgumentParser) -> None:
    """Add those of `calibrate`, but for the server's."""
    add = parser.add_argument
    add("source", nargs="+", type=Path, metavar="SOURCE", help="files of `stream`, or one data set; see below")
    add("--output", "-o", type=Path, required=True, metavar="OUT.json", help="where the threshold goes")
    add(
        "--false-match-rate",
        type=number(1e-7, 0.5),
        default=0.001,
        metavar="R",
        help="how many pairs of two people may count as one, as a share; default: 0.001",
    )
    _add_dataset(parser)
    _add_vectors(parser)
    _add_statistics(parser)


def _add_dataset(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--layout", choices=[layout.value for layout in Layout], help="default: what the files look like")
    add("--query", type=Path, metavar="PATH", help="a folder or a list of TAO, in place of the data set's own")
    add("--gallery", type=Path, metavar="PATH", help="the same for the gallery")
    add(
        "--protocol",
        choices=[protocol.value for protocol in Protocol],
        help="what a query may find; default: cross-camera where cameras are known",
    )
    add(
        "--split",
        choices=[Split.FIRST.value, Split.EACH.value],
        help="of one set: the first picture of each identity is the query, or each picture in turn; default: each, and "
        "first for MOTChallenge",
    )
    add("--min-visibility", type=number(0, 1), default=0.0, metavar="V", help="of MOTChallenge, 0 to 1; default: 0")
    add(
        "--shared-identities",
        action="store_true",
        help="the sequences of a MOTChallenge folder have the same people under the same ids",
    )
    add("--identities", type=whole(1, 1 << 31), metavar="N", help="draw N identities, and leave out all others")


def _add_vectors(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--vectors",
        type=Path,
        action="append",
        metavar="FILE",
        help="vectors by the pictures' names: the .npz of `stream`, or TAO's .json; may be given more than once",
    )
    add("--model-file", type=Path, metavar="FILE", help="start a server of this model for the run, and end it after")
    add("--profile", metavar="NAME", help="of --model-file: its preprocessing")
    add("--cache", type=Path, metavar="FOLDER", help="keep vectors there, and use those that are there")


def _add_statistics(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--confidence", type=number(0.5, 0.999), default=0.95, metavar="C", help="of the intervals; default: 0.95")
    add("--seed", type=whole(0, 1 << 62), default=0, metavar="N", help="of every draw; default: 0")
    add("--quiet", "-q", action="store_true", help="no progress bars")
