# make demo   the main job on what the project ships, from a clean checkout
# make test   the test suite
# make stress kills at every step, signals, full disks, two processes, hostile files, fuzzing; the suite does a part of it
# make bench  what it costs beside its maps and beside other packages, in ratios; about half an hour on an idle machine
# make lint   format, lint, layers, types (BIN=FOLDER/ takes the tools from there, BIN= from the path)
# make package   the wheel and the sdist, each tried in a clean environment
# make docs   the site, in site/
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin/
STRESS := tests/evidence/test_run.py tests/train/test_kills.py tests/segment/test_cache.py tests/segment/test_cache_kills.py \
	tests/commands/test_stopped.py tests/hostile

.PHONY: demo test stress bench lint package docs clean

demo: $(VENV)/installed
	$(VENV)/bin/das-explain demo

test: $(VENV)/installed-for-tests
	$(VENV)/bin/python -m pytest -n auto

stress: $(VENV)/installed-for-tests
	-$(VENV)/bin/python -m pip install --quiet --only-binary :all: atheris
	$(VENV)/bin/python -m pytest -n auto -m 'not slow' $(STRESS)

bench: $(if $(filter $(VENV)/bin/,$(BIN)),$(VENV)/installed-for-bench)
	$(BIN)python benchmarks/pipeline.py
	$(BIN)python benchmarks/pipeline.py --whole --photos 96
	$(BIN)python benchmarks/cam.py
	$(BIN)python benchmarks/cam.py --model collage-das-resnet18
	OMP_NUM_THREADS=1 $(BIN)python benchmarks/deform.py
	$(BIN)python benchmarks/readings.py
	$(BIN)python benchmarks/measures.py
	$(BIN)python benchmarks/memory.py
	$(BIN)python benchmarks/report.py
	$(BIN)python benchmarks/segment.py --tiny
	$(BIN)python benchmarks/train.py

lint: $(if $(filter $(VENV)/bin/,$(BIN)),$(VENV)/installed-for-tests)
	$(BIN)ruff format --check .
	$(BIN)ruff check .
	$(BIN)lint-imports --no-logo
	$(BIN)mypy

package:
	PYTHON=$(PYTHON) .ci/package

docs: $(if $(filter $(VENV)/bin/,$(BIN)),$(VENV)/installed-for-docs)
	$(BIN)python docs/make_cli.py
	NO_MKDOCS_2_WARNING=1 $(BIN)python -m mkdocs build --quiet --strict

clean:
	rm -rf $(VENV) runs site

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "das-explain needs Python >= 3.10: make PYTHON=python3.x")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable .
	touch $@

$(VENV)/installed-for-tests: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
# Without what they ask for: opencv-python would overwrite the headless OpenCV. The rest of it is in the tests' packages.
	$(VENV)/bin/python -m pip install --quiet --no-deps groundingdino-py==0.4.0 quantus==0.6.0
	touch $@ $(VENV)/installed

$(VENV)/installed-for-bench: $(VENV)/installed-for-tests
	$(VENV)/bin/python -m pip install --quiet --editable '.[benchmark]'
	touch $@

$(VENV)/installed-for-docs: pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/installed
