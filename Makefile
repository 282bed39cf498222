# Everything runs from here: `make help` lists it. Only Python 3.11 or newer and a package index are needed.
PYTHON ?= python3
PROFILE ?= miniature
CORES ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count())')

BIN := .venv/bin
MACHINE ?= $(MACHINES)
NAMED := MACHINE SNR IDS EXTRACTORS DETECTORS SEEDS WEIGHTS SETTINGS
KNOWN := PYTHON PROFILE CORES DATA MACHINES CHOICES CLUSTER SNAKEMAKE_ARGS $(NAMED)
quoted = '$(subst ','\'',$(1))'
OPTIONS := $(if $(strip $(DATA)),$(call quoted,$(DATA))) --profile=$(call quoted,$(PROFILE)) \
  $(foreach name,$(NAMED),$(if $(strip $($(name))),--$(shell echo $(name) | tr A-Z a-z)=$(call quoted,$($(name))))) \
  $(if $(filter no,$(CHOICES)),--no-choices) $(if $(strip $(CLUSTER)),--pieces)
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake --quiet host reason --rerun-incomplete --keep-going \
  --nolock $(if $(strip $(CLUSTER)),--workflow-profile profiles/$(strip $(CLUSTER)),--cores $(CORES)) $(SNAKEMAKE_ARGS)
UNKNOWN := $(filter-out $(KNOWN) -%,$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
$(if $(UNKNOWN),$(error $(UNKNOWN) is not known; expected one of $(KNOWN)))
define NEWLINE


endef
$(foreach name,$(KNOWN),$(if $(findstring $(NEWLINE),$($(name))),$(error $(name): found a line break, expected one line)))
CLUSTERS := $(patsubst profiles/%/config.yaml,%,$(wildcard profiles/*/config.yaml))
$(if $(filter-out yes no,$(CHOICES)),$(error CHOICES: $(CHOICES) is not known; expected one of yes no))
$(if $(filter 0,$(shell expr X$(call quoted,$(CORES)) : 'X[1-9][0-9]*$$')),$(error CORES: $(CORES) is not known; \
  expected a whole number from 1))
$(if $(filter-out $(CLUSTERS),$(CLUSTER)),$(error CLUSTER: $(CLUSTER) is not known; expected one of $(CLUSTERS)))

.DEFAULT_GOAL := help
.PHONY: help setup book plan bench proof faults intervals rehearsal test check clean

help:  ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10
	@echo; echo "make book takes the parameters of the notebooks: PROFILE=… DATA=… SNR=… MACHINE=\"fan pump\" IDS=… SEEDS=… …"
	@echo "SNAKEMAKE_ARGS=… hands options to Snakemake; CLUSTER=slurm runs it on a cluster as profiles/slurm says."

setup: .venv/ready  ## make the environment in .venv (about 2 minutes, 6 GB)

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --progress-bar off --no-compile -c constraints.txt -e '.[book,test]'
	@# On all cores, where pip would use one; and here, since PYTHONDONTWRITEBYTECODE is set in many containers.
	@$(BIN)/python -m compileall -qq -j 0 -x /tests/ .venv/lib mimii_lib || true
	@echo "Warming up librosa's compiled parts (once)"
	$(BIN)/python -c 'import librosa, numpy; librosa.feature.melspectrogram(y=numpy.zeros(16000))'
	touch $@

# Descriptor 9 carries the lock of this folder: `mimii plan` takes it, and it ends with the recipe's last process.
book: .venv/ready  ## run the experiment and render the book to _build/html/index.html
	@mkdir -p .snakemake && exec 9> .snakemake/book.lock && \
	  $(BIN)/mimii plan $(OPTIONS) --lock 9 -o .snakemake/plan.json && mkdir -p executed results && \
	  find executed results -name '.*' -type f -delete && $(SNAKEMAKE)  # what killed jobs have left half-written
	@echo "The book: _build/html/index.html"

plan: .venv/ready  ## say what `make book` would do, and do nothing
	@$(BIN)/mimii plan $(OPTIONS) --dry-run -o .snakemake/dry_run.json && if test -e .snakemake/dry_run.json; then \
	  $(SNAKEMAKE) --dry-run --config plan=.snakemake/dry_run.json; fi

bench: .venv/ready  ## measure speed and memory against the plain implementation (some 20 minutes)
	$(BIN)/python benchmarks/speed.py --memory --growth

proof: .venv/ready  ## compare pictures, features, scores and AUCs with the plain implementation
	$(BIN)/python benchmarks/proof.py

faults: .venv/ready  ## break things on purpose, and see that nothing is lost (three quarters of an hour)
	$(BIN)/python tests/faults.py --long

intervals: .venv/ready  ## simulate whether the AUCs' intervals cover what they promise (a quarter of an hour)
	$(BIN)/python benchmarks/intervals.py

rehearsal: .venv/ready  ## rehearse at MIMII's full size (an hour, 14 GB), which is removed afterwards
	$(BIN)/python benchmarks/rehearsal.py

test: .venv/ready  ## run the tests
	$(BIN)/pytest -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder  # one waits, for a browser or a server

check: .venv/ready  ## format, lint, types, the directions of imports, and notebook pairs in step
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/run/test_pairs.py

clean:  ## remove everything that the other targets made, but the environment
	rm -rf _build executed results data/miniature_* .cache .snakemake
