"""The server and its models, as the protocol describes them. The HTTP wire writes the same messages as JSON.

Traps: clients compare names and shapes with their own, so they are the network's. `dims` are those of one crop, a
metadata's shape begins with the batch. And `max_batch_size` is of a request, not of the network's batches: clients
refuse to send more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from reidstream_engines.protocol import Health
from reidstream_proto.kserve import inference_pb2 as pb
from reidstream_server import __version__
from reidstream_server.runtime.models import ModelTable, ServedModel

from .asked import VERSION
from .counts import Duration, InferenceCounts, ModelCounts, durations
from .inference import find
from .regions import Region
from .tensors import network_shape

_EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository", "statistics")
_SHARED_MEMORY = "system_shared_memory"
_ANY = -1
_FLOAT_BYTES = 4


class Described:
    """Event loop only. `max_crops`: of a request. `max_tensor_bytes`: of a request's tensors. `shared_memory`: whether
    tensors may lie there. `leaving`: whether the server takes no new calls.
    """

    def __init__(
        self,
        models: ModelTable,
        counts: InferenceCounts,
        *,
        max_crops: int,
        max_tensor_bytes: int,
        shared_memory: bool,
        leaving: Callable[[], bool],
    ) -> None:
        self._models = models
        self._counts = counts
        self._max_crops = max_crops
        self._max_tensor_bytes = max_tensor_bytes
        self._extensions = (*_EXTENSIONS, *([_SHARED_MEMORY] if shared_memory else []))
        self._leaving = leaving

    @property
    def ready(self) -> bool:
        """Whether the server takes calls."""
        return not self._leaving()

    def model_ready(self, name: str, version: str) -> bool:
        """Raises UnknownModel, InvalidCall."""
        return self.ready and _serves(find(self._models, name, version))

    def server(self) -> pb.ServerMetadataResponse:
        """What this is."""
        return pb.ServerMetadataResponse(name="reidstream", version=__version__, extensions=self._extensions)

    def metadata(self, name: str, version: str) -> pb.ModelMetadataResponse:
        """Raises UnknownModel, InvalidCall."""
        model = find(self._models, name, version)
        spec, tensor = model.spec, pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=[VERSION],
            platform=model.engine.info.engine,
            inputs=[tensor(name=spec.input.name, datatype="FP32", shape=[_ANY, *network_shape(spec.input)])],
            outputs=[tensor(name=spec.output.name, datatype="FP32", shape=[_ANY, spec.output.dim])],
        )

    def config(self, name: str, version: str) -> pb.ModelConfig:
        """Raises UnknownModel, InvalidCall."""
        model = find(self._models, name, version)
        spec, info = model.spec, model.engine.info
        shape = network_shape(spec.input)
        fitting = self._max_tensor_bytes // (shape[0] * shape[1] * shape[2] * _FLOAT_BYTES)
        said = {
            "space_id": spec.space_id,
            "profile": spec.profile,
            "artifact_sha256": spec.artifact_sha256,
            "l2_normalize": str(spec.output.l2_normalize).lower(),
            "device": info.device,
            "precision": info.precision,
        }
        return pb.ModelConfig(
            name=model.name,
            platform=info.engine,
            backend=info.engine,
            version_policy=pb.ModelVersionPolicy(specific=pb.ModelVersionPolicy.Specific(versions=[int(VERSION)])),
            max_batch_size=max(1, min(self._max_crops, fitting)),
            input=[
                pb.ModelInput(
                    name=spec.input.name, data_type=pb.TYPE_FP32, format=pb.ModelInput.FORMAT_NCHW, dims=shape
                )
            ],
            output=[pb.ModelOutput(name=spec.output.name, data_type=pb.TYPE_FP32, dims=[spec.output.dim])],
            parameters={key: pb.ModelParameter(string_value=value) for key, value in said.items()},
            model_transaction_policy=pb.ModelTransactionPolicy(decoupled=False),
        )

    def statistics(self, name: str, version: str) -> pb.ModelStatisticsResponse:
        """Of one model, or without a name of all. Raises UnknownModel, InvalidCall."""
        found: Iterable[ServedModel] = [find(self._models, name, version)] if name else self._models.models
        return pb.ModelStatisticsResponse(
            model_stats=[_statistics(model, self._counts.of(model.index)) for model in found]
        )

    def index(self, *, ready: bool) -> pb.RepositoryIndexResponse:
        """The models; only those that are `ready` if that is asked."""
        index = pb.RepositoryIndexResponse.ModelIndex
        return pb.RepositoryIndexResponse(
            models=[
                index(name=model.name, version=VERSION, state="READY" if _serves(model) else "UNAVAILABLE")
                for model in self._models.models
                if _serves(model) or not ready
            ]
        )


def described_region(region: Region) -> pb.SystemSharedMemoryStatusResponse.RegionStatus:
    """As it was registered."""
    return pb.SystemSharedMemoryStatusResponse.RegionStatus(
        name=region.name, key=region.key, offset=region.offset, byte_size=region.size_bytes
    )


def _serves(model: ServedModel) -> bool:
    return model.engine.health() is Health.SERVING


def _statistics(model: ServedModel, counts: ModelCounts) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=model.name,
        version=VERSION,
        last_inference=counts.last_ms,
        inference_count=counts.inferences,
        execution_count=counts.executions,
        inference_stats=pb.InferStatistics(**{name: _duration(one) for name, one in durations(counts).items()}),
        batch_stats=[
            pb.InferBatchStatistics(batch_size=size, compute_infer=_duration(one))
            for size, one in sorted(counts.batches.items())
        ],
    )


def _duration(one: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=one.count, ns=one.ns)
