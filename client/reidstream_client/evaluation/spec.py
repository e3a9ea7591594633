"""The `re_ranking` block of a TAO experiment file, so that a run here re-ranks as it did there.

Trap: the file has many other settings (model, training), which say nothing about vectors that a server makes. They are
not read.
"""

from __future__ import annotations

from pathlib import Path

from reidstream_client.errors import FileError, InvalidRequest, MissingExtra

from .metrics.reranking import Reranking

_KEYS = {"re_ranking", "k1", "k2", "lambda_value"}


def read_spec(path: Path) -> Reranking | None:
    """The re-ranking of an experiment file; None if the file turns it off. Raises FileError, MissingExtra."""
    try:
        import yaml  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtra(
            "--spec needs PyYAML: pip install 'reidstream-client[evaluate]', or give --rerank --k1 --k2 --lambda"
        ) from None
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    block = read.get("re_ranking") if isinstance(read, dict) else None
    if not isinstance(block, dict):
        raise FileError(f"{path} has no block re_ranking with k1, k2 and lambda_value")
    unknown = sorted(str(key) for key in block if key not in _KEYS)
    if unknown:
        raise FileError(f"re_ranking of {path} has {', '.join(unknown)}; known are {', '.join(sorted(_KEYS))}")
    if block.get("re_ranking", True) is not True:
        return None
    usual = Reranking()
    try:
        return Reranking(
            k1=_whole(block.get("k1", usual.k1)),
            k2=_whole(block.get("k2", usual.k2)),
            weight=float(block.get("lambda_value", usual.weight)),
        )
    except (TypeError, ValueError, InvalidRequest) as error:
        raise FileError(f"re_ranking of {path}: {error}") from None


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"k1 and k2 must be whole numbers, not {value!r}")
    return value
