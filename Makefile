# Two commands: `make quickstart` and `make test`. Both make .venv first, with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: quickstart test slow check lint types imports bench-sweep reliability paper studies fields statistics clean

quickstart: $(VENV)/installed
	$(BIN)/gradsweep run quickstart $(RUN)

test: $(VENV)/installed
	$(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile $(TESTS)

slow: $(VENV)/installed
	$(BIN)/python -m pytest -m slow --hypothesis-profile new $(TESTS)

check: lint types imports

lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/installed
	$(BIN)/mypy

imports: $(VENV)/installed
	$(BIN)/lint-imports

bench-sweep: $(VENV)/installed
	$(BIN)/python -m tests.load.sweep $(BENCH)

# More than an hour: every fault, load and odd input tried again, noted, and docs/reliability.md made of the notes.
reliability: $(VENV)/installed
	$(BIN)/python -m pytest tests/faults tests/hostile --reliability docs/reliability $(TESTS)
	$(BIN)/python -m tests.load.sweep --json $(BENCH) > docs/reliability/load.printed
	$(BIN)/python -m tests.reliability docs/reliability docs/reliability.md docs/reliability/load.printed
	rm docs/reliability/load.printed

# DATA is cifar10, which is downloaded once, or folder:PATH; STAGES are some of those that PAPER=--list shows. What has a
# record in docs/records is not trained again. PAPER="--minutes 55" stops after so long, and the next call goes on.
paper: $(VENV)/installed
	$(BIN)/python -m docs.build.paper $(STAGES) --data $(or $(DATA),cifar10) $(PAPER)

# STUDIES may be the names of some, or --small. Goes on where it stopped.
studies: $(VENV)/installed
	$(BIN)/python -m docs.build.studies $(STUDIES)

fields: $(VENV)/installed
	$(BIN)/python -m docs.build.fields > docs/fields.new
	mv docs/fields.new docs/fields.md

# What a verdict's p and interval are worth, by simulation: STATISTICS may be --small.
statistics: $(VENV)/installed
	$(BIN)/python -m docs.build.simulations $(STATISTICS)

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("gradsweep needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip --constraint constraints.txt
	@echo "Installing into $(VENV): PyTorch is large, so the first time takes some minutes."
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev --editable .
	touch $@

clean:
	rm -rf $(VENV)
