# make demo    sets up .venv, a first look at MNIST in a minute, leaves a draft of a report in runs/
# make study   sets up .venv, runs the study on MNIST, leaves a report in runs/
# make test    sets up .venv, runs the tests but the slow ones
# make test-all   every test
# make lint    ruff and mypy        make wheel   dist/*.whl and *.tar.gz, checked
# make docs    the docs site in site/, any warning an error
# make fuzz    reads damaged and forged files of each kind; draws arguments for every operator that a file may name
# make clean   removes .venv and what was built or cached; runs/ stays
#
# PYTHON=python3.12 names the Python that .venv is made with. Where pip finds packages is up to its own
# settings: on a machine without a GPU, name an index of CPU builds of torch to it, else it takes the
# registry's torch with several GB of CUDA packages.

PYTHON ?= python3
JOBS ?= auto
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq --constraint constraints.txt
# Each of the processes takes the tests of a file together, as long as there are some: what they share is made once.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -rs
TORCH := $(shell sed -n 's/^\(torch==[^ ;]*\).*/\1/p' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help demo study test test-all lint docs wheel fuzz clean constraints

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/.study
	$(BIN)/secateur study --quick $(ARGS)

study: $(VENV)/.study
	$(BIN)/secateur study $(ARGS)

test: $(VENV)/.dev
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(VENV)/.dev
	$(PYTEST) $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

wheel: $(VENV)/.dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist .
	$(BIN)/twine check --strict dist/*

fuzz: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tools/fuzz/archives.py $(or $(COUNT),1000) $(or $(SEED),0) \
	  --out benchmarks/results/fuzz_files.json
	$(BIN)/python benchmarks/fuzz_operators.py --out benchmarks/results/fuzz_operators.json

clean:
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

# torch first: whatever needs it afterwards takes the one that is there.
$(VENV)/.torch: tools/venv.sh constraints.txt
	@echo "secateur: setting up $(VENV)"
	@tools/venv.sh $(VENV) $(PYTHON)
	$(PIP) $(TORCH)
	$(PIP) hatchling
	@touch $@

$(VENV)/.study: $(VENV)/.torch pyproject.toml
	$(PIP) --no-build-isolation --editable '.[study]'
	@touch $@

$(VENV)/.dev: $(VENV)/.study
	$(PIP) --no-build-isolation --editable '.[dev]'
	@touch $@

# Needs uv. CUDA packages are left out: they go with the torch that pip chooses.
constraints:
	cp constraints.txt constraints.new
	echo '$(TORCH)' | uv pip compile --quiet --universal --python-version 3.10 --fork-strategy requires-python \
	  --extra dev --constraint - --no-annotate --no-header --output-file constraints.new pyproject.toml > /dev/null
	sed -i -E '/^(nvidia|cuda|triton)|win32|nt.$$/d; s/ and \(?(platform|implementation|sys)_.*//; s/ ; (platform|sys|implementation)_.*//' \
	  constraints.new
	(sed -n '/^#/p' constraints.txt; cat constraints.new) > constraints.both
	mv constraints.both constraints.txt && rm constraints.new
