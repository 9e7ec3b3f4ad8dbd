# selchat's own tasks. The `## ` comments are the text of `make help`.

.DEFAULT_GOAL := help
.PHONY: help setup demo test coverage check simulate bench bench-peers clean remake
.SUFFIXES:

PY := .venv/bin/python

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: .venv/.compiled ## make .venv with everything selchat needs to run
	@:

demo: .venv/.compiled ## three peers talk on this machine, by themselves
	@$(PY) demo.py

test: .venv/.ready-dev .venv/.compiled ## all tests
	@$(PY) -m pytest -n 2 --dist loadfile

# What must be covered to the last branch. Of the others the report only tells.
covered = import json, sys; f = json.load(sys.stdin)["files"]; \
	parts = {n: f[n] for n in ("protocol.py", "mesh.py", "contacts.py", "receipts.py", "journal.py", \
	"held.py", "rows.py", "backlog.py", "link.py")}; \
	less = [n for n in parts if parts[n]["summary"]["percent_covered"] < 100]; \
	sys.exit("not covered in full: " + ", ".join(less) if less else 0)

coverage: .venv/.ready-dev ## what the unit tests of mesh, journal and links run, by branches
	@$(PY) -m coverage run -m pytest tests/test_protocol.py tests/test_mesh.py tests/test_contacts.py \
		tests/test_receipts.py tests/test_journal.py tests/test_held.py tests/test_rows.py \
		tests/test_backlog.py tests/test_net.py tests/test_door.py tests/test_node.py
	@$(PY) -m coverage report
	@$(PY) -m coverage json -q -o - | $(PY) -c '$(covered)'

simulate: .venv/.ready-dev ## rooms in which everything goes wrong: SEED= SEEDS= NODES= MINUTES= CHURN=
	@$(PY) -m tests.simulate --seed $(or $(SEED),1) --seeds $(or $(SEEDS),100) --nodes $(or $(NODES),5) \
		--minutes $(or $(MINUTES),0) --churn $(or $(CHURN),10)

check: .venv/.ready-dev ## formatting, lint, types
	@$(PY) -m ruff format --check --quiet . || \
		{ echo 'not formatted; to put it right: $(PY) -m ruff format .' >&2; exit 1; }
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy --no-error-summary

bench: .venv/.ready-dev .venv/.compiled ## how fast selchat is beside others, in six minutes; FAST=1: in one
	@$(PY) -m bench $(if $(FAST),--fast) --json bench.json --svg bench.svg

# Debian's packages are for all of the machine, so only who may do that anyway gets them.
bench-peers: .venv/.ready ## install what `make bench` compares selchat with: Debian's packages, .venv-bench
	@if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -q && apt-get install -y -q --no-install-recommends ncat ngircd mosquitto && \
		echo 'Debian may have started two of them as services: systemctl disable --now ngircd mosquitto'; \
	else \
		echo 'not root, or no apt-get: install ncat, ngircd and mosquitto yourself'; \
	fi
	@[ -x .venv-bench/bin/pip ] || $(PY) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install -q --disable-pip-version-check --no-input \
		pyzmq zeromq-pyre lichen-chat

clean: ## remove all that make has made, .venv too
	@rm -rf .venv .venv-bench bench.json bench.svg .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist \
		selchat.egg-info __pycache__ tests/__pycache__ bench/__pycache__

# .venv, and how it stays sound.
#
# .ready and .ready-dev say what is installed; .unfinished is there while something is
# being installed, so an install that was cut short (kill -9, a power cut) leaves it
# behind. Such a .venv is made anew, and so is one whose python is gone, too old or of
# another version than its packages are for.

# Prints the python that a candidate stands for: not one inside a .venv, which may be
# the very one that is about to go.
suits = import sys, venv, ensurepip; print(sys._base_executable); sys.exit(sys.version_info < (3, 11))
sound = import sys, pip; sys.exit(sys.version_info < (3, 11))
is_sound = [ ! -e .venv/.unfinished ] && $(PY) -I -c '$(sound)' 2>/dev/null

ifneq ($(shell $(is_sound) && echo yes),yes)
.venv/.ready: remake
endif

# Prints the requirements in pyproject.toml that $(1), a Python expression, picks from p.
# An extra's mention of selchat itself is what .ready has installed already.
requirements = $(PY) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*(r for r in $(1) if not r.startswith("selchat[")), sep="\n")'

# Installs them. pip's status counts, its chatter does not.
install = touch .venv/.unfinished; \
	$(call requirements,$(1)) > .venv/requirements.txt && \
	$(PY) -m pip install -q --disable-pip-version-check --no-input -r .venv/requirements.txt; \
	status=$$?; rm -f .venv/.unfinished; exit $$status

# Compiling takes a third of a start, and where PYTHONDONTWRITEBYTECODE is set Python would
# do it at each.
.venv/.compiled: .venv/.ready $(wildcard *.py)
	@$(PY) -m compileall -q *.py && touch $@

announce = echo 'setting up .venv (once, about 10 s)'

.venv/.ready: pyproject.toml
	@$(is_sound) && $(announce) && exit; \
	for candidate in "$(PYTHON)" python3 python3.14 python3.13 python3.12 python3.11; do \
		python=$$("$$candidate" -c '$(suits)' 2>/dev/null) || continue; \
		$(announce) && rm -rf .venv && mkdir .venv && touch .venv/.unfinished && \
		"$$python" -m venv .venv && rm .venv/.unfinished; exit; \
	done; \
	echo 'selchat needs Python 3.11 or newer with its venv module (on Debian and Ubuntu the' \
		'package python3-venv): install it, or say where it is: make PYTHON=/path/to/python3' >&2; \
	exit 1
	@$(call install,p["dependencies"] + [r for e in ("test", "qr") for r in p["optional-dependencies"][e]])
	@touch $@

.venv/.ready-dev: .venv/.ready
	@echo 'adding the development tools to .venv (once, about 10 s)'
	@$(call install,p["optional-dependencies"]["dev"])
	@touch $@
