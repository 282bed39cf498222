# Everything runs from here: `make help` lists it. Only Python 3.11 or newer and a package index are needed.
PYTHON ?= python3
PROFILE ?= miniature
CORES ?= $(shell $(PYTHON) -c 'import os; print(os.cpu_count())')

BIN := .venv/bin
MACHINE ?= $(MACHINES)
# A path is told as a list of one text, in which Snakemake and YAML see no number, no quote and no remark.
PATHS := $(if $(strip $(DATA)),data='["$(subst ','\'',$(DATA))"]') $(if $(strip $(WEIGHTS)),weights='["$(subst ','\'',$(WEIGHTS))"]')
CONFIG := $(PATHS) profile='$(PROFILE)' $(foreach name,MACHINE SNR IDS EXTRACTORS DETECTORS SEEDS SETTINGS CHOICES,\
  $(if $(strip $($(name))),$(shell echo $(name) | tr A-Z a-z)='$($(name))'))
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/snakemake \
  $(if $(strip $(CLUSTER)),--workflow-profile profiles/$(strip $(CLUSTER)),--cores $(CORES)) \
  --quiet host reason --rerun-incomplete --keep-going --nolock \
  $(SNAKEMAKE_ARGS) --config $(CONFIG)

KNOWN := PYTHON PROFILE CORES MACHINE MACHINES DATA SNR IDS EXTRACTORS DETECTORS SEEDS WEIGHTS SETTINGS CHOICES \
  CLUSTER SNAKEMAKE_ARGS
UNKNOWN := $(filter-out $(KNOWN) -%,$(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name))))
$(if $(UNKNOWN),$(error $(UNKNOWN) is not known; expected one of $(KNOWN)))
CLUSTERS := $(patsubst profiles/%/config.yaml,%,$(wildcard profiles/*/config.yaml))
$(if $(filter-out $(CLUSTERS),$(CLUSTER)),$(error CLUSTER: $(CLUSTER) is not known; expected one of $(CLUSTERS)))

.DEFAULT_GOAL := help
.PHONY: help setup book plan bench proof faults intervals rehearsal test check clean

help:  ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10
	@echo
	@echo "make book takes the parameters of the notebooks: PROFILE=… DATA=… SNR=… MACHINE=\"fan pump\" IDS=… SEEDS=… …"
	@echo "On a cluster: make book CLUSTER=slurm …; profiles/slurm says what it takes of it."
	@echo "SNAKEMAKE_ARGS=… hands options to Snakemake."

setup: .venv/ready  ## make the environment in .venv (about 2 minutes, 6 GB)

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --progress-bar off -c constraints.txt -e '.[book,test]'
	@echo "Warming up librosa's compiled parts (once)"
	$(BIN)/python -m mimii_lib.run.precompile
	touch $@

book: .venv/ready  ## run the experiment and render the book to _build/html/index.html
	@$(SNAKEMAKE)
	@echo "The book: _build/html/index.html"

plan: .venv/ready  ## say what `make book` would do, and do nothing
	@$(SNAKEMAKE) --dry-run

bench: .venv/ready  ## measure speed and memory against the plain implementation (some 20 minutes)
	$(BIN)/python benchmarks/speed.py --memory --growth

proof: .venv/ready  ## compare pictures, features, scores and AUCs with the plain implementation
	$(BIN)/python benchmarks/proof.py

faults: .venv/ready  ## break things on purpose, and see that nothing is lost (half an hour)
	$(BIN)/python benchmarks/faults.py --long

intervals: .venv/ready  ## simulate whether the AUCs' intervals cover what they promise (a quarter of an hour)
	$(BIN)/python benchmarks/intervals.py

rehearsal: .venv/ready  ## rehearse at MIMII's full size (an hour, 14 GB), which is removed afterwards
	$(BIN)/python benchmarks/rehearsal.py

test: .venv/ready  ## run the tests
	$(BIN)/pytest -n $$(($(CORES) + 1)) --dist loadfile --no-loadscope-reorder  # one waits, for a browser or a server

check: .venv/ready  ## format, lint, types, and notebook pairs in step
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/run/test_pairs.py

clean:  ## remove everything that the other targets made, but the environment
	rm -rf _build executed results data/miniature_* .cache .snakemake
