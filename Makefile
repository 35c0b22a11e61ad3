# make demo    evolve losses on handwritten digits, write a report, compare the best with cross-entropy
# make test    the tests                     make test-slow   those that take longer
# make check   ruff, pyright, import-linter  make format      let ruff rewrite
# Each makes the virtual environment it needs; that of the tests takes about 4 GB.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo

# the nets are small: one thread per process, and as many processes as there are cores
export OMP_NUM_THREADS := 1

.PHONY: demo test test-slow check format clean

demo: $(VENV)/.ready
	@if [ -e $(DEMO)/ledger.sqlite ]; then $(BIN)/lossmith resume $(DEMO); \
	else $(BIN)/lossmith search --preset digits --run $(DEMO); fi
	@echo
	$(BIN)/lossmith train --task digits-full --loss cross_entropy --loss $(DEMO) --loss baikal --seeds 10 --split test --run $(DEMO)
	@printf '\nreport: '; $(BIN)/lossmith report $(DEMO)

test: $(VENV)/.developer
	$(BIN)/pytest -n auto

test-slow: $(VENV)/.developer
	$(BIN)/pytest -n auto -m slow

check: $(VENV)/.developer
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(VENV)/.developer
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV)

$(VENV)/.ready: constraints.txt pyproject.toml tools/make-venv
	tools/make-venv $(PYTHON) $(VENV)

# the tests' tools are larger than the program: JAX, Keras, Lightning, transformers, Triton
$(VENV)/.developer: $(VENV)/.ready
	tools/make-venv $(PYTHON) $(VENV) dev
