# A virtual environment of its own; nothing outside this folder is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: run test test-export test-llm lint bench models-train models-eval screenshots clean

run: $(VENV)/run.stamp  ## start the daemon on http://localhost:8000
	$(BIN)/tokenflowd

test: $(VENV)/test.stamp lint  ## everything that needs neither torch nor a network
	$(BIN)/python -m pytest

test-export: $(VENV)/export.stamp  ## exports, parity with llmlingua; needs torch (1.5 GB)
	$(BIN)/python -m pytest tests/parity tests/export

test-llm: $(VENV)/llm.stamp  ## answers of a real small model; builds llama-cpp-python (minutes)
	$(BIN)/python -m pytest tests/local_llm

lint: $(VENV)/test.stamp  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(VENV)/types && ln -sfn $(CURDIR)/tui $(VENV)/types/tokenflow_tui
	MYPYPATH=$(VENV)/types $(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/bench.stamp  ## ours against llmlingua and transformers, in one run (10 GB of memory)
	$(BIN)/python -m benchmarks --plot docs/speed.png

models-train: $(VENV)/train.stamp  ## the three models from open data: DATA, BASE, OUT (under two hours)
	$(BIN)/python models/train_compressor.py models/compressor.toml --data $(DATA) --base $(BASE) --out $(OUT)/compressor
	$(BIN)/python models/train_classifier.py models/classifier.toml --data $(DATA) --base $(BASE) --out $(OUT)/classifier
	$(BIN)/python models/train_multilingual.py models/multilingual.toml --data $(DATA) --out $(OUT)/multilingual

models-eval: $(VENV)/train.stamp  ## the figures of their cards: DATA, and perhaps READER=model.gguf
	$(BIN)/python models/evaluate_compressor.py --data $(DATA) $(if $(READER),--reader $(READER)) --json models/compressor.json
	$(BIN)/python models/evaluate_compressor.py --data $(DATA) $(if $(READER),--reader $(READER)) --json models/multilingual.json \
	  --weights models/weights/tokenflow-multilingual --languages de es ru zh ar hi
	$(BIN)/python models/evaluate_classifier.py --data $(DATA) --json models/classifier.json

screenshots: $(VENV)/test.stamp  ## the pictures of the terminal client, in docs/screenshots
	$(BIN)/python -m docs.screenshots

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/run.stamp: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "TokenFlow needs Python 3.11 or newer: make run PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp tests/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable '.[test]'
	touch $@

$(VENV)/export.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable '.[test,export]'
	touch $@

$(VENV)/train.stamp: $(VENV)/export.stamp
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable '.[test,train]'
	touch $@

$(VENV)/bench.stamp: $(VENV)/export.stamp
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable '.[test,bench]'
	touch $@

$(VENV)/llm.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable '.[test,local-llm]'
	touch $@
