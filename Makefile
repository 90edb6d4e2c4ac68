# make install   makes .venv with katibflow in it
# make demo      runs examples/mnist.yaml to its end on this machine
# make test      runs the whole test suite, on all processors
# make test-long runs the tests that take minutes and are left out above
# make test-unit runs the tests that need no process and no server: seconds
# make lint      checks style, types, layers, and what a wheel holds
# make fuzz      feeds the readers of foreign files with changed ones, for a minute
# make pins      brings packages, image and actions that are named exactly up to date
# make bench     prints what katibflow costs as one table, for some minutes
# make docs      writes the reference of the Python API to build/docs

PYTHON ?= python3
BIN := .venv/bin

# One worker runs all tests of a module or a class, since they share what takes long to make.
# One more than there are processors: many tests wait for processes.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)

# uv installs in a third of pip's time; an index that only pip's settings name is left to pip.
ALL := '.[all,torch,dev]'

API := $(addprefix katibflow.,api.experiment api.tuning api.result api.run api.pipeline_task pipelines search reporting errors study.history)

.PHONY: install demo test test-long test-unit lint fuzz browser database compiled pins docs bench clean

install: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, found {v[0]}.{v[1]}: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	@echo "installing katibflow and PyTorch into .venv: some gigabytes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable $(ALL) || $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable $(ALL)
	touch $@

demo: install
	$(BIN)/python trial_image/make_digits.py
	$(BIN)/katibflow run examples/mnist.yaml --map /opt/pytorch-mnist=trial_image

test: install browser database
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope

test-long: install browser database
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadscope -o timeout=0 -m "long and not cluster"

test-unit: install
	$(BIN)/python -m pytest --numprocesses $(WORKERS) -m "not slow and not long" tests/unit

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/lint

# Some tests need a browser or a database; without them they are skipped.
browser:
	@command -v chromium >/dev/null || $(call debian,chromium)

database:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || $(call debian,postgresql)

define debian
{ \
  sudo=$$(test "$$(id -u)" = 0 || echo "sudo --non-interactive"); \
  echo "installing Debian's $(1)"; \
  $$sudo apt-get update --quiet=2 && $$sudo apt-get install --quiet=2 --yes $(1) >/dev/null; \
} || echo "$(1) could not be installed: the tests that need it are skipped"
endef

fuzz: install
	$(BIN)/python -m tests.fuzz 60

pins: install
	$(BIN)/python -m katibflow.compiler.pinning

compiled: install
	$(BIN)/katibflow compile examples/mnist.yaml -o compiled/mnist.yaml
	$(BIN)/katibflow compile examples/mnist.yaml --layout controller -o compiled/mnist-controller.yaml
	$(BIN)/katibflow compile examples/mnist.yaml --target argo --package katibflow==0.1.0 -o examples/argo/mnist.yaml

docs: install
	$(BIN)/pdoc --docformat google --output-directory build/docs $(API)

bench: install
	$(BIN)/python -m benchmarks

clean:
	rm -rf .venv build runs *.egg-info
