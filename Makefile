# A few aliases of the program `outlive`, which knows all commands: `.venv/bin/outlive --help`.

PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)
# Debian's smallest systems have none, and all else is written in it.
INSTALL_PYTHON := apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -yqq --no-install-recommends install python3 >/dev/null

.DEFAULT_GOAL := help
.PHONY: help setup doctor lab test test-all

help: ## list these targets; .venv/bin/outlive --help lists all commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: ## install what the host lacks (apt), Python's packages and the program outlive
	@command -v $(PYTHON) >/dev/null || { echo "python3 ... (apt-get, which needs root)"; $$(test "$$(id -u)" = 0 || echo sudo) sh -c '$(INSTALL_PYTHON)'; } || \
		{ echo "error: python3 is missing and could not be installed: see the words above, or install Python 3.11 or newer" >&2; exit 2; }
	@PYTHONPATH="$(CURDIR)/src" $(PYTHON) -m outlive setup

doctor: ## say what is wrong with this host, and how to cure it; installs nothing
	@command -v $(PYTHON) >/dev/null || { echo "error: python3 is missing: \`make setup\` installs it" >&2; exit 2; }
	@PYTHONPATH="$(CURDIR)/src" $(or $(wildcard .venv/bin/python),$(PYTHON)) -m outlive doctor

lab: setup ## everything: from a fresh machine to a lab in which MySQL's data outlived its node
	@.venv/bin/outlive lab

test: setup ## lint, unit tests, all that `make lab` does, pages and drills; a lab that it made is removed again
	@.venv/bin/outlive test

test-all: setup ## the same with every page and exercise, a lab's life and all roles, however long it takes
	@.venv/bin/outlive test --all
