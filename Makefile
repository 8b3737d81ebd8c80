# For a newcomer: `make serve`, `make demo` and `make test`. Each does everything from a bare clone.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# TORCH=cpu: PyTorch without CUDA, 4 GB less. The index is PyTorch's own.
TORCH  ?=
TORCH_CPU := '$(shell sed -n 's/^ *"\(torch>=[^"]*\)",$$/\1/p' pyproject.toml)' --index-url https://download.pytorch.org/whl/cpu

.PHONY: help demo serve test test-pythons lint format check bench bench-live wheel clean schema reference
help:
	@echo "make demo    translate the shipped recordings into build/demo"
	@echo "make serve   speak in Chrome and hear the translation, at http://127.0.0.1:8000/"
	@echo "make test    run all tests (CPU only, no network)"
	@echo "make test-pythons   the same, and the demo, on each Python here with the newest dependencies allowed (7 GB each)"
	@echo "make lint    ruff, mypy --strict, import-linter"
	@echo "make bench   print the tables of docs/BENCHMARKS.md; make bench-live those of live calls (needs Chromium)"

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(if $(filter cpu,$(TORCH)),$(BIN)/python -m pip install --quiet --progress-bar off $(TORCH_CPU))
	$(BIN)/python -m pip install --quiet --progress-bar off -e '.[dev,all]'
	@touch $@

demo: $(STAMP)
	$(BIN)/tolmach run phrasebook config/demo/phrasebook-en.flac -o build/demo/en-ru --overwrite
	$(BIN)/tolmach run phrasebook config/demo/phrasebook-ru.flac -o build/demo/ru-en --overwrite \
	    --set source_lang=ru --set target_lang=en
	$(BIN)/tolmach run whisper config/demo/whisper-ru.flac -o build/demo/whisper --overwrite
	@echo "dubs, subtitles and events: build/demo/*/*/{dub.wav,subtitles.srt,events.jsonl}"

serve: $(STAMP)
	$(BIN)/tolmach serve

test: $(STAMP)
	# Two files at a time, but those in a browser: they hear and see live, and want the machine to themselves.
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not browser"
	$(BIN)/python -m pytest -m browser

# PYTHONS="3.12 3.13" chooses; see the script.
test-pythons:
	.ci/pythons $(PYTHONS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/tolmach check config/*.yaml
	$(BIN)/tolmach schema --check

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: $(STAMP)
	$(BIN)/tolmach schema > config/graph.schema.json

reference: $(STAMP)
	$(BIN)/tolmach inspect --builtin --format markdown > docs/ELEMENT_TYPES.md

bench: $(STAMP)
	$(BIN)/python -m tests.bench

bench-live: $(STAMP)
	$(BIN)/python -m tests.bench.live

wheel: $(STAMP)
	$(BIN)/python -m build --wheel --outdir dist

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
