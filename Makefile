# A thin index of the real commands. Where the lab lives in a private libvirt, `$(IN)` runs them in there;
# `make shell` opens a shell in which all of them work as anywhere else.

PYTHON := $(firstword $(wildcard /usr/bin/python3) python3)
IN := .venv/bin/python -m host run --
COMMA := ,
UNIT := verify/unit fence/tests mirror/tests host/tests roles/tests

.DEFAULT_GOAL := help
.PHONY: help setup doctor lab test test-all lint unit coverage mirror sbom outdated up provision tutorial tutorial-reset pages exercise check exercise-reset verify drill drills proof lifecycle molecule rehearse mirror-serve reset bench report shell destroy

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

setup: ## install what the host lacks (apt) and the Python environment
	@$(PYTHON) -m host setup

doctor: ## say what is wrong with this host, and how to cure it; installs nothing
	@$(or $(wildcard .venv/bin/python),$(PYTHON)) -m host doctor

lab: setup ## everything: from a fresh machine to a lab in which MySQL's data outlived its node
	@.venv/bin/python -m host lab

test: lint unit ## lint, unit tests, all that `make lab` does, some pages and drills; a lab that it made is removed again
	@.venv/bin/python -m host test

test-all: lint unit ## the same with every page and exercise of the tutorial, the lab's life and the roles' scenarios, however long it takes
	@.venv/bin/python -m host test --all

molecule: setup ## each role on machines that have nothing yet: installed, run again, checked, restarted, checked; ROLE=nfs_server,nfs_client (all), STEP=converge (test)
	@.venv/bin/python -m host molecule --role "$(ROLE)" $(if $(STEP),--step "$(STEP)")

lint: setup ## ruff, mypy, yamllint, ansible-lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/yamllint --strict .
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/ansible-lint --offline

unit: setup ## tests without VMs
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/pytest $(UNIT) -m unit

coverage: setup ## how much of verify/lab and mirror the unit tests reach: 90 % of each, or it fails
	PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/pytest verify/unit mirror/tests -m unit --cov --cov-report=
	.venv/bin/coverage report --include='verify/lab/*'
	.venv/bin/coverage report --include='mirror/*'

mirror: setup ## build the mirror and the box (only what isn't there yet): ALSO=mysql-9.7
	@.venv/bin/python -m mirror build --box full $(if $(ALSO),--also "$(ALSO)")

sbom: setup ## write down what images and boxes are made of, with licences and checksums; reports/sbom
	@.venv/bin/python -m mirror sbom

outdated: setup ## ask the registries what is newer than the mirror's and Python's lock files; changes nothing
	@.venv/bin/python -m mirror outdated

up: setup ## make and start the VMs
	@$(IN) ansible-playbook playbooks/check.yml
	@$(IN) vagrant up --no-tty

provision: ## cluster and NFS server (playbooks/site.yml)
	@$(IN) ansible-playbook playbooks/site.yml

tutorial: ## apply the chapter on MySQL, write all chapters' manifests to .lab/tutorial (playbooks/tutorial.yml): CHAPTERS=all applies all, CHAPTERS=nfs,emptydir some
	@$(IN) ansible-playbook playbooks/tutorial.yml $(if $(CHAPTERS),-e '{"storage_tutorial_chapters": ["$(subst $(COMMA),"$(COMMA) ",$(CHAPTERS))"]}')

tutorial-reset: ## take all objects of the tutorial away; the volumes' data stays (playbooks/tutorial-reset.yml)
	@$(IN) ansible-playbook playbooks/tutorial-reset.yml

pages: ## run every command of docs/tutorial and compare what it prints, solve every exercise: PAGE=01-emptydir (all)
	@$(IN) pytest verify/tutorial -m tutorial $(if $(PAGE),-k "$(PAGE)")

exercise: ## put an exercise of docs/exercises to its beginning: N=3
	@$(IN) python -m verify.exercise set "$(N)"

check: ## say whether an exercise is solved, and what is seen where it isn't: N=3
	@$(IN) python -m verify.exercise check "$(N)"

exercise-reset: ## take an exercise away, with its files: N=3 (all)
	@$(IN) python -m verify.exercise reset $(if $(N),"$(N)")

verify: ## check everything, then power off MySQL's node and look for its data
	@$(IN) pytest verify -m "static or storage or disruptive"

rehearse: setup ## go ways to a cluster that the lab itself doesn't go, on machines of their own: WAY=names, upstream, classroom, metal or upgrade (all)
	@.venv/bin/python -m host rehearse $(WAY)

mirror-serve: ## serve packages, images and boxes to all labs of a room, until Ctrl-C: ADDRESS=10.0.0.5 (every address of this host)
	@.venv/bin/python -m mirror serve --address "$(or $(ADDRESS),0.0.0.0)"

reset: ## put the VMs back to the fresh cluster
	@.venv/bin/python -m host reset

bench: ## measure this host; reports/bench-*.json
	@.venv/bin/python -m host bench $(if $(COLD),--cold)

drill: ## break one thing under load and account for every write: FAULT=power-cut PROFILE=default
	@$(IN) python -m verify.drill --apply --fault "$(or $(FAULT),power-cut)" --profile "$(or $(PROFILE),default)" $(if $(NODE),--node "$(NODE)")

drills: ## the matrix of faults and recovery profiles: FAULTS=power-cut,mysqld-kill PROFILES=default,fenced TIMES=1 (all, all, 1)
	@$(IN) python -m verify.drills $(if $(FAULTS),--faults "$(FAULTS)") $(if $(PROFILES),--profiles "$(PROFILES)") $(if $(TIMES),--times "$(TIMES)")

proof: ## lose throw-away data on purpose, to show that the checks find it
	@$(IN) pytest verify/proof -m proof

lifecycle: ## nodes leave and join, backup and restore, new certificates, all machines off and on; looks whether the data is there
	@$(IN) pytest verify/lifecycle -m lifecycle

report: ## print the newest report's summary and where it lies
	@$(IN) python -m verify.summary

shell: ## a shell in which vagrant, virsh, ansible-playbook, kubectl and pytest work on the lab; CMD='...' runs one command
	@.venv/bin/python -m host shell

destroy: ## remove the VMs and all state; reports stay
	@$(PYTHON) -m host destroy
