# make demo: see mlalign at work.  make test: check it.  Both set up .venv first, once.
PYTHON ?= python3
READY := .venv/.ready

.PHONY: help demo test benchmarks clean

help:
	@echo "make demo        install into .venv, classify a simulated data set in a Scipion project, show the result"
	@echo "make test        install into .venv, run the tests (TESTS=tests/programs for some of them, JOBS=1 one by one)"
	@echo "make benchmarks  list the measurements that can be repeated"
	@echo "make clean       remove .venv and what was built"

demo: $(READY)
	@.venv/bin/mlalign demo

# One process to a processor; modules are handed out whole, for what their tests share, in the order of tests/conftest.py.
# Python keeps what it compiles, also where the environment says not to: tests start it hundreds of times.
test: TESTS ?= tests
test: JOBS ?= auto
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)
	@.venv/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(TESTS)

# The installation is editable: changes of the code need no new one, changes of the dependencies do.
$(READY): setup.py pyproject.toml .ci/system.py
	@$(PYTHON) .ci/system.py
	@echo "Making .venv and installing mlalign and what it needs (a few minutes, once)"
	@$(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 --editable ".[test]"
	@.venv/bin/mlalign compile
	@touch $@

benchmarks:
	@echo "Each prints a table; --help explains it, --quick tries it at a tiny size:"
	@sed -n 's|^    python benchmarks/|    .venv/bin/python benchmarks/|p' benchmarks/*.py

clean:
	rm -rf .venv build dist *.egg-info
