# One command each: `make run` trains, measures and reports; `make test` runs everything that CI runs.

PYTHON ?= python3
CORES ?= all
# Empty takes config/config.yaml.
CONFIG ?=
VENV := .venv
BIN := $(abspath $(VENV))/bin
READY := $(VENV)/.ready
TEST_READY := $(VENV)/.test-ready

.PHONY: run test check benchmark setup lock schema
.DELETE_ON_ERROR:

run: $(READY)
	@test -z "$(CONFIG)" -o -r "$(CONFIG)" || { \
	  echo "$(CONFIG): cannot be read. Name an experiment, such as: make run CONFIG=config/paper.yaml" >&2; exit 1; }
	PATH="$(BIN):$$PATH" snakemake --cores $(CORES) $(addprefix --configfile ,$(CONFIG))
	@echo
	@echo "Report: $(abspath results/report.html)"

setup: $(READY)

# Lint, types, import contracts, then every test: in one process whole workflows, in another those on virtual hosts and
# all others.
test: $(TEST_READY)
	@tools/need chromium chromium-browser google-chrome -- chromium
	@tools/need sshd /usr/sbin/sshd -- openssh-server
	@tools/need adb -- adb
	@tools/need ip /usr/sbin/ip -- iproute2
	PATH="$(BIN):$$PATH" tools/check
	PATH="$(BIN):$$PATH" pytest --numprocesses 2 --no-loadscope-reorder $(PYTEST)

check: $(TEST_READY)
	PATH="$(BIN):$$PATH" tools/check

benchmark: $(TEST_READY)
	$(BIN)/pip install --quiet --requirement requirements-bench.lock
	PATH="$(BIN):$$PATH" python benchmarks/run.py

# Defaults, JSON schemas, the data model document and the captions, from what they follow from.
schema: $(READY)
	PATH="$(BIN):$$PATH" python -m edgecarbon.config.generate
	PATH="$(BIN):$$PATH" python -m edgecarbon.store.document
	PATH="$(BIN):$$PATH" python -m edgecarbon.charts.captions

lock: $(READY)
	$(BIN)/python tools/lock.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "edgecarbon needs Python 3.11, 3.12 or 3.13; '$(PYTHON)' is `$(PYTHON) --version 2>&1`." >&2; \
	  echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(READY): requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(TEST_READY): requirements-test.lock $(READY)
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-test.lock
	@touch $@
