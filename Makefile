# All commands of the project. Python 3.11 or newer and make are enough; the rest is set up as needed.
SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?=
ARGS ?=
VENV_PYTHON := .venv/bin/python

##
## TenantRooms: each tenant sees its own LiveKit rooms only.
##

.PHONY: run
run: setup  ## start LiveKit, the service and the edge with demo rooms; Ctrl-C stops all
	@$(VENV_PYTHON) -m tools.demo

.PHONY: test
test: setup  ## run all tests, on a real LiveKit too; ARGS="tests/edge -k masked" goes to pytest
	@$(VENV_PYTHON) -m tools.livekit_server >/dev/null
	@$(VENV_PYTHON) -m pytest $(ARGS)

.PHONY: wall
wall: setup  ## try the wall with full counts (three quarters of an hour; best on a quiet machine), and note the figures
	@$(VENV_PYTHON) -m tools.livekit_server >/dev/null
	@$(VENV_PYTHON) -m pytest --wall $(ARGS)
	@$(VENV_PYTHON) -m tools.figures wall

.PHONY: load
load: setup  ## load, and faults under load (some 25 minutes; ARGS="--load-minutes 2" takes less), and note the figures
	@$(VENV_PYTHON) -m tools.livekit_server >/dev/null
	@$(VENV_PYTHON) -m pytest --load $(ARGS)
	@$(VENV_PYTHON) -m tools.figures reliability

.PHONY: soak
soak: setup  ## an hour under load (ARGS="--soak-minutes 5" takes less): does anything grow? Note the figures
	@$(VENV_PYTHON) -m tools.livekit_server >/dev/null
	@$(VENV_PYTHON) -m pytest --soak $(ARGS)
	@$(VENV_PYTHON) -m tools.figures reliability

.PHONY: fuzz
fuzz: setup  ## half an hour of generated requests and bytes (ARGS="--fuzz-minutes 5" takes less), and note the figures
	@$(VENV_PYTHON) -m tools.livekit_server >/dev/null
	@$(VENV_PYTHON) -m pytest --fuzz $(ARGS)
	@$(VENV_PYTHON) -m tools.figures reliability

.PHONY: check
check: setup  ## lint, formatting, types, the contract, links in the docs
	@$(VENV_PYTHON) -m ruff check
	@$(VENV_PYTHON) -m ruff format --check
	@$(VENV_PYTHON) -m mypy
	@$(VENV_PYTHON) -m tools.contract check
	@$(VENV_PYTHON) -m tools.doclinks

.PHONY: rules
rules: setup  ## try the alert rules with Prometheus's own evaluation; needs Go, and minutes the first time
	@$(VENV_PYTHON) -m tools.alert_rules

# Takes its packages in addition, into the same .venv.
.PHONY: bench
bench: setup  ## measure TenantRooms next to its yardsticks, 25 minutes; ARGS=--quick takes two
	@$(VENV_PYTHON) -m tools.setup --benchmarks
	@$(VENV_PYTHON) -m benchmarks $(ARGS)

.PHONY: profile
profile: setup  ## show where a request's time goes; ARGS="--kind distinct --grpc" chooses the request
	@$(VENV_PYTHON) -m tools.setup --benchmarks
	@$(VENV_PYTHON) -m benchmarks.profile $(ARGS)

.PHONY: generate
generate: setup  ## write generated/ anew from protos/
	@$(VENV_PYTHON) -m tools.contract generate

.PHONY: wheel
wheel: setup  ## build the typed client's wheel for other Python services
	@$(VENV_PYTHON) -m tools.client_wheel

# Hashes only, and no address: whoever installs decides where packages come from.
UV_COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--only-binary :all: --no-emit-index-url --custom-compile-command "make lock" $(ARGS)

.PHONY: lock
lock: setup  ## pin all dependencies anew from pyproject.toml; ARGS=--upgrade takes newer versions
	@$(UV_COMPILE) pyproject.toml --output-file requirements.txt
	@$(UV_COMPILE) --extra traces --constraint requirements.txt pyproject.toml --output-file requirements-traces.txt
	@$(UV_COMPILE) --extra traces --group dev --constraint requirements-traces.txt pyproject.toml --output-file requirements-dev.txt
	@$(UV_COMPILE) --group bench --constraint requirements-dev.txt --output-file requirements-bench.txt
	@$(UV_COMPILE) --group audit --constraint requirements-dev.txt --output-file requirements-audit.txt
	@$(UV_COMPILE) tools/livekit/requirements-go.in --output-file tools/livekit/requirements-go.txt

# Their packages go into an environment of their own, so that they change nothing of what is tested.
.PHONY: audit
audit: setup  ## look the locked packages up among known vulnerabilities; needs an advisory service
	@$(VENV_PYTHON) -m tools.supply_chain audit $(ARGS)

.PHONY: sbom
sbom: setup  ## write dist/tenantrooms-sbom.cdx.json: all that runs, with versions and hashes
	@$(VENV_PYTHON) -m tools.supply_chain sbom

.PHONY: clean
clean:  ## remove all that make made, the built LiveKit server included
	rm -rf .venv .cache dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help:  ## show this list
	@sed -n 's/^## \{0,1\}//p' Makefile
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile
	@printf '\n%s\n%s\n%s\n' \
	  'PYTHON=python3.12 chooses the Python that .venv is made with. Ports of `make run`: PORT (edge, 3001),' \
	  'DEMO_GRPC_PORT (50051), DEMO_LIVEKIT_PORT (7880). LIVEKIT_URL with LIVEKIT_API_KEY and' \
	  'LIVEKIT_API_SECRET: your own server instead; nothing is created or removed on it.'

# Not listed by help: every other command runs it. Does nothing, at once, when nothing changed.
.PHONY: setup
setup:
	@if [ -z "$(PYTHON)" ] && $(VENV_PYTHON) -m tools.setup --check 2>/dev/null; then exit 0; fi; \
	old=; incomplete=; \
	for python in $(if $(PYTHON),"$(PYTHON)",python3.14 python3.13 python3.12 python3.11 python3); do \
	  "$$python" -c '' 2>/dev/null || continue; \
	  if ! "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then old=$$python; continue; fi; \
	  if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then incomplete=$$python; continue; fi; \
	  exec "$$python" -m tools.setup; \
	done; \
	if [ -n "$$incomplete" ]; then \
	  echo "$$incomplete lacks its venv or ensurepip module. On Debian and Ubuntu: apt-get install python3-venv" >&2; \
	elif [ -n "$$old" ]; then \
	  echo "$$old is $$("$$old" --version 2>&1), and 3.11 or newer is needed. Install one, or name it: make PYTHON=/path/to/python" >&2; \
	else \
	  echo "No Python found$(if $(PYTHON), at PYTHON=$(PYTHON)). Install Python 3.11 or newer with venv (Debian and Ubuntu: apt-get install python3 python3-venv)." >&2; \
	fi; exit 1
