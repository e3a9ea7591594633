"""`reidstream-client stream`: a source, a session, and what the run leaves behind.

Trap: what can be wrong with files is found before the server is asked: boxes are read and outputs are opened first.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, NoReturn

from tqdm import tqdm

from reidstream_client.choices import TrackOptions
from reidstream_client.errors import FileError, InvalidRequest, ReidError
from reidstream_client.options import TrackingStreamOptions
from reidstream_client.redaction import without_secrets
from reidstream_client.session.sync_session import Session
from reidstream_client.sync import ReidClient
from reidstream_client.types import FrameEmbeddings, SessionEvent, TrackEnded

from .ending import complain
from .reaching import make_client
from .sources import FrameBoxes, Source, SourceCutShort, SourceOptions, Use, open_source
from .status import Status
from .stream_flags import POLICIES
from .streaming import stream_source
from .summary import Summary
from .writers import JsonLinesWriter, NpzWriter, Writer, check_apart

_LONGEST_S: Final = 3600.0  # the most there is: how fast a file is streamed must not decide what is one track


def stream(arguments: argparse.Namespace) -> int:
    """Run it; returns the exit status. Raises ReidError."""
    options = SourceOptions(
        boxes=arguments.boxes,
        use=None if arguments.use is None else Use(arguments.use),
        min_visibility=arguments.min_visibility,
        first_frame=arguments.first_frame,
        upright=arguments.exif_orientation,
        jpeg_quality=arguments.jpeg_quality,
    )
    if arguments.shared_memory and arguments.jpeg_quality is not None:
        raise FileError("--shared-memory and --jpeg-quality exclude each other: memory that is shared holds raw pixels")
    source = open_source(arguments.source, options)
    with contextlib.ExitStack() as stack:
        run = _Run(arguments, source, _writers(arguments, source, stack))
        status = run.from_open_to_close()
    if not arguments.quiet and run.summary.frames:
        print(without_secrets(f"wrote {arguments.output}"))
    return status or (Status.NOTHING if run.summary.boxes and not run.summary.embedded else 0)


def _writers(arguments: argparse.Namespace, source: Source, stack: contextlib.ExitStack) -> list[Writer]:
    outputs = {"--output": arguments.output, "--jsonl": arguments.jsonl}
    inputs = {"SOURCE": arguments.source, "--boxes": arguments.boxes}
    check_apart(*({name: path for name, path in paths.items() if path is not None} for paths in (outputs, inputs)))
    arrays = NpzWriter(arguments.output, longest_name=source.longest_name, tracks=arguments.tracks is not None)
    writers: list[Writer] = [stack.enter_context(arrays)]
    if arguments.jsonl is not None:
        writers.append(stack.enter_context(JsonLinesWriter(arguments.jsonl)))
    return writers


@dataclass(frozen=True, slots=True)
class _Run:
    arguments: argparse.Namespace
    source: Source
    writers: list[Writer]
    summary: Summary = field(default_factory=Summary)

    def from_open_to_close(self) -> int:
        """The exit status, if what came is worth keeping; else raises."""
        said = self.arguments
        budget_s = None if said.budget_ms is None else said.budget_ms / 1000
        with (
            make_client(said, model=said.model, latency_budget_s=budget_s, upright=said.exif_orientation) as client,
            self._opening(client) as session,
        ):
            if session.opened.shared_memory_refusal and not said.quiet:
                print(f"frames are sent: {session.opened.shared_memory_refusal}", file=sys.stderr)
            for writer in self.writers:
                writer.begin(session.opened.models[0])
            try:
                self._stream(session)
            except ReidError as error:
                if isinstance(error, FileError | InvalidRequest) and not isinstance(error, SourceCutShort):
                    raise
                complain(error)
                return Status.ENDED_EARLY
        return 0

    def _opening(self, client: ReidClient) -> AbstractContextManager[Session[SessionEvent]]:
        said = self.arguments
        options: TrackingStreamOptions = {
            "camera_id": said.camera,
            "overload_policy": POLICIES[said.policy],
            "shared_memory": said.shared_memory,
            "tracks": None if said.tracks is None else TrackOptions(embed=said.tracks, timeout_s=_LONGEST_S),
        }
        if not said.give_up_after:
            return client.stream(**options)
        client.models()  # a wrong address shows now, and not after all that patience
        return client.resuming_stream(**options, give_up_after_s=said.give_up_after)

    def _stream(self, session: Session[SessionEvent]) -> None:
        """Every frame and every answer; then, also after an error, what people should know."""
        quiet = self.arguments.quiet
        bar: tqdm[NoReturn] = tqdm(total=self.source.total, unit="frame", disable=quiet or not sys.stderr.isatty())

        def on_answer(name: str, boxes: FrameBoxes, answer: FrameEmbeddings) -> None:
            self.summary.add(answer)
            for writer in self.writers:
                writer.add(name, boxes, answer)
            bar.update()

        def on_end(track: TrackEnded) -> None:
            self.summary.end(track)
            for writer in self.writers:
                writer.end(track)

        start = time.monotonic()
        try:
            stream_source(self.source, session, fps=self.arguments.realtime, on_answer=on_answer, on_end=on_end)
        finally:
            elapsed_s = time.monotonic() - start
            bar.close()
            if not quiet and self.summary.frames:
                print(self.summary.text(elapsed_s))
                if session.epoch:
                    print(f"resumed after a cut: {session.epoch}")
            if not quiet and self.source.pairing is not None:
                for line in self.source.pairing.lines():
                    print(without_secrets(line))
