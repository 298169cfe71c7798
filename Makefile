# One command per task; CI runs the same ones.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: install up test cover check format bench fuzz lock clean

install: $(STAMP)

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

up: install
	$(BIN)/privity up

test: install
	$(BIN)/python -m pytest

# The wire protocol is covered whole, by its own tests.
cover: install
	$(BIN)/python -m pytest --quiet tests/protocol --cov=privity.protocol --cov-branch --cov-report=term-missing:skip-covered \
	  --cov-fail-under=100

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install
	$(BIN)/python -m bench

# Seconds for each target: make fuzz FUZZ_SECONDS=600
FUZZ_SECONDS ?= 60
fuzz: install
	for target in $(basename $(notdir $(wildcard fuzz/fuzz_*.py))); do \
	  $(BIN)/python -m fuzz.$$target -max_total_time=$(FUZZ_SECONDS) fuzz/corpus/$$target || exit 1; \
	done

# Hashed, for every platform, and without the address of any package index.
lock: install
	$(BIN)/uv pip compile pyproject.toml --group dev --extra audio --extra valkey --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-annotate --upgrade --quiet --output-file requirements/dev.txt

clean:
	rm -rf .venv
