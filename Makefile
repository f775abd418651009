# make demo: trains and tests DA-MambaNet on synthetic skin images, in a few minutes, with or without a GPU
# make test: runs the tests
# make clean: removes what these two made
# Everything is installed into .venv; PYTHON names the Python that makes it.

PYTHON ?= python3
VENV ?= .venv
INSTALLED = $(VENV)/.installed

.PHONY: demo test clean

demo: $(INSTALLED)
	$(VENV)/bin/nnunet_mamba demo

test: $(INSTALLED)
	$(VENV)/bin/python -m pytest -q --numprocesses 2 --dist loadfile

# editable: the sources are used as they are, so only a change of these files asks for a new install
$(INSTALLED): setup.cfg setup.py pyproject.toml nnunet_mamba.pth
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "installing nnunet_mamba with torch and nnU-Net into $(VENV): a few minutes, several GB"
	$(VENV)/bin/python -m pip install --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) nnunet_mamba_demo build dist .pytest_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
