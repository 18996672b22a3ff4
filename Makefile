# Everything from a clean clone with nothing but Python >= 3.11 and make:
#   make demo   the main example: a map of Europe from distances alone
#   make test   ruff, mypy --strict and the test suite
#   make bench  times beside other tools and hand-written code (make bench PROBLEMS="stress lse")
# A stamp file remembers each installation, so that a second call installs nothing.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# The libraries that `make bench` compares with ask for older versions of some others: they get an environment of their own.
RIVALS := $(VENV)-bench
JOBS   ?= 2
# Tests and timings run in parallel processes: one BLAS thread each.
THREADS := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: bench demo test lint types unit docs clean

demo: $(VENV)/.installed-plot
	$(THREADS) $(BIN)/graphad demo

test: lint types unit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

unit: $(VENV)/.installed-test
	$(THREADS) $(BIN)/python -m pytest -q -n $(JOBS)

# Sets its processes to one thread and one core itself.
bench: $(RIVALS)/.installed-bench
	$(RIVALS)/bin/python -m benchmarks.run $(PROBLEMS)

# Pages that are generated from the code.
docs: $(VENV)/.installed-test
	$(BIN)/python -m graphad.report.operations docs/ops.md
	cd tests && $(abspath $(BIN))/python pictures.py

%/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "graphad needs Python >= 3.11: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(@D)
	touch $@

define install
$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
touch $@
endef

$(VENV)/.installed-%: $(VENV)/.created pyproject.toml
	$(install)

$(RIVALS)/.installed-%: $(RIVALS)/.created pyproject.toml
	$(install)

.PRECIOUS: $(VENV)/.created $(RIVALS)/.created $(VENV)/.installed-plot $(VENV)/.installed-test $(RIVALS)/.installed-bench

clean:
	rm -rf $(VENV) $(RIVALS) build dist graphad.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
