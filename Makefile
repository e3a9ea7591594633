# Everything that is run by hand or by CI. `make` alone lists it.
#
# Set-up is a file per environment (.venv/.runtime, ...): made once, made again when a dependency list changes.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
LISTS := constraints.txt $(wildcard */pyproject.toml)
CODE := proto engines server client synthetic tests demo bench emulation deploy README.md

MODEL ?=
PROFILE ?=
PORT ?= 50051
# On another port there may be a second server: its metrics then take any free port, and the log says which.
METRICS_PORT ?= $(if $(filter-out 50051,$(PORT)),0)
PYTEST ?=
BENCH ?=
ATTACK ?=
DATA ?= ../shared/data
export REQUIRE_ALL ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve test lint format types coverage proto docs rules dashboards dashboards-picture pictures swin cuts fuzz cubins environments simulation bench soak overload attack perf-analyzer backends gpu-check gpu-bundle clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

demo: $(VENV)/.runtime ## server, two cameras, matched identities and a picture, in under a minute
	@$(BIN)/python -m demo

serve: $(VENV)/.serve ## run the server: make serve [MODEL=osnet.onnx PROFILE=torchreid] [PORT=50051] [METRICS_PORT=9464]
	$(BIN)/reidstream-server --port $(PORT) $(if $(METRICS_PORT),--metrics-port $(METRICS_PORT)) $(if $(MODEL),--model $(MODEL)) $(if $(PROFILE),--profile $(PROFILE))

test: $(VENV)/.dev environments lint types ## everything that CI runs; PYTEST="-k name" passes options on
	@echo "tests ..."
	@$(BIN)/python -m pytest --numprocesses=auto --dist=loadscope $(PYTEST)

lint: $(VENV)/.dev ## ruff: rules and format
	@echo "ruff ..."
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/ruff format --quiet --check $(CODE)

format: $(VENV)/.dev ## mend what ruff can mend
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

types: $(VENV)/.dev ## mypy --strict, and what must and must not type-check under mypy and pyright (tests/typing)
	@echo "mypy and pyright ..."
	@$(BIN)/mypy --no-error-summary proto/reidstream_proto engines/reidstream_engines server/reidstream_server client/reidstream_client synthetic/reidstream_synthetic demo tests bench emulation deploy
	@mkdir -p out
	@$(BIN)/basedpyright --project tests/typing --pythonpath $(BIN)/python >out/pyright.txt || { cat out/pyright.txt; exit 1; }

# What measures coverage keeps the frames that these tests wait to see gone.
NO_COVERAGE := --ignore=tests/integration/test_refused_messages.py
coverage: $(VENV)/.dev ## how much of each room the unit and integration tests run (two thirds more time than without)
	@rm -rf out/coverage && mkdir -p out/coverage
	@echo "tests, with their coverage ..."
	@$(BIN)/coverage run -m pytest --numprocesses=auto --dist=loadscope tests/unit tests/integration $(NO_COVERAGE) $(PYTEST)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage json --quiet -o out/coverage/report.json
	@$(BIN)/python -m tests.support.coverage_rooms out/coverage/report.json

proto: $(VENV)/.dev ## generate the stubs from the .proto files
	PATH=$(CURDIR)/$(BIN):$$PATH $(BIN)/python proto/generate.py

docs: $(VENV)/.runtime ## write the generated page of settings
	$(BIN)/python -m reidstream_server.config > docs/configuration.md

.PHONY: rules
rules: $(VENV)/.runtime ## write the rules and alerts for Prometheus
	$(BIN)/python -m deploy.prometheus

dashboards: $(VENV)/.dev ## write the dashboards that Grafana reads
	$(BIN)/python -m deploy.grafana

dashboards-picture: $(VENV)/.dev ## draw docs/images/dashboards.svg: the dashboards, of a real scrape with an incident (six minutes)
	$(BIN)/python -m tests.support.dashboards.picture

pictures: $(VENV)/.dev ## take the pictures of `top` and `doctor` in the pages anew, of real servers
	$(BIN)/python -m tests.support.top_picture
	$(BIN)/python -m tests.support.doctor_picture

simulation: $(VENV)/.dev ## the scheduler and the memory of tracks under 10,000 seeds each, and every mutant (an hour of one core); JOBS=N
	$(BIN)/python -m tests.simulation --seeds 10000 $(if $(JOBS),--jobs $(JOBS))
	$(BIN)/python -m tests.simulation.mutants $(if $(JOBS),--jobs $(JOBS))
	$(BIN)/python -m tests.simulation.tracks --seeds 10000 $(if $(JOBS),--jobs $(JOBS))
	$(BIN)/python -m tests.simulation.tracks --mutants $(if $(JOBS),--jobs $(JOBS))

swin: $(VENV)/.dev ## a Swin-B of 87 million random parameters behind the HTTP door, on port 8080, called by curl (a minute or two)
	SWIN=base $(BIN)/python -m pytest tests/integration/test_swin.py

cuts: $(VENV)/.dev ## a stream cut at every message of a session, and resumed (about two minutes)
	EVERY_CUT=1 $(BIN)/python -m pytest tests/integration/test_resume.py

fuzz: $(VENV)/.dev ## 100,000 hostile HTTP connections, and 100,000 hostile inputs on each wire of KServe; HTTP_SEED=N, KSERVE_SEED=N for others
	HTTP_INPUTS=100000 $(BIN)/python -m pytest -s --timeout=3600 tests/chaos/test_http_fuzz.py
	KSERVE_INPUTS=100000 $(BIN)/python -m pytest -s --timeout=3600 tests/chaos/test_kserve_fuzz.py

cubins: $(VENV)/.dev ## the crop kernel compiled for every architecture with every resize (a minute)
	EVERY_CUBIN=1 $(BIN)/python -m pytest tests/unit/engines/cuda/test_compile.py

bench: $(VENV)/.dev ## speed, beside its ceilings in the same run
	$(BIN)/python -m bench $(BENCH)

soak: $(VENV)/.dev ## 50,000 frames of every kind: memory, descriptors, shared memory (two minutes); BENCH="--frames N"
	$(BIN)/python -m bench soak $(BENCH)

overload: $(VENV)/.dev ## 1.5 times what the server can do, from 32 cameras and a greedy one (three minutes)
	$(BIN)/python -m bench overload $(BENCH)

attack: $(VENV)/.dev ## every known attack in turn, and what it does to a camera beside it (about 52 minutes); ATTACK="scan-bomb class-ids" chooses
	$(BIN)/python -m tests.attacks $(ATTACK) $(BENCH)

perf-analyzer: $(VENV)/.dev ## Triton's perf_analyzer on both wires of KServe v2, beside the stream (about six minutes); MODEL=osnet.onnx PROFILE=torchreid
	@$(BIN)/python -m bench triton $(if $(MODEL),--model $(MODEL)) $(if $(PROFILE),--profile $(PROFILE)) $(BENCH)

backends: $(VENV)/.dev ## what OpenVINO, bf16 and INT8 cost and give: make backends DATA=FOLDER (models, frames, golden)
	$(BIN)/python -m bench.backends $(DATA) $(wildcard $(DATA)/models/*.onnx)

gpu-check: $(VENV)/.dev ## what only a real GPU can show, written to docs/gpu-report.md; exit code 3 without one
	$(BIN)/python -m bench gpu $(if $(wildcard $(DATA)),--data $(DATA)) $(BENCH)

# For a GPU machine without a package index, which has CUDA, torch, onnxruntime, OpenCV and numpy for GPU_PYTHON.
GPU_PYTHON ?= 3.12
GPU_WHEELS := grpcio grpcio-health-checking grpcio-reflection nvidia-nvimgcodec-cu13 nvidia-nvjpeg prometheus-client protobuf \
  simplejpeg tqdm turbojpeg typing-extensions
gpu-bundle: $(VENV)/.dev ## what gpu-check needs on a machine without a package index, into out/gpu
	@rm -rf out/gpu
	$(BIN)/pip download --quiet --no-deps --only-binary=:all: --python-version $(GPU_PYTHON) --dest out/gpu \
	  $(foreach wheel,$(GPU_WHEELS),$(shell grep -m1 '^$(wheel)==' constraints.txt | cut -d';' -f1))
	@$(if $(wildcard $(DATA)),cp -r $(DATA) out/gpu/data)
	@echo "there: pip install --upgrade --no-index --no-deps --find-links out/gpu $(GPU_WHEELS)"
	@echo "       PYTHONPATH=proto:engines:server:client python -m bench gpu$(if $(wildcard $(DATA)), --data out/gpu/data)"

# The newest Python that the server and its dependencies were tried with. The oldest is the environment of all tests.
NEWEST_PYTHON ?= python3.13

environments: $(VENV)/.dev .venv-newest/.client .venv-triton/.client ## environments of their own: Triton's client, ours with its oldest and newest versions, engines on Python 3.10, the server on 3.13
	@if command -v $(NEWEST_PYTHON) >/dev/null 2>&1 && $(NEWEST_PYTHON) -c '' 2>/dev/null; then \
	  $(MAKE) --no-print-directory .venv-newest-server/.server; \
	else echo "no $(NEWEST_PYTHON) here: the server is not tested on it"; fi
	@if command -v python3.10 >/dev/null 2>&1 && python3.10 -c '' 2>/dev/null; then \
	  $(MAKE) --no-print-directory .venv-oldest/.client .venv-oldest-engines/.engines; \
	else echo "no python3.10 here: client and engines are not tested on it"; fi

clean: ## remove the environments and caches
	rm -rf .venv .venv-oldest .venv-oldest-engines .venv-newest .venv-newest-server .venv-triton .mypy_cache .ruff_cache .pytest_cache .hypothesis out build

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON) here. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version). reidstream needs 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/python $(LISTS)
	@$(PIP) -c constraints.txt -e proto -e 'engines[region]' -e server -e client -e synthetic
	@touch $@

$(VENV)/.serve: $(VENV)/.runtime
	@$(PIP) -c constraints.txt -e 'engines[pil]' -e 'server[http]'
	@touch $@

$(VENV)/.dev: $(VENV)/.serve requirements-dev.txt
	@$(PIP) -c constraints.txt -r requirements-dev.txt -e 'engines[gpu,gpu-decode,openvino,pil,quantize]' -e 'server[http,tracing]' -e 'client[evaluate,tracing]'
	@$(PIP) --no-deps -c constraints.txt trackeval
	@touch $@

.venv-newest/.client: tests/environments/newest.txt proto/pyproject.toml client/pyproject.toml
	@$(PYTHON) -m venv .venv-newest
	@.venv-newest/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c $< -e proto -e client
	@touch $@

.venv-triton/.client: tests/environments/triton.txt
	@$(PYTHON) -m venv .venv-triton
	@.venv-triton/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-deps -r $<
	@touch $@

.venv-oldest/.client: tests/environments/oldest.txt proto/pyproject.toml client/pyproject.toml
	@python3.10 -m venv .venv-oldest
	@.venv-oldest/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c $< -e proto -e client
	@touch $@

.venv-oldest-engines/.engines: constraints.txt engines/pyproject.toml
	@python3.10 -m venv .venv-oldest-engines
	@.venv-oldest-engines/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c $< -e engines
	@touch $@

.venv-newest-server/.server: constraints.txt $(wildcard */pyproject.toml)
	@$(NEWEST_PYTHON) -m venv .venv-newest-server
	@.venv-newest-server/bin/python -m pip install --quiet --no-compile --disable-pip-version-check -c $< \
	  -e proto -e 'engines[pil,region]' -e 'server[http,tracing]' -e client hypothesis onnx pytest pytest-asyncio pytest-timeout
	@touch $@
