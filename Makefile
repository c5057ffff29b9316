# Two commands do everything on a fresh machine: `make demo` and `make test`.
# Both make the virtual environment $(VENV) once and are fast the second time.

VENV   ?= .venv
PYTHON ?= python3
PIP     = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
# Plain `torch` pulls gigabytes of CUDA packages where this one does not.
TORCH   = torch==2.13.0
# Installing compiles these.
NATIVE  = $(wildcard src/secateur/runtime/native/*)
# Two processes by default: the suite is made for small machines.
JOBS   ?= 2

.PHONY: demo test lint types test-tensorflow test-jax test-torch bench fuzz format clean

demo: $(VENV)/.demo
	$(VENV)/bin/secateur tutorial mnist $(ARGS)

test: lint types test-tensorflow test-jax test-torch

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test
	$(VENV)/bin/mypy

# One OpenMP thread a process: PyTorch's would get in each other's way.
test-tensorflow test-jax test-torch: test-%: $(VENV)/.test
	KERAS_BACKEND=$* OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -q -n $(JOBS) --dist loadfile $(ARGS)

bench: $(VENV)/.test
	$(VENV)/bin/python benchmarks/overhead.py $(ARGS)

# Random programs under the address and undefined-behaviour sanitizers, for so many seconds.
SECONDS = 120
fuzz:
	cmake -S src/secateur/runtime/native -B build/fuzz -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DSECATEUR_REQUIRED=ON -DSECATEUR_FUZZ=ON -DSECATEUR_SANITIZE=address,undefined
	cmake --build build/fuzz --parallel $(JOBS)
	ASAN_OPTIONS=allocator_may_return_null=1 build/fuzz/secateur_fuzz $(SECONDS) $(SEED)

format: $(VENV)/.test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) .venv-tfmot .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "secateur needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "$(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; \
	  rm -rf $(VENV); exit 1; }
	$(PIP) --upgrade pip

$(VENV)/.demo: pyproject.toml $(NATIVE) | $(VENV)/bin/python
	$(PIP) --editable ".[tensorflow,tensorboard,mnist]"
	@touch $@

$(VENV)/.test: pyproject.toml $(NATIVE) | $(VENV)/bin/python
	$(PIP) $(TORCH)
	$(PIP) --editable ".[tensorflow,jax,torch,tensorboard,plot,mnist]" --group lint --group test
	@touch $@
