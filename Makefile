# A fresh machine needs python (>= 3.11), its pip and make; a C compiler is used where there is one.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Some distributions ship venv without ensurepip; the pip that is there installs another into the environment.
WITHOUT_ENSUREPIP = ($(PYTHON) -m venv --clear --without-pip $(VENV) && \
	$(PYTHON) -m pip --python $(BIN)/python install --quiet pip)
CORE := $(wildcard gateway/*/*.pxd gateway/*/*/*.pxd)
KERNELS := $(wildcard _speedups/*.pyx _speedups/*.pxd _speedups/*.pxi gateway/ot/kernel/*.py) $(CORE) $(CORE:.pxd=.py)
CORES := $(shell nproc 2>/dev/null || echo 1)
# Tests at a time: many wait for processes that they started, so two cores have time for four.
WORKERS ?= 4
# Every Python that the gateway supports, where it is installed.
SUPPORTED = $(shell sed -n 's/.*Python :: \(3\.[0-9]*\)".*/\1/p' pyproject.toml)
PYTHONS = $(foreach version,$(SUPPORTED),$(shell python$(version) -c 'import sys; print(sys.executable)' 2>/dev/null))
SEEDS ?= 1000
SECONDS ?= 60
ARGS ?=
# Tests start thousands of processes: each would compile every module again where nothing may keep what is compiled.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(BIN)/python -m pytest
# What is long first, then in the order of their names: files of few tests would else come last, however long.
AT_A_TIME = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
COMPILE = $(BIN)/python setup.py --quiet build_ext --inplace --parallel $(CORES)
SUMMARY = $(BIN)/python -c 'from gateway.runtime import speedups; print("venv: ready;", speedups.summary())'
IN_ONE_GO := $(if $(filter output-sync,$(.FEATURES)),--output-sync)
CHECKS := check-clients check-types check-docs check-imports check-style check-weaknesses
# Tests of what is compiled.
CORE_TESTS := tests/rooms tests/hub tests/sessions tests/wire tests/runtime tests/transport tests/log/sqlite

.PHONY: venv profiled serve test test-all oldest core clients coverage check $(CHECKS) sbom wheels docs bench fuzz worst twins conformance demo simulate clean

venv: $(VENV)/.compiled

# What is installed is compiled when it is imported first: most of it never is.
$(VENV)/.installed: pyproject.toml setup.py
	@echo "venv: making an environment in $(VENV) of $$($(PYTHON) --version), with everything that tests and docs need"
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || $(WITHOUT_ENSUREPIP)
	GATEWAY_KERNELS=later $(BIN)/python -m pip install --no-compile --disable-pip-version-check --editable '.[test,docs]'
	@touch $@

$(VENV)/.compiled: $(VENV)/.installed $(KERNELS)
	@echo "venv: compiling the kernels and the core (a minute or two; only what changed is compiled again)"
	$(COMPILE)
	@$(SUMMARY)
	@touch $@

# What is compiled once more, by what a minute of load shows of it, until a source changes. It needs GCC 10.
profiled: venv
	rm -rf build/profile $(VENV)/.compiled
	GATEWAY_PROFILE=record $(COMPILE)
	@echo "profiled: a minute of load; its verdict says nothing here"
	-$(BIN)/python -m loadtest run smoke
	-$(BIN)/python -m loadtest run floor --rate-scale 0.4 --duration-scale 0.5
	GATEWAY_PROFILE=use $(COMPILE)
	@$(SUMMARY)
	@touch $(VENV)/.compiled

serve: venv
	$(BIN)/gateway serve $(ARGS)

test: venv
	$(PYTEST) $(AT_A_TIME) $(ARGS)
	$(BIN)/python -m tests.nodejs test
	$(BIN)/python -m tests.nodejs e2e

# The same on every Python, each in an environment of its own.
test-all:
	@for python in $(PYTHONS); do \
		echo "test-all: $$($$python --version)"; \
		$(MAKE) test PYTHON=$$python VENV=$(VENV)-$$(basename $$python) ARGS='$(ARGS)' || exit 1; \
	done

# The tests in Python with the oldest version of each dependency that pyproject.toml allows, as it is committed: in a
# copy, for what other versions of Cython compile must not meet. Python 3.11 is the last that all of them know.
oldest:
	rm -rf out/oldest
	git clone --quiet . out/oldest
	cd out/oldest && python3.11 -m tests.oldest > oldest.txt
	cd out/oldest && PIP_CONSTRAINT=$(CURDIR)/out/oldest/oldest.txt $(MAKE) venv PYTHON=python3.11
	cd out/oldest && .venv/bin/python -m pytest $(AT_A_TIME) $(ARGS)

# The tests of the core once more, with the core as it is written, as it runs where there is no compiler.
core: venv
	GATEWAY_SPEEDUPS=kernels $(PYTEST) -q $(AT_A_TIME) $(CORE_TESTS)

# Every test, and how much of gateway/ they run, their processes included; below the floor (pyproject.toml) it fails.
# What is compiled can't be traced: that is what `core` is for.
coverage: venv
	$(BIN)/coverage erase
	$(MAKE) test core PYTEST='$(BIN)/coverage run -m pytest'
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: check-docs
	@echo "docs: open out/docs/index.html"

clients: venv
	$(BIN)/python -m tests.nodejs build

# All of them, as many at a time as there are cores; each says what it has to say in one go.
check: venv
	@$(MAKE) --no-print-directory --jobs $(CORES) $(IN_ONE_GO) --keep-going $(CHECKS)

check-docs: venv
	$(BIN)/python -m sphinx -W --keep-going -n -q -j auto -d out/doctrees docs out/docs

check-clients: venv
	$(BIN)/python -m tests.nodejs check

check-types: venv
	$(BIN)/mypy

check-imports: venv
	$(BIN)/python -m pytest tests/test_imports.py

check-style: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-weaknesses: venv
	$(BIN)/python -m tests.audit

# What the installed gateway is made of, with versions and licenses (CycloneDX).
sbom: venv
	mkdir -p out
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o out/sbom.json $(VENV)
	@echo "sbom: out/sbom.json"

# A wheel for each Python that is installed, installed in a clean environment without a compiler, and tried.
wheels: venv
	$(BIN)/python -m tests.deploy.wheels $(ARGS)

bench: venv
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,bench]'
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: venv
	$(BIN)/python -m tests.ot.fuzz --seconds $(SECONDS) $(ARGS)

# The message that costs a node most.
worst: venv
	$(BIN)/python -m tests.worst --seconds $(SECONDS) $(ARGS)

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
	rm -rf $(VENV) build out *.egg-info .mypy_cache .ruff_cache .pytest_cache clients/node_modules benchmarks/node_modules clients/*/dist clients/*/LICENSE
	find _speedups gateway -name '*.so' -delete
