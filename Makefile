# Two commands: `make run` opens the program, `make test` checks it. Both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
QT_LIBRARIES := libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1
export HF_HUB_OFFLINE := 1

.PHONY: run test lint format screenshots wheel clean qt-libraries install

install: $(STAMP)

# Stale as soon as the lock file or the project's own settings are newer.
$(STAMP): requirements.lock pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --retries 5 -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

run: $(STAMP) qt-libraries
	@$(BIN)/python main.py --demo

# Qt needs a few system libraries that a bare Debian or Ubuntu lacks. Elsewhere this does nothing.
qt-libraries: $(STAMP)
	@$(BIN)/python -c "import PySide6.QtWidgets" 2>/dev/null || $(MAKE) --no-print-directory install-qt-libraries

.PHONY: install-qt-libraries
install-qt-libraries:
	@if ! command -v apt-get >/dev/null; then \
	    echo "Qt can't start: install the libraries for EGL, GL, xkbcommon, D-Bus and fontconfig."; exit 1; \
	elif [ "$$(id -u)" != 0 ]; then \
	    echo "Qt needs some Debian packages, and this user may not install them. Please run:"; \
	    echo "    sudo apt-get install $(QT_LIBRARIES)"; exit 1; \
	fi
	apt-get update -qq
	apt-get install -qq -y --no-install-recommends $(QT_LIBRARIES)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: $(STAMP) qt-libraries lint
	QT_QPA_PLATFORM=offscreen OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

screenshots: $(STAMP) qt-libraries
	$(BIN)/python docs/make_screenshots.py

wheel: $(STAMP)
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache
