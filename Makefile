# `python -m tools …` does the work, so that Windows users need no make. ARGS is passed on.
PYTHON ?= python3

.PHONY: demo test lint format

demo:
	$(PYTHON) -m tools demo $(ARGS)

test:
	$(PYTHON) -m tools test $(ARGS)

lint:
	$(PYTHON) -m tools lint

format:
	$(PYTHON) -m tools format
