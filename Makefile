# make demo   all set-up, then real cells embedded, an h5ad and a picture
# make test   all set-up, then every Go and Python test; what is skipped is listed by name
# make test-race  the Go tests with the race detector
# make test-gpu-dry  tests of the GPU code on stand-in GPUs: ONNX Runtime's own CUDA provider, kernels that do nothing
# make gpu  tests on a real GPU, then speed, memory and accuracy there beside torch; needs an NVIDIA GPU
# make gpu-bench  the second half of it alone (results in out/gpu; ARGS="--dry" tries it on the processor)
# make gpu-kit  what both need, in parts of 60 MB at most, for a GPU on a machine without a network
# make test-lowest  the Python tests with the lowest versions that pyproject.toml allows, in environments of their own
# make coverage  what part of the lines of Go and Python the tests run, at least 90 % each
# make faults  puts faults into a copy of the code, each of which a test must catch
# make evaluate  how good the default model is: the table in README.md
# make notebook  the notebooks in docs, run anew
# make docs  the documentation site, in out/docs/html; its examples and notebooks are run (make docs-links: addresses)
# make fuzz   every fuzz target in turn (FUZZTIME=30s each; short runs of their seeds are part of make test)
# make soak   10,000 embeddings of 8 cells in one process: its memory must not grow
# make bench  speed and memory against the reference, arc-state, and the machine's limits, in one run
#             (ARGS="--quick" for minutes instead of half an hour; results in docs/benchmarks)
# make bench-go  Go micro-benchmarks on real cells, into out/bench-go.txt for benchstat
# make wheels  the source distribution and a wheel for each Python, checked, built twice, installed and tried, in dist
#             (PYTHONS="3.12 3.13" chooses; ARGS=--once builds once, ARGS=--write updates docs/benchmarks/install.md,
#             ARGS="--arch aarch64" builds for the other architecture)
# make check-release  Dockerfile, recipe, citation, and the security of workflows
# make notices  THIRD_PARTY_NOTICES.md, for what is linked into the native module and for data in the package
# make check  formats, lints, types, the direction of imports, and workflows
# make parity live comparison with the reference, arc-state, in an environment of its own (downloads torch)
# make golden writes tests/golden anew, with the reference

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
GO     := ./gocore/... ./pybind/...

GO_SOURCES := $(shell find gocore pybind -name '*.go' ! -name '*_test.go')
ORT_LIBRARY = $$($(PY) -c 'from se600m import _library; print(_library.find())')

GOTESTSUM := go run gotest.tools/gotestsum@v1.13.0 --format pkgname
GOFUMPT   := go run mvdan.cc/gofumpt@v0.12.0
GOLANGCI  := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

ACTIONLINT := go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.7

.DEFAULT_GOAL := help
.PHONY: help setup demo evaluate notebook test test-go test-race test-python test-gpu-dry gpu gpu-test gpu-bench gpu-kit test-lowest fuzz soak coverage faults bench bench-go scale check check-go check-python check-workflows check-release fmt docs docs-links train-mini \
        parity golden wheels notices clean preflight

help:
	@sed -n 's/^# make/make/p' Makefile

preflight:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 6))' 2>/dev/null || { \
	    echo "se600m-go can't be built here. Missing:"; \
	    echo "  - Python 3.11 or later (\`$(PYTHON)\` can't be used): https://www.python.org/downloads/," \
	         "or name one with \`make PYTHON=/path/to/python3 ...\`"; \
	    exit 1; \
	} >&2
	@"$(PYTHON)" tools/prerequisites.py

# The package is installed in place: after a change of Go code only the native module is built again.
$(VENV)/.installed: pyproject.toml setup.py go.mod go.sum $(GO_SOURCES) | preflight
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check "setuptools>=77" "pybindgen>=0.22" wheel
	$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[test,zarr]"
	@touch $@

setup: $(VENV)/.installed

demo: setup
	$(PY) tools/demo.py $(DEMO)

# EVALUATE=--scvi trains scVI beside it, if scvi-tools is installed.
evaluate: setup
	$(PY) tools/evaluate.py --write $(EVALUATE)

# The committed notebooks, run anew.
NOTEBOOKS := $(wildcard docs/*.ipynb)
notebook: setup
	$(PY) tools/run_notebook.py $(NOTEBOOKS)

test: test-go test-python

test-go: setup
	SE600M_ORT_LIBRARY=$(ORT_LIBRARY) $(GOTESTSUM) -- $(GO)

test-race: setup
	SE600M_ORT_LIBRARY=$(ORT_LIBRARY) $(GOTESTSUM) -- -race $(GO)

# WORKERS processes side by side, a file of tests to each at a time; ARGS are pytest's.
WORKERS ?= 2
PYTEST  := -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
test-python: setup
	$(PY) $(PYTEST) $(ARGS)

# ONNX Runtime's GPU build (downloaded once, 255 MB; GPU_WHEEL names its wheel if you have it) over stand-ins for
# NVIDIA's libraries, in a folder of its own.
GPU_CACHE := $(CURDIR)/.cache-gpu
GPU_ENV    = SE600M_STANDIN_GPU=$(GPU_CACHE)/standin SE600M_ORT_LIBRARY=$(GPU_CACHE)/libonnxruntime.so

$(GPU_CACHE)/.built: $(wildcard tests/standin_gpu/*.*) python/se600m/_runtimes.py | setup
	$(PY) tests/standin_gpu/prepare.py $(GPU_CACHE) $(GPU_WHEEL)
	@touch $@

test-gpu-dry: $(GPU_CACHE)/.built
	$(GPU_ENV) $(GOTESTSUM) -- -run 'GPU' ./gocore/internal/standin ./gocore/ort ./gocore/embed
	$(GPU_ENV) $(PY) -m pytest tests/test_gpu_dry.py $(ARGS)

# On a real GPU. One process compares it with the processor, so it must load the build of ONNX Runtime that has both.
# TORCH_PYTHON is a Python that has torch for CUDA 13; SE600M_FULL_MODEL names a model of full width to test, too.
TORCH_PYTHON ?= $(PYTHON)
CUDA_BUILD = SE600M_ORT_LIBRARY="$${SE600M_ORT_LIBRARY:-$$($(PY) -c 'from se600m import _library; print(_library.find("cuda"))')}"

gpu:
	@failed=0; $(MAKE) gpu-test || failed=1; $(MAKE) gpu-bench ARGS= || failed=1; exit $$failed

gpu-test: setup
	$(CUDA_BUILD) $(PY) -m pytest -m gpu tests/test_gpu.py $(ARGS)

gpu-bench: setup
	$(CUDA_BUILD) $(PY) tools/gpu/bench.py --torch-python "$$(command -v "$(TORCH_PYTHON)")" $(ARGS)

# PYTHON_THERE is a Python of the version that the other machine has.
PYTHON_THERE ?= python3.12
gpu-kit: setup
	$(PY) tools/gpu_kit/pack.py out/gpu-kit --python "$$(command -v "$(PYTHON_THERE)")" $(ARGS)

# What `pip install se600m-go` asks for, and what it asks for with the extras, each in its lowest version (and what
# those need in the newest). Left out: how wheels are built, the page of messages, which quotes other packages, and the
# picture in a notebook, which other versions of UMAP draw differently.
LOWEST := .venv-lowest
LOWEST_core := --extra test
LOWEST_full := --extra test --extra zarr
LOWEST_OUT := --ignore tests/test_packaging.py --deselect tests/test_errors.py::test_the_page_says_what_is_said \
              --deselect tests/test_notebook.py::test_the_quickstart_runs_and_gives_what_is_committed

$(LOWEST)/%.txt: pyproject.toml $(VENV)/.dev
	@mkdir -p $(LOWEST)
	$(VENV)/bin/uv pip compile -q --upgrade --resolution lowest-direct --python $(PY) $(LOWEST_$*) pyproject.toml -o $@

$(LOWEST)/%/.installed: $(LOWEST)/%.txt
	$(VENV)/bin/uv venv -q --clear --python $(PY) $(LOWEST)/$*
	$(VENV)/bin/uv pip sync -q --python $(LOWEST)/$*/bin/python $<
	@touch $@

.SECONDARY: $(LOWEST)/core.txt $(LOWEST)/full.txt
test-lowest: $(LOWEST)/core/.installed $(LOWEST)/full/.installed
	PYTHONPATH=$(CURDIR)/python $(LOWEST)/core/bin/python $(PYTEST) $(LOWEST_OUT) $(ARGS)
	PYTHONPATH=$(CURDIR)/python $(LOWEST)/full/bin/python $(PYTEST) $(LOWEST_OUT) $(ARGS)

# Every fuzz target for FUZZTIME each, on FUZZCORES cores. What is found is kept in the package's testdata/fuzz.
FUZZTIME ?= 30s
FUZZCORES ?= 1
fuzz: setup
	@export SE600M_ORT_LIBRARY=$(ORT_LIBRARY) GOMAXPROCS=$(FUZZCORES); \
	for package in $$(go list $(GO)); do \
	    for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	        echo "$$package $$target"; go test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s -parallel $(FUZZCORES) $$package || exit 1; \
	    done; \
	done

# Generated code and what only helps tests are left out.
COVERED = $$(go list ./gocore/... | grep -v -e /onnxpb -e /internal/ | paste -sd,)
coverage: $(VENV)/.dev
	@mkdir -p out
	SE600M_ORT_LIBRARY=$(ORT_LIBRARY) go test -coverprofile out/coverage-go.txt -coverpkg $(COVERED) $(GO) > /dev/null
	@go tool cover -func out/coverage-go.txt | tail -1 | awk '{ print "Go: " $$3; exit $$3 + 0 < 90 }'
	$(PY) $(PYTEST) --cov --cov-report term:skip-covered --cov-fail-under 90 $(ARGS)

faults: setup
	SE600M_ORT_LIBRARY=$(ORT_LIBRARY) $(PY) tools/faults.py $(ARGS)

# That nothing grows, over ten thousand calls; the figures are printed.
soak: setup
	SE600M_EMBEDS=10000 $(PY) -m pytest -n 0 -s --timeout 3600 tests/test_process.py -k takes_no_more_memory

# Not as an extra of this package, which would be built once more.
$(VENV)/.dev: $(VENV)/.installed
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["dev"], sep="\n")' > $(VENV)/dev.txt
	$(PY) -m pip install -q --disable-pip-version-check -r $(VENV)/dev.txt
	@touch $@

check: check-go check-python check-workflows

check-go:
	go vet $(GO)
	@files=$$($(GOFUMPT) -l gocore pybind) && test -z "$$files" || { echo "gofumpt: $$files (make fmt)"; exit 1; }
	$(GOLANGCI) run $(GO)

LINTED := python tests tools setup.py $(wildcard docs/*.py)
check-python: $(VENV)/.dev
	$(VENV)/bin/ruff check $(LINTED)
	$(VENV)/bin/ruff format --check $(LINTED)
	$(VENV)/bin/mypy
	PYTHONPATH=python $(VENV)/bin/lint-imports --no-cache

check-workflows:
	$(ACTIONLINT)

fmt: $(VENV)/.dev
	$(GOFUMPT) -w gocore pybind
	$(VENV)/bin/ruff check --fix $(LINTED)
	$(VENV)/bin/ruff format $(LINTED)

$(VENV)/.docs: $(VENV)/.installed
	@$(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' > $(VENV)/docs.txt
	$(PY) -m pip install -q --disable-pip-version-check -r $(VENV)/docs.txt
	@touch $@

# docs/errors.md, from the cases and messages of the tests; the site, without a warning; its examples and notebooks, run.
SITE   := out/docs
SPHINX := $(PY) -m sphinx -n -W --keep-going -q -d $(SITE)/doctrees
docs: $(VENV)/.docs
	SE600M_WRITE_DOCS=1 $(PY) -m pytest -q -n 0 tests/test_errors.py
	$(SPHINX) -b html docs $(SITE)/html
	$(SPHINX) -b doctest docs $(SITE)/doctest
	$(PY) tools/run_notebook.py --check $(NOTEBOOKS)
	@echo "$(SITE)/html/index.html"

# Addresses outside the site, which needs a network.
docs-links: $(VENV)/.docs
	SE600M_DOCS_ONLINE=1 $(SPHINX) -b linkcheck docs $(SITE)/linkcheck

# The model in the package, trained anew in an environment of its own (torch); minutes on one core.
TRAIN := .venv-train
$(TRAIN)/.installed: tools/train_mini/requirements.txt
	@test -x $(TRAIN)/bin/python || $(PYTHON) -m venv $(TRAIN)
	$(TRAIN)/bin/python -m pip install -q --disable-pip-version-check -r $<
	@touch $@

train-mini: $(TRAIN)/.installed
	OPENBLAS_NUM_THREADS=1 $(TRAIN)/bin/python tools/train_mini/train.py

# The reference's environment, apart from the one that tests run in. TORCH is what pip is to install for torch,
# whose waiting threads must not burn shared cores.
PARITY_VENV := .venv-parity
PARITY_PY   := OMP_WAIT_POLICY=PASSIVE PYTHONPATH=python:tools $(PARITY_VENV)/bin/python
TORCH       ?= -r tools/parity/torch.txt

$(PARITY_VENV)/.installed: tools/parity/requirements.txt tools/parity/bare.txt tools/parity/torch.txt | preflight
	@test -x $(PARITY_VENV)/bin/python || $(PYTHON) -m venv $(PARITY_VENV)
	$(PARITY_VENV)/bin/pip install -q --disable-pip-version-check -r tools/parity/requirements.txt
	$(PARITY_VENV)/bin/pip install -q --disable-pip-version-check --no-deps -r tools/parity/bare.txt
	$(PARITY_VENV)/bin/pip install -q --disable-pip-version-check --no-deps $(TORCH)
	@touch $@

parity: setup $(PARITY_VENV)/.installed
	$(PARITY_PY) tools/parity/parity.py $(ARGS)

golden: $(PARITY_VENV)/.installed
	$(PARITY_PY) tools/parity/make_golden.py

# In one run with the reference, in its environment.
bench: setup $(PARITY_VENV)/.installed
	PYTHONPATH=tools $(PY) tools/bench/bench.py --reference-python $(PARITY_VENV)/bin/python $(ARGS)

# Synthetic cells take 16 KB each, in out/scale.
CELLS ?= 100000
scale: setup
	@mkdir -p out/scale
	$(PY) tools/scale/make_cells.py out/scale/cells.h5ad --cells $(CELLS)
	$(PY) tools/scale/measure.py out/scale/cells.h5ad $(ARGS)

# BENCH selects, COUNT is what benchstat needs: go run golang.org/x/perf/cmd/benchstat@latest OLD out/bench-go.txt
BENCH ?= .
COUNT ?= 6
bench-go: setup
	@mkdir -p out
	PYTHONPATH=tools $(PY) tools/bench/export_cells.py out/cells.bin
	SE600M_ORT_LIBRARY=$(ORT_LIBRARY) SE600M_BENCH_CELLS=$(CURDIR)/out/cells.bin \
	    go test -run '^$$' -bench '$(BENCH)' -count $(COUNT) $(GO) | tee out/bench-go.txt

# In an environment of its own, with pinned tools: zig is its C compiler.
WHEELS := .venv-wheels
$(WHEELS)/.installed: tools/wheels/requirements.txt | preflight
	@test -x $(WHEELS)/bin/python || $(PYTHON) -m venv $(WHEELS)
	$(WHEELS)/bin/python -m pip install -q --disable-pip-version-check -r $<
	@touch $@

wheels: $(WHEELS)/.installed
	$(WHEELS)/bin/python tools/wheels/build.py $(PYTHONS) $(ARGS)

check-release: $(WHEELS)/.installed
	$(WHEELS)/bin/zizmor --quiet --offline --min-severity medium .github
	$(WHEELS)/bin/hadolint Dockerfile
	$(WHEELS)/bin/python tools/check_recipe.py
	$(WHEELS)/bin/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff

notices: setup
	$(PY) tools/notices/write.py

clean:
	rm -rf build dist out .cache-gpu python/*.egg-info python/se600m/*.so $(VENV) $(TRAIN) $(LOWEST) $(WHEELS)
