"""Brings pictures into a device's memory. They are decoded into pinned memory, which the device then copies; or the
device itself decodes them, if it can.

Why `stage` does not wait for the copy: a batch waits for it on the device, by the frame's event, while this thread
decodes the next picture. A frame is copied once, whatever the number of its boxes and models. Traps: the pinned memory
is read until that event, and the device's memory until the last batch has read it; both are given back with these
events. And a frame belongs to the device on which it was staged.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

from typing_extensions import Self, override

from reidstream_engines.decoding.cost import device_ns, scratch_bytes
from reidstream_engines.errors import EngineFault
from reidstream_engines.image import EncodedImage, Image, PixelBox, PixelFormat
from reidstream_engines.protocol import DeviceUsage, PoolUsage, StagedFrame, Stager

from .decoders import DeviceDecoder, FrameDecoder, PixelLayout
from .driver import Context, DeviceBuffer, Recording, Stream
from .kernel_params import DeviceFrame
from .memory import Block, Pool, device_pool, pinned_pool, size_class


class CudaFrame(StagedFrame):
    """Pixels on device `device`: the picture's, from `origin` (x, y) on. They are there once `ready` has passed.

    `pixels` of a closed frame raises EngineFault: the memory may hold another frame already.
    """

    __slots__ = ("_block", "_lock", "_pixels", "_pool", "_readers", "device", "origin", "ready")

    def __init__(self, device: int, layout: PixelLayout, block: Block[DeviceBuffer], pool: Pool[DeviceBuffer]) -> None:
        self.device = device
        self.origin = layout.origin
        self.ready = block.done
        self._pixels = _device_frame(layout, block.buffer.address)
        self._block: Block[DeviceBuffer] | None = block
        self._pool = pool
        self._readers: list[Recording] = []
        self._lock = threading.Lock()

    @property
    def pixels(self) -> DeviceFrame:
        """The frame's record for the kernel's table."""
        if self._block is None:
            raise EngineFault("a staged frame was used after it was closed")
        return self._pixels

    def read_until(self, done: Recording) -> None:
        """Say that a batch reads the pixels until `done`. Called once for each batch."""
        with self._lock:
            self._readers.append(done)

    @override
    def close(self) -> None:
        """Give the memory back. Batches on their way may still read it: it is reused only after them."""
        with self._lock:
            block, self._block = self._block, None
        if block is not None:
            self._pool.give(block, (self.ready, *self._readers))

    @override
    def __enter__(self) -> Self:
        return self

    @override
    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class CudaStager(Stager):
    """`max_bytes` bounds the device memory of frames, and the pinned memory through which they are copied.

    `on_device` decodes what it takes and is closed with the stager; `decoder` decodes everything else.
    """

    def __init__(
        self, context: Context, decoder: FrameDecoder, *, max_bytes: int, on_device: DeviceDecoder | None = None
    ) -> None:
        self._context = context
        self._decoder = decoder
        self._on_device = on_device
        context.use()
        self._stream = Stream(context)
        self._pinned = pinned_pool(context, max_bytes)
        self._device = device_pool(context, max_bytes)
        self._uploads = 0
        self._decoded = 0
        self._declined = 0
        self._lock = threading.Lock()

    @property
    def uploads(self) -> int:
        """Frames copied to the device so far."""
        return self._uploads

    @property
    def decoded(self) -> int:
        """Frames decoded on the device so far."""
        return self._decoded

    def usage(self) -> PoolUsage:
        """The device memory of frames."""
        return self._device.usage()

    @override
    def stage(self, image: Image, boxes: Sequence[PixelBox]) -> CudaFrame:
        """Raises OutOfDeviceMemory, too, if more than `max_bytes` would be staged."""
        self._context.use()
        layout = self._decoder.layout(image, boxes)
        # Without boxes the whole picture must be checked, and only the CPU's decoders notice every fault in it.
        block = self._decode_there(self._on_device, image, layout) if self._on_device is not None and boxes else None
        if block is None:
            block = self._upload(image, boxes, layout)
        return CudaFrame(self._context.index, layout, block, self._device)

    def _decode_there(self, decoder: DeviceDecoder, image: Image, layout: PixelLayout) -> Block[DeviceBuffer] | None:
        if not decoder.takes(image):
            return None
        block = self._device.take(layout.size)
        try:
            there = decoder.decode(image, layout, block.buffer.address, block.done)
        except BaseException:
            self._device.drop(block)
            raise
        if not there:
            self._device.give(block, (block.done,))
            with self._lock:
                self._declined += 1
            return None
        with self._lock:
            self._decoded += 1
        return block

    def _upload(self, image: Image, boxes: Sequence[PixelBox], layout: PixelLayout) -> Block[DeviceBuffer]:
        pinned = self._pinned.take(layout.size)
        try:
            self._decoder.decode(image, boxes, pinned.buffer.array)
            block = self._device.take(layout.size)
        except BaseException:
            self._pinned.give(pinned, ())
            raise
        try:
            self._stream.upload(block.buffer.address, pinned.buffer.address, layout.size)
            self._stream.record(pinned.done)
            self._stream.record(block.done)
        except BaseException:
            self._device.drop(block)
            self._pinned.drop(pinned)
            raise
        self._pinned.give(pinned, (pinned.done,))
        with self._lock:
            self._uploads += 1
        return block

    @override
    def instant(self, image: Image) -> bool:
        """Never: every picture is copied to the device."""
        return False

    @override
    def staged_bytes(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        """Bytes of device memory, and what decoding needs in this machine's."""
        layout = self._decoder.layout(image, boxes)
        size = size_class(layout.size)
        return size + scratch_bytes(image, layout.width * layout.height) if isinstance(image, EncodedImage) else size

    @override
    def staging_ns(self, image: Image, boxes: Sequence[PixelBox]) -> int:
        if self._on_device is not None and boxes and self._on_device.takes(image):
            return device_ns(image)
        return self._decoder.staging_ns(image, boxes)

    @override
    def devices(self) -> tuple[DeviceUsage]:
        return (
            DeviceUsage(
                device=f"cuda:{self._context.index}",
                memory=self._device.usage(),
                pinned=self._pinned.usage(),
                decoded=self._decoded,
                declined=self._declined,
            ),
        )

    def close(self) -> None:
        """Free the memory. Every frame must be closed, and every engine that read one."""
        self._context.use_to_free()
        if self._on_device is not None:
            self._on_device.close()
        self._stream.close()
        self._pinned.close()
        self._device.close()


def _device_frame(layout: PixelLayout, address: int) -> DeviceFrame:
    nv12 = layout.format is PixelFormat.NV12
    return DeviceFrame(
        data=address,
        format=layout.format,
        width=layout.width,
        height=layout.height,
        pitch=layout.pitch,
        chroma=address + layout.chroma_offset if nv12 else 0,
        chroma_pitch=layout.pitch if nv12 else 0,
        color_matrix=layout.color_matrix,
        color_range=layout.color_range,
    )
