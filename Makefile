# Two commands for a newcomer: `make demo` and `make test`. Each sets up .venv first. ARGS='…' passes on.
PYTHON ?= python3
BIN := .venv/bin
BENCHES := machine coalescing isolation memory coalescing_live overhead prediction scale overload
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test check bench faults kills fuzz lab mutants format schemas lock clean

demo: .venv/.installed ## the main job, on a real Kafka of its own: see README
	$(BIN)/failsoft demo $(ARGS)

test: .venv/.installed ## every test, the real broker's too
ifeq ($(ARGS),)
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not alone"
	$(BIN)/python -m pytest -m alone
else
	$(BIN)/python -m pytest $(ARGS)
endif

check: .venv/.installed ## lint, types, rules of dependency, schema drift
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m failsoft.wire.schema --check schemas
	$(BIN)/python docs/state_machines.py --check

bench: .venv/.installed ## figures, each as a table and as JSON in bench/results, on a machine that does nothing else: an hour; QUICK=1: a quarter of it; TRACE=FILE
	@failed=; for name in $(BENCHES); do \
	  echo "== bench.$$name"; $(BIN)/python -m bench.$$name $(if $(QUICK),--quick) || failed="$$failed $$name"; \
	done; \
	if [ -n "$(TRACE)" ]; then echo "== bench.trace"; $(BIN)/python -m bench.trace "$(TRACE)" $(if $(QUICK),--quick) || failed="$$failed trace"; fi; \
	if [ -n "$$failed" ]; then echo "missed or failed:$$failed"; exit 1; fi

faults: .venv/.installed ## real brokers and workers under seeded faults: ARGS='--minutes 20 --seed 1'
	$(BIN)/failsoft faults $(ARGS)

kills: .venv/.installed ## a hundred ends of workers in all states of the broker, fifty frozen workers, the longest trials: 50 minutes
	FAILSOFT_FAULTS=whole $(BIN)/python -m pytest tests/faults tests/endpoints/test_processes.py tests/acceptance/test_breakers_shared.py tests/failover/test_on_kafka.py

fuzz: .venv/.installed ## bytes that nobody should send, at all decoders: ARGS='--seconds 60'
	$(BIN)/python -m tests.wire.fuzz $(ARGS)

lab: .venv/.installed ## the rule that chooses tiers, against its bound, with every seed: 4 minutes
	FAILSOFT_LAB=whole $(BIN)/python -m pytest tests/simulation/test_policy_lab.py $(ARGS)

mutants: .venv/.installed ## seeded mistakes, each of which a test must catch
	$(BIN)/python -m tests.mutants $(ARGS)

format: .venv/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schemas: .venv/.installed ## write schemas/ and docs/state-machines.md anew from the code
	$(BIN)/python -m failsoft.wire.schema --write schemas
	$(BIN)/python docs/state_machines.py --write

lock: .venv/.installed ## compile requirements/dev.lock anew: versions and hashes, no addresses
	$(BIN)/uv pip compile -q pyproject.toml --extra demo --extra broker --extra streams --group dev --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate \
	  --custom-compile-command "make lock" -o requirements/dev.lock

.venv/.installed: requirements/dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "failsoft needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 3; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
