# A fresh machine needs python (>= 3.11), its pip and make; a C compiler is used where there is one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Some distributions ship venv without ensurepip; the pip that is there installs another into the environment.
WITHOUT_ENSUREPIP = ($(PYTHON) -m venv --clear --without-pip $(VENV) && \
	$(PYTHON) -m pip --python $(BIN)/python install --quiet pip)
CORE := $(wildcard gateway/*/*.pxd)
KERNELS := $(wildcard _speedups/*.pyx _speedups/*.pxd _speedups/*.pxi gateway/ot/kernel/*.py) $(CORE) $(CORE:.pxd=.py)
SEEDS ?= 1000
SECONDS ?= 60
ARGS ?=

.PHONY: venv serve test check bench fuzz twins conformance demo simulate clean

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py $(KERNELS)
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || $(WITHOUT_ENSUREPIP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

serve: venv
	$(BIN)/gateway serve $(ARGS)

test: venv
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)
	$(BIN)/python -m tests.nodejs test

check: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_imports.py
	$(BIN)/python -m tests.nodejs check

bench: venv
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: venv
	$(BIN)/python -m tests.ot.fuzz --seconds $(SECONDS) $(ARGS)

twins: venv
	$(BIN)/python -m tests.typescript.differential
	$(BIN)/python -m tests.typescript.rooms

conformance: venv
	$(BIN)/python -m tests.transport.conformance $(ARGS)

demo: venv
	mkdir -p out
	$(BIN)/python -m loadtest run smoke --html out/smoke.html $(ARGS)

simulate: venv
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

clean:
	rm -rf $(VENV) build out *.egg-info .mypy_cache .ruff_cache .pytest_cache clients/node_modules clients/*/dist
	find _speedups gateway -name '*.so' -delete
