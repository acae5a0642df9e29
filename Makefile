# `make book` builds the pages, `make test` checks everything. Another Python: make book PYTHON=python3.12
PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
START  := $(shell date +%s)

.PHONY: ready book test print lighthouse archive teach exercises address release bench colab elsewhere strip keep clean

book: ready
	@$(RUN) -m bookbuild.build --started $(START)

# The tests run side by side, each file, or all that visits a page, in one process of one thread:
# make test WORKERS=4. Every chapter runs once, through nbmake; the pages are made from those runs.
WORKERS ?= 2
TESTS   := OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) --dist
test: ready
	@$(RUN) -m ruff check lib tests
	@$(TESTS) loadfile tests
	@$(RUN) -m bookbuild.build --all --started $(START)
	@$(TESTS) loadgroup tests/pages

# The book as one PDF, _build/book.pdf.
print: book
	@$(RUN) -m bookbuild.printing

# What Lighthouse says of some pages on phone settings (needs Node).
lighthouse: book
	@$(RUN) -m bookbuild.lighthouse

# The pages as a zip with a checksum, which opens from a USB stick.
archive: book
	@$(RUN) -m bookbuild.archive

# The lab for a class, in _build/teach: a students' version, and a teacher's with solutions and outputs.
teach: ready
	@$(RUN) -m bookbuild.teach

# Writes the page "All exercises" from the cards in the chapters.
exercises: ready
	@$(RUN) -m bookbuild.cards

# Says everywhere where the book lives: make address URL=https://github.com/owner/name
address: ready
	@$(RUN) -m bookbuild.address "$(URL)" "$(PAGES)"

# Gives the book a version, whose tag the chapters install on Colab: make release VERSION=0.2.0
release: ready
	@$(RUN) -m bookbuild.release "$(VERSION)"

# Every chapter as on Colab: among Colab's packages, installed by its own set-up cell.
CHAPTERS := $(shell find chapters -name '*.ipynb' -not -path '*/.*' | sort)
colab: ready
	@$(RUN) tests/replay_colab.py $(CHAPTERS)

# Every chapter on a model of another family, in half precision and off the CPU, as a reader has it.
elsewhere: ready
	@$(RUN) tests/replay_elsewhere.py $(CHAPTERS)

# Times the sweeps against other ways to make them; the page "Why the sweeps are fast" shows it.
bench: ready
	@$(RUN) -m bookbuild.bench

# Removes outputs from the chapters' sources, as they are kept in git.
strip: ready
	@$(RUN) -m bookbuild.build --strip

# Makes what the chapters measured in the last build the results that ship with the book.
keep:
	mkdir -p data/results && cp -r _build/results/. data/results/

clean:
	rm -rf _build

ready:
	@$(PYTHON) lib/bookbuild/ready.py $(VENV)
