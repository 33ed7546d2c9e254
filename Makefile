# make help shows the targets; everything that a target needs it installs first.
RECIPE ?= recipes/$(shell .ci/host-packages family)-nfs.yml
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
BIN := .venv/bin
# in a user's checkout root writes nothing but output/
PYTEST := $(SUDO) $(BIN)/pytest $(if $(SUDO),-p no:cacheprovider)

.DEFAULT_GOAL := help
.PHONY: help build boot test test-full test-hosts test-boot lint format bench docs clean host-build host-boot host-test

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: host-build $(BIN)/diskless ## build RECIPE (this host's distribution) into output/
	@echo "$(BIN)/diskless build $(OPTIONS) '$(RECIPE)'"
	@version=$$($(BIN)/diskless build $(OPTIONS) '$(RECIPE)') && .ci/what-next "$$version" '$(RECIPE)'

boot: host-boot $(BIN)/diskless ## boot IMAGE (the newest build) in QEMU, without a disk
	$(SUDO) $(BIN)/diskless boot $(IMAGE)

test: host-test $(BIN)/pytest ## every test that a change should pass: at most 20 minutes, one boot
	$(PYTEST) -m "not full" -n 2 --dist loadscope --no-loadscope-reorder --durations=40 --durations-min=5

test-full: host-test $(BIN)/pytest ## all tests
	$(PYTEST)

test-hosts: host-build $(BIN)/pytest ## README's commands on minimal Debian 12 and 13; CELLS='trixie-* ...', COMMANDS='make build, ...', JSON=1
	@$(SUDO) $(BIN)/python -m tests.hosts --cells "$(CELLS)" --commands "$(COMMANDS)" $(if $(JSON),--json)

test-boot: host-test $(BIN)/pytest ## every firmware, loader, distribution and root: boots, docs/boot-matrix.md; CELLS='uefi-*/debian-12/*'
	@$(SUDO) $(BIN)/python -m tests.bootmatrix --cells "$(CELLS)"

lint: $(BIN)/pytest ## style, types and the floors of the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(BIN)/pytest ## put the code into its form
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: host-test $(BIN)/pytest ## compare with peers in the same run
	$(SUDO) $(BIN)/python -m tests.bench

docs: $(BIN)/diskless ## write the documents that are made from the model
	$(BIN)/python -m builder.render.documents.reference recipe > docs/recipe.md
	$(BIN)/python -m builder.render.documents.reference site > docs/site.md
	$(BIN)/diskless schema recipe > recipes/recipe.schema.json
	$(BIN)/python -m builder.render.documents.events > docs/events.md
	$(BIN)/python -m builder.cli.manual > docs/diskless.1

clean: ## remove what make made, but not output/
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

host-build:
	@.ci/host-packages build '$(RECIPE)'

host-boot:
	@.ci/host-packages build '$(RECIPE)' boot

host-test:
	@.ci/host-packages build '$(RECIPE)' test

$(BIN)/diskless: pyproject.toml | host-build
	@[ ! -e .venv ] || [ -w .venv ] || { echo "make: .venv is not yours to change: sudo rm -r .venv" >&2; exit 1; }
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@cp .ci/root.pth "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
	@touch $@

$(BIN)/pytest: pyproject.toml | host-build $(BIN)/diskless
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
