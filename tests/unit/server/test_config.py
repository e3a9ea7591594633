"""The configuration as a whole: precedence, problems, rules between settings."""

import dataclasses
import os
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reidstream_engines.cpu import options
from reidstream_server.config import (
    EngineSettings,
    LimitSettings,
    ListenSettings,
    ModelFile,
    ServerConfig,
    load_config,
    redacted,
    unread_variables,
)
from reidstream_server.config.admin_access import AdminAccess
from reidstream_server.config.runtimes import GpuPrecision, InferenceRuntime, Precision
from reidstream_server.config.table import CONFIG_FILE, SETTINGS, Setting
from reidstream_server.errors import ConfigError
from reidstream_server.logs import LogFormat, LogLevel


def problems(argv: list[str], environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(argv, environ or {})
    return str(caught.value).split("\n")


def toml(folder: Path, text: str) -> str:
    path = folder / "server.toml"
    path.write_text(text)
    return str(path)


def test_no_problem_and_no_listing_has_a_password_in_it() -> None:
    """An address where a file or a host is asked for is shown without it."""
    address = "https://me:sesame@hub/a.onnx"
    said = problems(["--host", address, "--profile", "nope", "--models", address, "--max-batch", address])
    assert any("***@hub" in line for line in said)
    assert "sesame" not in "".join(said)
    listed = redacted(load_config(["--model", address, "--profile", "torchreid"], {}))
    assert "***@hub/a.onnx" in listed
    assert "sesame" not in listed


def test_nothing_given_is_the_default() -> None:
    """Without flags, environment and file the configuration is ServerConfig(), and foreign variables are no matter."""
    assert load_config([], {"PATH": "/bin", "REIDSTREAMER": "x"}) == ServerConfig()


def test_defaults_are_those_that_were_decided() -> None:
    """Operators and documents rely on the defaults; a change of one is a decision, not an accident."""
    config = ServerConfig()
    assert config.listen == ListenSettings(
        host="127.0.0.1",
        port=50051,
        accept_compression=False,
        metrics_enabled=True,
        metrics_host="127.0.0.1",
        metrics_port=9464,
        rpc_metrics=False,
        triton_metrics=False,
    )
    assert config.engine == EngineSettings(
        runtime=InferenceRuntime.ONNXRUNTIME,
        precision=Precision.FP32,
        providers=("CPUExecutionProvider",),
        cores=0,
        threads_per_call=0,
        slots=0,
        max_batch=0,
        tune_seconds=2.0,
        tuning_file=None,
        spinning=False,
        decode_threads=0,
        jpeg_region=True,
        jpeg_scale=1,
    )
    assert config.limits == LimitSettings(
        max_message_bytes=64 << 20,
        max_image_pixels=40_000_000,
        max_boxes_per_frame=1000,
        min_box_px=1,
        max_window_frames=64,
        max_window_bytes=256 << 20,
        default_window_frames=16,
        max_receiving_bytes=512 << 20,
        max_queue_boxes=8192,
        max_queue_bytes=512 << 20,
        max_parked_bytes=512 << 20,
        max_staged_bytes=512 << 20,
        max_held_answer_bytes=256 << 20,
        max_answer_bytes=16 << 20,
        max_sessions=512,
        max_sessions_per_client=256,
        max_calls=512,
        max_tracks_per_session=512,
        max_track_bytes=256 << 20,
    )
    assert dataclasses.astuple(config.scheduling) == (0.0, 1000.0, 8, 8, 60.0, 30.0, 30.0, 10.0, 10.0, 3600.0)
    assert dataclasses.astuple(config.security) == (None, None, None, None, AdminAccess.LOOPBACK, False)
    assert dataclasses.astuple(config.lifecycle) == (20.0, 0.0, False)
    assert dataclasses.astuple(config.tracing) == (None, None)
    assert dataclasses.astuple(config.log) == (LogLevel.INFO, LogFormat.TEXT)


def test_the_later_source_counts(tmp_path: Path) -> None:
    """A file beats a default, a variable the file, a flag the variable; each setting for itself."""
    path = toml(tmp_path, "slots = 3\nmax_batch = 3\nquantum_boxes = 3")
    environ = {"REIDSTREAM_CONFIG": path, "REIDSTREAM_MAX_BATCH": "4", "REIDSTREAM_QUANTUM_BOXES": "4"}
    config = load_config(["--quantum-boxes", "5"], environ)
    assert (config.engine.slots, config.engine.max_batch, config.scheduling.quantum_boxes) == (3, 4, 5)


def test_a_flag_names_the_file_before_the_variable_does(tmp_path: Path) -> None:
    """--config replaces REIDSTREAM_CONFIG, whose file is then not read."""
    path = toml(tmp_path, "slots = 3")
    assert load_config([f"--config={path}"], {"REIDSTREAM_CONFIG": "/nowhere"}).engine.slots == 3


OTHER_VALUES: dict[str, tuple[str, object]] = {
    "models": ("person=a.onnx", (ModelFile(name="person", path=Path("a.onnx").absolute()),)),
    "profile": ("tao", "tao"),
    "host": ("::1", "::1"),
    "port": ("0", 0),
    "accept_compression": ("true", True),
    "kserve": ("true", True),
    "metrics_enabled": ("false", False),
    "http_host": ("0.0.0.0", "0.0.0.0"),  # noqa: S104 - only a value here
    "http_port": ("8080", 8080),
    "metrics_host": ("0.0.0.0", "0.0.0.0"),  # noqa: S104 - only a value here
    "metrics_port": ("65535", 65535),
    "rpc_metrics": ("true", True),
    "triton_metrics": ("true", True),
    "tls_cert_file": ("/tls/server.pem", Path("/tls/server.pem")),
    "tls_key_file": ("/tls/server.key", Path("/tls/server.key")),
    "tls_client_ca_file": ("/tls/ca.pem", Path("/tls/ca.pem")),
    "tokens_file": ("/tls/tokens", Path("/tls/tokens")),
    "admin": ("off", AdminAccess.OFF),
    "insecure": ("true", True),
    "device": ("cuda:1", "cuda:1"),
    "require_gpu": ("true", True),
    "gpu_precision": ("fp16", GpuPrecision.FP16),
    "gpu_decode": ("true", True),
    "gpu_cache": ("/var/cache/gpu", Path("/var/cache/gpu")),
    "runtime": ("openvino", InferenceRuntime.OPENVINO),
    "precision": ("bf16", Precision.BF16),
    "providers": ("A,B", ("A", "B")),
    "cores": ("6", 6),
    "threads_per_call": ("4", 4),
    "slots": ("16", 16),
    "max_batch": ("1024", 1024),
    "tune_seconds": ("0.5", 0.5),
    "tuning_file": ("/var/lib/tuning.json", Path("/var/lib/tuning.json")),
    "spinning": ("true", True),
    "decode_threads": ("3", 3),
    "jpeg_region": ("false", False),
    "jpeg_scale": ("4", 4),
    "max_message_bytes": ("32MiB", 32 << 20),
    "max_image_pixels": ("1_000_000", 1_000_000),
    "max_boxes_per_frame": ("10", 10),
    "min_box_px": ("2", 2),
    "max_window_frames": ("65", 65),
    "max_window_bytes": ("1 GiB", 1 << 30),
    "default_window_frames": ("1", 1),
    "max_queue_boxes": ("2000", 2000),
    "max_queue_bytes": ("600 MB", 600_000_000),
    "max_parked_bytes": ("600 MB", 600_000_000),
    "max_receiving_bytes": ("140 MB", 140_000_000),
    "max_staged_bytes": ("120000000", 120_000_000),
    "max_held_answer_bytes": ("1 GiB", 1 << 30),
    "max_answer_bytes": ("1KiB", 1024),
    "max_sessions": ("1", 1),
    "max_tracks_per_session": ("0", 0),
    "max_track_bytes": ("1 MB", 1_000_000),
    "max_sessions_per_client": ("1", 1),
    "max_calls": ("1", 1),
    "shared_memory": ("false", False),
    "max_shared_memory_bytes": ("1MiB", 2**20),
    "kserve_shared_memory": ("true", True),
    "max_kserve_region_bytes": ("1MiB", 2**20),
    "linger_ms": ("2.5", 2.5),
    "aging_ms": ("1", 1.0),
    "quantum_boxes": ("1", 1),
    "max_client_turns": ("3", 3),
    "batch_timeout_s": ("0.5", 0.5),
    "staging_timeout_s": ("0.6", 0.6),
    "stall_timeout_s": ("0.5", 0.5),
    "open_timeout_s": ("1e1", 10.0),
    "receive_timeout_s": ("0.5", 0.5),
    "idle_timeout_s": ("0", 0.0),
    "drain_timeout_s": ("0", 0.0),
    "max_connection_age_s": ("3600", 3600.0),
    "dry_run": ("true", True),
    "log_level": ("debug", LogLevel.DEBUG),
    "log_format": ("json", LogFormat.JSON),
    "tracing_endpoint": ("https://collector:4317", "https://collector:4317"),
    "tracing_ratio": ("0.5", 0.5),
}


NEEDED_WITH = {
    "precision": ["--runtime=openvino"],
    "profile": ["--model=person=a.onnx"],
    "kserve_shared_memory": ["--kserve"],
    "tls_cert_file": ["--tls-key-file=k"],
    "tls_key_file": ["--tls-cert-file=c"],
    "tls_client_ca_file": ["--tls-cert-file=c", "--tls-key-file=k"],
}


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_reaches_its_field_from_every_source(tmp_path: Path, setting: Setting) -> None:
    """A flag, its variable and its key of the file mean the same, and land in the field of that name."""
    text, expected = OTHER_VALUES[setting.name]
    written = (
        f"[{{name = 'person', path = '{Path('a.onnx').absolute()}'}}]" if setting.name == "models" else f"'{text}'"
    )
    other = NEEDED_WITH.get(setting.name, [])
    for config in (
        load_config([*other, f"{setting.flag}={text}"], {}),
        load_config(other, {setting.variable: text}),
        load_config([*other, "--config", toml(tmp_path, f"{setting.name} = {written}")], {}),
    ):
        value = getattr(getattr(config, setting.owner) if setting.owner else config, setting.name)
        if setting.name == "models":
            value = tuple(dataclasses.replace(model, path=model.path.absolute()) for model in value)
        assert value == expected
        assert type(value) is type(expected)


def test_toml_may_be_typed(tmp_path: Path) -> None:
    """Numbers, switches and lists need no quotes in a file."""
    text = 'spinning = true\nlinger_ms = 2\nport = 1\nmax_message_bytes = 8192\nproviders = ["A", "B"]'
    config = load_config(["--config", toml(tmp_path, text)], {})
    assert config.engine == EngineSettings(spinning=True, providers=("A", "B"))
    assert (config.listen.port, config.limits.max_message_bytes) == (1, 8192)
    assert config.scheduling.linger_ms == 2.0
    assert isinstance(config.scheduling.linger_ms, float)


def test_all_problems_are_reported_at_once_with_value_range_and_origin(tmp_path: Path) -> None:
    """Bad values and unknown names of all three sources, a missing value and a broken rule: one line each."""
    path = toml(tmp_path, 'slots = 257\nmax_bach = 3\n[[models]]\nname = "a"\n')
    argv = ["--port", "70000", "--no-such", "1", "--host", "--linger-ms=inf", "--no-spinning=1", "stray"]
    environ = {
        "REIDSTREAM_CONFIG": path,
        "REIDSTREAM_MAX_SESSIONS": "0",
        "REIDSTREAM_TOKENS_FLIE": "tokens",
        "REIDSTREAM_MAX_QUEUE_BOXES": "500",
    }
    assert problems(argv, environ) == [
        "--no-such (command line): unknown; see --help",
        "host (flag --host): needs a value: HOST",
        'spinning = "1" (flag --no-spinning): takes no value',
        "stray (command line): unknown; see --help",
        "REIDSTREAM_TOKENS_FLIE (environment): unknown; did you mean REIDSTREAM_TOKENS_FILE?",
        f"max_bach (file {path}): unknown; did you mean max_batch?",
        f'models[0].path = "" (file {path}): must be the path of a model file',
        'port = "70000" (flag --port): must be a whole number, 0 to 65535',
        f"slots = 257 (file {path}): must be a whole number, 0 to 256 batches",
        'max_sessions = "0" (environment REIDSTREAM_MAX_SESSIONS): must be a whole number, 1 to 100000 sessions',
        'linger_ms = "inf" (flag --linger-ms): must be a number, 0 to 1000 ms',
        (
            "max_queue_boxes = 500 (environment REIDSTREAM_MAX_QUEUE_BOXES), max_boxes_per_frame = 1000 (default): "
            "max_queue_boxes must be at least 2 * max_boxes_per_frame, so that one frame cannot fill the queue"
        ),
    ]


def test_an_overridden_value_is_checked_too() -> None:
    """A bad variable is reported although a flag overrides it."""
    [problem] = problems(["--port", "1"], {"REIDSTREAM_PORT": "x"})
    assert problem.startswith('port = "x" (environment REIDSTREAM_PORT)')


@pytest.mark.parametrize(
    ("argv", "suggestion"),
    [
        (["--prot", "1"], "--port?"),
        (["--max_batch", "1"], "--max-batch?"),
        (["--no-spining"], "--no-spinning?"),
        (["--models", "a.onnx"], "--model?"),
        (["--verson"], "--version?"),
        (["port"], "--port?"),
    ],
)
def test_a_misspelt_flag_is_answered_with_the_nearest(argv: list[str], suggestion: str) -> None:
    """One line: the flag's value is not a second problem."""
    [problem] = problems(argv)
    assert problem == f"{argv[0]} (command line): unknown; did you mean {suggestion}"


def test_a_stray_word_is_answered_with_no_flag_that_merely_looks_like_it() -> None:
    """Who types `serve` is not to be told to serve without TLS."""
    assert problems(["serve"]) == ["serve (command line): unknown; see --help"]


def test_flags_are_not_abbreviated() -> None:
    """A prefix that is unique today would change its meaning with the next flag."""
    [problem] = problems(["--metrics-p", "1"])
    assert "unknown" in problem


def test_a_repeated_flag_counts_once_and_models_add_up() -> None:
    """The last --port counts; every --model is served, in order."""
    config = load_config(["--port=1", "--model", "a.onnx", "--port=2", "--model=dir/b.onnx"], {})
    assert config.listen.port == 2
    assert config.models == (
        ModelFile(name="a", path=Path("a.onnx")),
        ModelFile(name="b", path=Path("dir/b.onnx")),
    )


def test_a_switch_can_be_turned_off_again() -> None:
    """--no-name beats a variable."""
    assert load_config(["--no-spinning"], {"REIDSTREAM_SPINNING": "true"}).engine.spinning is False
    assert load_config(["--no-metrics-enabled"], {}).listen.metrics_enabled is False


def test_a_negative_number_is_a_value_and_not_a_flag() -> None:
    """`--port -1` is out of range, not an unknown flag."""
    assert problems(["--port", "-1"]) == ['port = "-1" (flag --port): must be a whole number, 0 to 65535']


def test_an_empty_variable_counts_as_not_set() -> None:
    """Composed environments set variables to nothing."""
    assert load_config([], {"REIDSTREAM_PORT": "", "REIDSTREAM_CONFIG": ""}) == ServerConfig()


def test_variables_that_kubernetes_sets_for_a_service_are_ignored() -> None:
    """A service named reidstream, or reidstream-metrics, does not keep the pod from starting."""
    environ = {
        "REIDSTREAM_SERVICE_HOST": "10.0.0.1",
        "REIDSTREAM_SERVICE_PORT": "50051",
        "REIDSTREAM_SERVICE_PORT_GRPC": "50051",
        "REIDSTREAM_PORT": "tcp://10.0.0.1:50051",
        "REIDSTREAM_PORT_50051_TCP": "tcp://10.0.0.1:50051",
        "REIDSTREAM_PORT_50051_TCP_PROTO": "tcp",
        "REIDSTREAM_PORT_50051_TCP_PORT": "50051",
        "REIDSTREAM_PORT_50051_TCP_ADDR": "10.0.0.1",
        "REIDSTREAM_METRICS_PORT": "tcp://10.0.0.2:9464",
        "REIDSTREAM_METRICS_SERVICE_HOST": "10.0.0.2",
        "REIDSTREAM_INSECURE_PORT": "tcp://10.0.0.3:443",
    }
    assert load_config([], environ) == ServerConfig()
    assert problems([], {"REIDSTREAM_HOST": "tcp://10.0.0.1:50051"})
    told = list(unread_variables(environ))
    assert [item.variable for item in told] == ["REIDSTREAM_METRICS_PORT", "REIDSTREAM_PORT"]  # names of settings
    assert all("enableServiceLinks: false" in item.reason for item in told)


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("REIDSTREAM_VERSION", "see --help"),
        ("REIDSTREAM_IMAGE", "see --help"),
        ("REIDSTREAM_TOKEN", "see --help"),
        ("REIDSTREAM_LOG_LEVL", "did you mean REIDSTREAM_LOG_LEVEL?"),
        ("REIDSTREAM_MODELS", "did you mean REIDSTREAM_MODEL?"),
        ("REIDSTREAM_max_batch", "did you mean REIDSTREAM_MAX_BATCH?"),
    ],
)
def test_a_variable_that_is_no_setting_stops_nothing_and_is_told(variable: str, hint: str) -> None:
    """An image's version, or a slip of the pen; its value is not shown, since it may be a secret."""
    assert load_config([], {variable: "hunter2"}) == ServerConfig()
    [told] = unread_variables({variable: "hunter2", "REIDSTREAM_PORT": "1", "REIDSTREAM_SERVER": "gate:1", "PATH": "x"})
    assert told.variable == variable
    assert hint in told.reason
    assert "hunter2" not in told.reason


@pytest.mark.parametrize(
    "variable", ["TOKENS_FLIE", "TOKENS", "TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "TLS", "INSECUR"]
)
def test_a_misspelt_setting_of_security_stops_the_start(variable: str) -> None:
    """Who wrote it meant to keep somebody out; ignored, it would let everybody in."""
    [problem] = problems([], {f"REIDSTREAM_{variable}": "x"})
    assert problem.startswith(f"REIDSTREAM_{variable} (environment): unknown; did you mean REIDSTREAM_")


def test_no_variable_of_ours_looks_like_one_of_kubernetes() -> None:
    """Every setting's variable is read, with a value of its own kind."""
    for setting in SETTINGS:
        environ = {setting.variable: "\x00"}
        assert problems([], environ)[0].startswith(setting.name), setting.variable


def test_profile_applies_to_models_without_their_own(tmp_path: Path) -> None:
    """A model's own profile stays; paths in a file are seen from its folder, an absolute one stays."""
    text = """
    profile = "torchreid"
    [[models]]
    path = "models/osnet.onnx"
    [[models]]
    name = "vehicle"
    path = "/srv/v.onnx"
    profile = "fastreid"
    """
    config = load_config([], {"REIDSTREAM_CONFIG": toml(tmp_path, text)})
    assert config.models == (
        ModelFile(name="osnet", path=tmp_path / "models/osnet.onnx", profile="torchreid"),
        ModelFile(name="vehicle", path=Path("/srv/v.onnx"), profile="fastreid"),
    )


def test_flags_replace_the_models_of_a_file(tmp_path: Path) -> None:
    """The list is one setting: the later source has all of it."""
    path = toml(tmp_path, '[[models]]\npath = "a.onnx"')
    assert [model.name for model in load_config(["--config", path, "--model", "b.onnx"], {}).models] == ["b"]


def test_variables_hold_several_models() -> None:
    """With commas between; blanks around them do not count."""
    config = load_config([], {"REIDSTREAM_MODEL": "a.onnx, person=models/b.onnx"})
    assert [(model.name, str(model.path)) for model in config.models] == [("a", "a.onnx"), ("person", "models/b.onnx")]


@pytest.mark.parametrize(
    ("values", "fragment"),
    [
        (["a/x.onnx", "b/x.onnx"], 'models[1].name = "x" (flag --model): must be unique'),
        (["my model.onnx"], 'models[0].name = "my model"'),
        (["a/b=x.onnx="], 'models[0].name = "b=x"'),
        ([f"{'n' * 65}=x.onnx"], "must be 1 to 64 letters"),
        (["=x.onnx"], 'models[0].name = ""'),
        (["näme=x.onnx"], "models[0].name"),
        (["name\n=x.onnx"], 'models[0].name = "name\\n"'),
        (["a="], "there is no file"),
        ([""], "there is no file"),
    ],
)
def test_a_model_that_cannot_be_named_is_refused(values: list[str], fragment: str) -> None:
    """Names are unique and tame; the answer says which model, and what to write."""
    [problem] = problems([argument for value in values for argument in ("--model", value)])
    assert fragment in problem


def test_a_path_with_an_equals_sign_needs_a_slash_before_it() -> None:
    """./a=b.onnx is a path, a=b.onnx a name and a path."""
    [model] = load_config(["--model", "name=./a=b.onnx"], {}).models
    assert (model.name, model.path) == ("name", Path("./a=b.onnx"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("models = 3", ["models = 3", "tables [[models]]"]),
        ("models = [3]", ["models[0] = 3", "a table with path"]),
        ('[[models]]\npath = "a.onnx"\npth = 1', ["models[0].pth = 1", "did you mean path?"]),
        ('[[models]]\npath = "a.onnx"\nport = 1', ["models[0].port = 1", "before the first [[models]]"]),
        ("[[models]]\npath = 1", ["models[0].path = 1"]),
        ('[[models]]\npath = "a.onnx"\nname = 1', ["models[0].name = 1", "must be text"]),
        ('[[models]]\npath = "a.onnx"\nprofile = "a b"', ['models[0].profile = "a b"']),
        ("[limits]\nmax_sessions = 1", ["limits", "outside of any table"]),
        ("port = true", ["port = true", "0 to 65535"]),
        ("linger_ms = nan", ["linger_ms = nan"]),
        ("linger_ms = true", ["linger_ms = true"]),
        (f"linger_ms = 0x1{'0' * 300}", ["linger_ms ="]),
        (f"port = 0x1{'0' * 5000}", ["port = a huge number"]),
        ("max_message_bytes = 8192.0", ["max_message_bytes = 8192.0"]),
        ("spinning = 1", ["spinning = 1", "true or false"]),
        ("providers = []", ["providers = []"]),
        ("providers = [1]", ["providers = [1]"]),
        ("host = 1", ["host = 1"]),
        ("log_level = 1", ["log_level = 1", "one of debug, info, warning, error"]),
        ("config = 'x.toml'", ["config (file", "unknown"]),
        ("port = 1979-05-27", ["port = 1979-05-27"]),
        ("slots = 1\nport = x", ["must be TOML in UTF-8", "line 2"]),
        ('"a\\nb" = 1', ["a\\nb (file"]),
    ],
)
def test_a_file_that_says_something_wrong(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Each mistake is one problem, on one line, that names the key."""
    [problem] = problems(["--config", toml(tmp_path, text)])
    for fragment in expected:
        assert fragment in problem


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """Missing, a folder, and not UTF-8."""
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"port = '\xff'")
    assert "No such file" in problems(["--config", str(tmp_path / "none")])[0]
    assert "Is a directory" in problems([], {"REIDSTREAM_CONFIG": str(tmp_path)})[0]
    assert "UTF-8" in problems(["--config", str(binary)])[0]
    assert problems(["--config="]) == ['config = "" (flag --config): must be the path of a TOML file']


@pytest.mark.parametrize(
    ("enough", "too_little"),
    [
        (["--max-queue-boxes=2000"], ["--max-queue-boxes=1999"]),
        (["--max-staged-bytes=120000000"], ["--max-staged-bytes=119999999"]),
        (["--default-window-frames=64"], ["--default-window-frames=65"]),
        (["--max-queue-bytes=128MiB"], ["--max-queue-bytes=134217727"]),
        (["--max-window-bytes=64MiB"], ["--max-window-bytes=67108863"]),
        (["--port=9465"], ["--port=9464"]),
        (["--port=9464", "--no-metrics-enabled"], ["--port=9464", "--metrics-enabled"]),
        (["--port=9464", "--metrics-host=127.0.0.2"], ["--port=9464", "--metrics-host=0.0.0.0"]),
        (["--rpc-metrics"], ["--rpc-metrics", "--no-metrics-enabled"]),
        (["--kserve-shared-memory", "--kserve"], ["--kserve-shared-memory"]),
        (["--port=0", "--metrics-port=0"], ["--port=7", "--metrics-port=7"]),
        (["--profile=tao", "--model=a.onnx"], ["--profile=tao"]),
        (["--tls-cert-file=c", "--tls-key-file=k"], ["--tls-cert-file=c"]),
        (["--tls-cert-file=c", "--tls-key-file=k"], ["--tls-key-file=k"]),
        (["--tls-client-ca-file=a", "--tls-cert-file=c", "--tls-key-file=k"], ["--tls-client-ca-file=a"]),
        (["--host=0.0.0.0", "--tls-cert-file=c", "--tls-key-file=k"], ["--host=0.0.0.0"]),
        (["--host=::", "--insecure"], ["--host=::", "--no-insecure"]),
        (["--admin=clients", "--tokens-file=t"], ["--admin=clients"]),
        (
            ["--admin=clients", "--tls-client-ca-file=a", "--tls-cert-file=c", "--tls-key-file=k"],
            ["--admin=clients", "--tls-cert-file=c", "--tls-key-file=k"],
        ),
        (["--host=127.255.0.1"], ["--host=128.0.0.1"]),
        (["--host=::1"], ["--host=::2"]),
        (["--precision=bf16", "--runtime=openvino"], ["--precision=bf16"]),
        (["--spinning", "--runtime=onnxruntime"], ["--spinning", "--runtime=openvino"]),
        (["--providers=A"], ["--providers=A", "--runtime=openvino"]),
        (["--host=LocalHost"], ["--host=127.example.org"]),
    ],
)
def test_rules_between_settings(enough: list[str], too_little: list[str]) -> None:
    """Each rule holds exactly to its bound, and its violation names both settings and where they came from."""
    load_config(enough, {})
    [problem] = problems(too_little)
    assert "(flag --" in problem
    assert too_little[0].partition("=")[0].removeprefix("--").replace("-", "_") in problem


@pytest.mark.parametrize(
    "argv", [["--max-queue-boxes=0", "--max-boxes-per-frame=8000"], ["--profile=tao", "--model="], ["--profile=a b"]]
)
def test_a_rule_is_silent_about_values_that_are_refused_anyway(argv: list[str]) -> None:
    """The default that stands in for a refused value breaks no rule: one mistake is one problem."""
    assert len(problems(argv)) == 1


def test_runtimes_and_precisions_are_the_engines_own() -> None:
    """The configuration knows no engine, so it writes their names down once more."""
    assert [item.value for item in InferenceRuntime] == [item.value for item in options.InferenceRuntime]
    assert [item.value for item in Precision] == [item.value for item in options.Precision]


def test_names_are_unique_over_all_groups() -> None:
    """Flags, variables and keys are one name space each."""
    for names in (
        [setting.name for setting in (*SETTINGS, CONFIG_FILE)],
        [setting.flag for setting in (*SETTINGS, CONFIG_FILE)],
        [setting.variable for setting in (*SETTINGS, CONFIG_FILE)],
    ):
        assert len(set(names)) == len(names)


FLAGS = [setting.flag for setting in (*SETTINGS, CONFIG_FILE)]
VARIABLES = [setting.variable for setting in SETTINGS]
WORDS = st.one_of(st.text(max_size=12), st.text(string.digits + ".-e_ KMiB,=/", max_size=8), st.sampled_from(FLAGS))


@settings(deadline=None)
@given(
    argv=st.lists(WORDS.filter(lambda word: word not in {"-h", "--help", "--version"}), max_size=6),
    environ=st.dictionaries(st.sampled_from([*VARIABLES, "REIDSTREAM_X"]), WORDS, max_size=3),
)
def test_whatever_is_given_is_a_configuration_or_lines_of_problems(argv: list[str], environ: dict[str, str]) -> None:
    """Nothing but ConfigError comes out, and no value can break its line."""
    try:
        config = load_config(argv, environ)
    except ConfigError as error:
        lines = str(error).split("\n")
    else:
        assert isinstance(config, ServerConfig)
        lines = ["none"]
    assert all(line and line.isprintable() for line in lines)


def test_the_environment_of_this_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is passed counts."""
    monkeypatch.setenv("REIDSTREAM_PORT", "1")
    assert "REIDSTREAM_PORT" in os.environ
    assert load_config([], {}) == ServerConfig()


def test_the_clients_variables_do_not_stop_the_server() -> None:
    """Both programs may be started from one environment."""
    environment = {"REIDSTREAM_SERVER": "gate:50051", "REIDSTREAM_TOKEN_FILE": "token"}
    assert load_config([], environment) == load_config([], {})


@pytest.mark.parametrize(
    ("environ", "device", "providers"),
    [
        ({}, "auto", ("CPUExecutionProvider",)),
        ({"ORT_PROVIDERS": "CPUExecutionProvider"}, "cpu", ("CPUExecutionProvider",)),
        ({"ORT_PROVIDERS": "CUDAExecutionProvider, CPUExecutionProvider"}, "auto", ("CPUExecutionProvider",)),
        ({"ORT_PROVIDERS": "OpenVINOExecutionProvider"}, "auto", ("OpenVINOExecutionProvider",)),
    ],
)
def test_the_variables_of_an_embedding_api_count_where_http_is_served(
    environ: dict[str, str], device: str, providers: tuple[str, ...]
) -> None:
    """And nowhere else: MODEL_PATH is a common name."""
    environ |= {"MODEL_PATH": "exports/reid.onnx"}
    config = load_config(["--http-port", "8080"], environ)
    model = ModelFile(name="reid", path=Path("exports/reid.onnx"), assumed_profile="tao")
    assert config.models == (model,)
    assert (config.engine.device, config.engine.providers) == (device, providers)
    assert load_config([], environ) == ServerConfig()


def test_settings_of_ours_override_the_variables_of_an_embedding_api() -> None:
    """Of whatever source."""
    environ = {"MODEL_PATH": "theirs.onnx", "ORT_PROVIDERS": "CPUExecutionProvider", "REIDSTREAM_HTTP_PORT": "0"}
    config = load_config(["--device", "cuda"], environ | {"REIDSTREAM_MODEL": "ours.onnx"})
    assert [(model.name, model.assumed_profile) for model in config.models] == [("ours", None)]
    assert config.engine.device == "cuda"
    (model,) = load_config(["--profile", "torchreid"], environ).models
    assert (model.name, model.profile) == ("theirs", "torchreid")
    said = problems([], environ | {"MODEL_PATH": "a b.onnx"})
    assert len(said) == 1
    assert "(environment MODEL_PATH)" in said[0]


def test_ports_must_differ_and_others_are_served_with_tls_only() -> None:
    """Each door's."""
    assert "http_port" in problems(["--http-port", "50051"])[0]
    assert "http_port" in problems(["--http-port", "9464"])[0]
    everywhere = ["--http-host", "0.0.0.0"]  # noqa: S104 - nothing listens
    assert "http_host" in problems([*everywhere, "--http-port", "8080"])[0]
    assert load_config(everywhere, {}).listen.http_port is None
    assert load_config([*everywhere, "--http-port", "8080", "--insecure"], {}).listen.http_port == 8080
