PYTHON ?= python3
BIN := .venv/bin

# Where it is set, every process would compile all of torch again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test install lint types

demo: .venv/installed
	$(BIN)/didact simulate hopper --rollouts 4000 --seed 0 --out demo/hopper.parquet
	$(BIN)/didact fit demo/hopper.parquet --label return --privileged 'future_*' --quick --seeds 3 --out demo/fit

test: .venv/installed
	$(BIN)/python -m pytest

lint: .venv/installed
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: .venv/installed
	$(BIN)/mypy

install: .venv/installed

# uv does not read pip's configuration: pass on where pip was told to look for wheels.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	UV_FIND_LINKS="$$($(BIN)/python -m pip config list | sed -n "s/.*find-links='\(.*\)'/\1/p" | tr ' ' '\n' | sort -u | paste -sd,)" \
	  $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[all]' --group dev
	touch $@
