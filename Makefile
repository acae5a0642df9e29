# `make book` builds the pages, `make test` checks everything. Another Python: make book PYTHON=python3.12
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
START  := $(shell date +%s)

# A new lock or pyproject has a new name here, so the environment is brought up to date once.
READY  := $(VENV)/.ready-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)

.PHONY: book test bench colab elsewhere strip keep clean

book: $(READY)
	@$(RUN) -m bookbuild.build --started $(START)

# Every chapter runs once, through nbmake; the pages are then made from those runs.
test: $(READY)
	@$(RUN) -m ruff check lib tests
	@$(RUN) -m pytest tests
	@$(RUN) -m bookbuild.build --all --started $(START)
	@$(RUN) -m pytest tests/pages

# Every chapter as on Colab: among Colab's packages, installed by its own set-up cell.
CHAPTERS := $(sort $(wildcard chapters/*.ipynb))
colab: $(READY)
	@$(RUN) tests/replay_colab.py $(CHAPTERS)

# Every chapter on a model of another family, in half precision and off the CPU, as a reader has it.
elsewhere: $(READY)
	@$(RUN) tests/replay_elsewhere.py $(CHAPTERS)

# Times the sweeps against other ways to make them; the page "Why the sweeps are fast" shows it.
bench: $(READY)
	@$(RUN) -m bookbuild.bench

# Removes outputs from the chapters' sources, as they are kept in git.
strip: $(READY)
	@$(RUN) -m bookbuild.build --strip

# Makes what the chapters measured in the last build the results that ship with the book.
keep:
	mkdir -p data/results && cp -r _build/results/. data/results/

clean:
	rm -rf _build

$(READY):
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "Python 3.11, 3.12 or 3.13 is needed, and this is %d.%d. Try: make book PYTHON=python3.11" % v)'
	@echo "Preparing $(VENV) (once, some minutes)"
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --without-pip $(VENV)
	@$(PYTHON) -m pip --python $(RUN) install --quiet -r requirements.lock
	@$(PYTHON) -m pip --python $(RUN) install --quiet --no-deps -e .
	@rm -f $(VENV)/.ready-* && touch $@
