# Everything a newcomer types. PYTHON chooses the interpreter, VENV the folder, EXTRA the runtime: cpu or gpu.
PYTHON ?= python3
VENV ?= .venv
GPU := $(shell command -v nvidia-smi)
NVCC := $(shell command -v nvcc)
EXTRA ?= $(if $(GPU),gpu,cpu)
# The kernels of a checkout are compiled for this machine's GPU, or else for one architecture; `release` has all.
CUDA_ARCHITECTURE ?= $(if $(GPU),native,90)
RECIPE ?= export/hourglass_demo.toml
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CXX_SOURCES := git ls-files '*.cu' '*.cuh' '*.h' '*.cpp' '*.hpp'

.PHONY: demo setup kernels test gpu lint format clean

demo: setup kernels  ## set up, then compile, compare, measure and report on the demo network and its photographs
	$(BIN)/dyn2trt run $(RECIPE)

setup: $(VENV)/.installed  ## the package, editable, and its tools; the kernels are built apart
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -c constraints.txt -C cmake.define.DYN2TRT_CUDA=OFF -e '.[$(EXTRA),train,dev]'
	touch $@

kernels: setup  ## the CUDA libraries, where there is nvcc, and a check that no kernel spills registers
ifeq ($(NVCC),)
	@echo 'WARNING: no nvcc on the PATH: the CUDA libraries are not built'
else
	@mkdir -p build/quick
	$(BIN)/cmake --preset quick -DCMAKE_CUDA_ARCHITECTURES=$(CUDA_ARCHITECTURE) -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN)/ninja)
	$(BIN)/cmake --build --preset quick > build/quick/log.new 2>&1 || { cat build/quick/log.new; exit 1; }
	@if grep -q 'entry function' build/quick/log.new; then mv build/quick/log.new build/quick/log; fi
	@$(BIN)/python plugins/check_spills.py build/quick/log > build/quick/registers || { cat build/quick/registers; exit 1; }
	@tail -n 1 build/quick/registers
endif

# TensorRT's bindings over a core that builds engines without a GPU: two wheels that exist for Linux on x86-64 only.
$(VENV)/.tensorrt_on_cpu: $(VENV)/.installed tests/tensorrt_on_cpu/requirements.txt
	$(PIP) --no-deps -r tests/tensorrt_on_cpu/requirements.txt && touch $@ \
		|| echo 'WARNING: no TensorRT-on-CPU wheels for this platform: the tests that build engines will skip'

test: setup kernels $(VENV)/.tensorrt_on_cpu  ## set up, then run every test that this machine can run
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

gpu: setup kernels  ## on a machine with a GPU: its tests, compute-sanitizer and timings, into build/gpu
	$(BIN)/python benchmarks/gpu_all.py -o build/gpu $(ARGS)

lint: setup  ## ruff, mypy and clang-format, changing nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(CXX_SOURCES) | xargs -r $(BIN)/clang-format --dry-run --Werror

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(CXX_SOURCES) | xargs -r $(BIN)/clang-format -i

clean:
	rm -rf build dist $(VENV)
