# Everything a newcomer types. PYTHON chooses the interpreter, VENV the folder, EXTRA the runtime: cpu or gpu.
PYTHON ?= python3
VENV ?= .venv
EXTRA ?= $(if $(shell command -v nvidia-smi),gpu,cpu)
RECIPE ?= export/hourglass_demo.toml
BIN := $(VENV)/bin

# A checkout compiles its kernels for this machine's GPU, or for one architecture; a release for all (CMakePresets.json).
export CUDAARCHS ?= $(if $(shell command -v nvidia-smi),native,90)

.PHONY: demo setup test lint format clean

demo: setup  ## set up, then compile, compare, measure and report on the demo network and its photographs
	$(BIN)/dyn2trt run $(RECIPE)

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt CMakeLists.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA),dev]'
	touch $@

# TensorRT's bindings over a core that builds engines without a GPU: two wheels that exist for Linux on x86-64 only.
$(VENV)/.tensorrt_on_cpu: $(VENV)/.installed tests/tensorrt_on_cpu/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r tests/tensorrt_on_cpu/requirements.txt \
		&& touch $@ || echo 'WARNING: no TensorRT-on-CPU wheels for this platform: the tests that build engines will skip'

test: setup $(VENV)/.tensorrt_on_cpu  ## set up, then run every test that this machine can run
	$(BIN)/python -m pytest -n 2 $(ARGS)

lint: setup  ## ruff, mypy and clang-format, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	git ls-files '*.cu' '*.cuh' '*.h' '*.cpp' '*.hpp' | xargs -r $(BIN)/clang-format --dry-run --Werror

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files '*.cu' '*.cuh' '*.h' '*.cpp' '*.hpp' | xargs -r $(BIN)/clang-format -i

clean:
	rm -rf build dist $(VENV)
