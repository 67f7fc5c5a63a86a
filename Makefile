PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-faults check clean

demo: $(VENV)/installed
	$(BIN)/poselens demo --out demo

test: $(VENV)/installed check
	$(BIN)/python -m pytest -n 2 -q

# the damaged and hostile files of make test, ten times as many, and two hundred kills of trainings
# and fifty stops where it has a few; what was counted goes into FAULTS
FAULTS ?= faults.jsonl
test-faults: $(VENV)/installed
	rm -f $(FAULTS)
	POSELENS_MUTATIONS=10000 POSELENS_KILLS=200 POSELENS_TALLIES=$(abspath $(FAULTS)) \
	  $(BIN)/python -m pytest -n 2 -q -k "mutated or hostile or faults"
	cat $(FAULTS)

check: $(VENV)/installed
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# torch first: asked for together with the rest, pip may prefer a newer build that brings CUDA with it
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[pose,dev]'
	touch $@

clean:
	rm -rf $(VENV) demo .ruff_cache .mypy_cache .import_linter_cache .hypothesis
