# make demo: trains and tests DA-MambaNet on synthetic skin images, in a few minutes, with or without a GPU
# make test: runs the tests
# make lint: checks format, rules and types
# make docs: builds the documentation's pages into build/site
# make clean: removes what these made
# Everything is installed into .venv; PYTHON names the Python that makes it.

PYTHON ?= python3
VENV ?= .venv
INSTALLED = $(VENV)/.installed
TYPED = build/typed

.PHONY: demo test lint docs typed install clean

demo: $(INSTALLED)
	$(VENV)/bin/nnunet_mamba demo

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(INSTALLED) typed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	cd $(TYPED) && $(abspath $(VENV))/bin/mypy --config-file $(CURDIR)/pyproject.toml

docs: $(INSTALLED) typed
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

# the package as it is installed, with trainers/ and dataset_conversion/ inside: for mypy and for the pages of the API
typed:
	rm -rf $(TYPED)/nnunet_mamba && mkdir -p $(TYPED)/nnunet_mamba
	ln -s $(CURDIR)/nnunet_mamba/* $(CURDIR)/trainers $(CURDIR)/dataset_conversion $(TYPED)/nnunet_mamba

install: $(INSTALLED)

# editable: the sources are used as they are, so only a change of these files needs a new install
$(INSTALLED): setup.cfg setup.py pyproject.toml nnunet_mamba.pth
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing nnunet_mamba with torch and nnU-Net into $(VENV): a few minutes, several GB"
	$(VENV)/bin/python -m pip install --editable ".[test,lint,docs]"
	touch $@

clean:
	rm -rf $(VENV) .venv-3.10 nnunet_mamba_demo build dist .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
