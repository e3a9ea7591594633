"""Models: what is served by what, whether all servers agree, and what the self-test found."""

from __future__ import annotations

from deploy.prometheus.alerts import MAX_BATCH_FAULTS

from .page import Page, Placed, Section
from .panels import Query, Steps, facts, lines, number
from .promql import lowest, of, rate, share, total, worst

_INFO = "reidstream_model_info"
_BUILD = "reidstream_build_info"
_LEAST_COSINE = 0.9999


def models() -> Page:
    """The third dashboard."""
    return Page(
        name="models",
        title="reidstream / 3 Models and self-test",
        description="Do all servers give the same vectors, and does each run what it was meant to run?",
        sections=(_now(), _facts(), _engines(), _tests()),
    )


def _now() -> Section:
    spaces = number(
        "How many spaces does one model have?",
        "Embedding spaces under one name of a model, over all chosen servers; the worst model. Vectors of two spaces "
        "must not be compared, so it must be 1. During a change of models it is 2 for a while. If it is 2 for "
        "longer, the table below says which server has which.",
        "short",
        Query(f"max(count by (model) (count by (model, space_id) ({of(_INFO)})))", "spaces"),
        steps=Steps(red=2),
    )
    fallback = number(
        "How many models run on a fallback?",
        "Models that another engine runs than was preferred, of all chosen servers. They answer, and are slower. "
        "The event engine_fallback in the log says why.",
        "short",
        Query(total(of("reidstream_engine_fallback")), "models"),
        steps=Steps(orange=1),
        alert="ReidstreamEngineFallback",
    )
    faults = number(
        "Which share of batches fails?",
        "Batches on which an engine raised, of the worst model in the worst server. Their crops are tried one by "
        "one, so frames are answered, and more slowly. The log has batch_failed and engine_raised.",
        "percentunit",
        Query(f"max({_faults('instance', 'model')})", "share"),
        steps=Steps(orange=0.001, red=MAX_BATCH_FAULTS),
        decimals=1,
        alert="ReidstreamEngineFailing",
    )
    cosine = number(
        "What is the lowest cosine of the self-tests?",
        "The self-test at the start compares a crop's vector in a full batch with that of the crop alone; the lowest "
        "of all models and servers. 1 on a CPU in fp32, a little less in bf16, INT8 and float16. It says that an "
        "engine agrees with itself, not that it is right.",
        "none",
        Query(lowest(of("reidstream_self_test_cosine")), "cosine"),
        steps=Steps(orange=_LEAST_COSINE, red=0.99, falling=True),
        decimals=5,
    )
    versions = number(
        "How many versions run at once?",
        "Versions of the server, of Python and of gRPC that differ between the chosen servers. During a release it "
        "is 2. If it is 2 for long, a server was forgotten: the second table names it.",
        "short",
        Query(f"count(count by (version, python, grpc) ({of(_BUILD)}))", "versions"),
        steps=Steps(orange=2),
    )
    vectors = number(
        "How many vectors a second?",
        "Vectors answered, of all models and chosen servers: the throughput. Vectors of frames that got an error "
        "meanwhile are not included.",
        "suffix: vectors/s",
        Query(total(rate("reidstream_embeddings_total")), "vectors"),
        steps=Steps(),
    )
    panels = (spaces, fallback, faults, cosine, versions, vectors)
    return Section("Now", 5, [Placed(panel, 4) for panel in panels])


def _facts() -> Section:
    served = facts(
        "What runs where?",
        "A row for each model of each server: its space, and what runs it. `precision` is what is less than fp32 in "
        "the file or in the computing. One server that differs from the others needs a look.",
        Query(of(_INFO), "{{instance}}"),
        columns=("instance", "model", "engine", "device", "precision", "version", "space_id", "job"),
    )
    built = facts(
        "Which build runs where?",
        "A row for each server: its version, Python's and gRPC's. A server that was forgotten at a release is seen "
        "here.",
        Query(of(_BUILD), "{{instance}}"),
        columns=("instance", "version", "python", "grpc", "job"),
    )
    return Section("What is served", 8, [Placed(served, 16), Placed(built, 8)])


def _engines() -> Section:
    vectors = lines(
        "How many vectors does each model give?",
        "Vectors a second, of all chosen servers. Vectors of frames that got an error meanwhile are not included.",
        "suffix: vectors/s",
        Query(total(rate("reidstream_embeddings_total"), "model"), "{{model}}"),
        stacked=True,
    )
    batch = lines(
        "How long does a batch take?",
        "Mean time of a batch in its engine, for each model and server: from the preparation of the crops to the last "
        "vector. It grows with the size of the batch. One server slower than the others: another machine, another "
        "engine, or other programs on it.",
        "s",
        Query(
            share(
                total(rate("reidstream_engine_busy_seconds_total"), "model", "instance"),
                total(rate("reidstream_batch_size_count"), "model", "instance"),
            ),
            "{{model}} at {{instance}}",
        ),
    )
    crop = lines(
        "What does a crop cost?",
        "Mean time in the engine for each crop, over all chosen servers. It falls while batches are fuller.",
        "s",
        Query(
            share(
                total(rate("reidstream_engine_busy_seconds_total"), "model"),
                total(rate("reidstream_batch_size_sum"), "model"),
            ),
            "{{model}}",
        ),
    )
    return Section("Engines", 8, [Placed(panel, 8) for panel in (vectors, batch, crop)])


def _tests() -> Section:
    faults = lines(
        "When did batches fail?",
        "The share of batches on which the engine raised, for each model and server. A part of them for long: one "
        "kind of crop, or a device that is failing.",
        "percentunit",
        Query(_faults("model", "instance"), "{{model}} at {{instance}}"),
        steps=Steps(red=MAX_BATCH_FAULTS),
        most=0.1,
        alert="ReidstreamEngineFailing",
    )
    failed = lines(
        "How many boxes fail?",
        "Boxes a second of answered frames that have no vector because the engine failed on their crop, also when it "
        "was tried alone. Boxes that are too small or outside are not included.",
        "suffix: boxes/s",
        Query(total(rate("reidstream_boxes_total", 'outcome="failed"'), "instance"), "{{instance}}"),
    )
    cosine = lines(
        "What did each self-test find?",
        "The lowest cosine between a crop's vector in a full batch and alone, for each model and server. It changes "
        "only when a server starts. Lower than before with the same file: another engine, or another precision.",
        "none",
        Query(lowest(of("reidstream_self_test_cosine"), "model", "instance"), "{{model}} at {{instance}}"),
    )
    fallback = lines(
        "When did a fallback run?",
        "1 while another engine runs than was preferred, for each model and server. It changes only when a server "
        "starts.",
        "none",
        Query(worst(of("reidstream_engine_fallback"), "model", "instance"), "{{model}} at {{instance}}"),
        most=1,
    )
    return Section("Faults and self-tests", 8, [Placed(panel, 6) for panel in (faults, failed, cosine, fallback)])


def _faults(*by: str) -> str:
    return share(total(rate("reidstream_batch_faults_total"), *by), total(rate("reidstream_batch_size_count"), *by))
