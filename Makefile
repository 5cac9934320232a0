# `python -m tools …` does the work, so that Windows users need no make. ARGS is passed on.
PYTHON ?= python3

.PHONY: demo tables test test-all coverage api lint format

demo:
	$(PYTHON) -m tools demo $(ARGS)

tables:
	$(PYTHON) -m tools tables $(ARGS)

test:
	$(PYTHON) -m tools test $(ARGS)

test-all:
	$(PYTHON) -m tools test-all $(ARGS)

coverage:
	$(PYTHON) -m tools coverage $(ARGS)

api:
	$(PYTHON) -m tools api $(ARGS)

lint:
	$(PYTHON) -m tools lint

format:
	$(PYTHON) -m tools format
