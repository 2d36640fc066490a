# A few aliases of the program `outlive`, which knows all commands: `.venv/bin/outlive --help`.

PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)

.DEFAULT_GOAL := help
.PHONY: help setup doctor lab test test-all

help: ## list these targets; .venv/bin/outlive --help lists all commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup: ## install what the host lacks (apt), Python's packages and the program outlive
	@PYTHONPATH="$(CURDIR)/src" $(PYTHON) -m outlive setup

doctor: ## say what is wrong with this host, and how to cure it; installs nothing
	@PYTHONPATH="$(CURDIR)/src" $(or $(wildcard .venv/bin/python),$(PYTHON)) -m outlive doctor

lab: setup ## everything: from a fresh machine to a lab in which MySQL's data outlived its node
	@.venv/bin/outlive lab

test: setup ## lint, unit tests, all that `make lab` does, pages and drills; a lab that it made is removed again
	@.venv/bin/outlive test

test-all: setup ## the same with every page and exercise, a lab's life and all roles, however long it takes
	@.venv/bin/outlive test --all
