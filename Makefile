# SPDX-License-Identifier: Apache-2.0
# One command for each thing one does here. `make help` lists them.
SHELL := /bin/bash
PYTHON := /usr/bin/python3
PRESET ?= release
FUZZ_SECONDS ?= 10
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: all help setup build demo test fuzz lint tidy format clean

all: build

help:
	@echo 'make          install what is missing, build (PRESET=release|asan|tsan|fuzz)'
	@echo 'make demo     the main job, end to end, in network namespaces on this machine (root)'
	@echo 'make test     every test: unit, property, simulation, end to end (root)'
	@echo 'make fuzz     every fuzz target with its corpus for FUZZ_SECONDS=$(FUZZ_SECONDS) each'
	@echo 'make format   format the C++ sources; make lint: check format and layers; make tidy: clang-tidy'
	@echo 'make clean    remove build/'

setup:
	@tools/setup.sh

build: setup
	@tools/build.sh $(PRESET)

# Only what the demo runs: the tests take longer to build than all else.
demo: setup
	@tools/build.sh release testudo strongswan-kernel-testudo
	@$(PYTHON) -m lab.demo

test: build
	@$(PYTHON) tools/run_tests.py --preset $(PRESET) $(if $(filter command line environment,$(origin FUZZ_SECONDS)),--fuzz-seconds $(FUZZ_SECONDS))

fuzz: setup
	@$(PYTHON) tools/run_fuzz.py --seconds $(FUZZ_SECONDS)

sources = $(shell git ls-files --cached --others --exclude-standard 'src/*.h' 'src/*.cc' 'sim/*.h' 'sim/*.cc' 'apps/*.cc' 'apps/*.h' 'bench/*.cc')

format:
	@clang-format -i $(sources)

lint:
	@tools/check_layers.py .
	@clang-format --dry-run -Werror $(sources)

tidy: build
	@clang-tidy -p build/release --quiet $(filter %.cc,$(sources))

# strongSwan's headers stay: they come from Debian's archive, not from our sources.
clean:
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name strongswan-headers -exec rm -rf {} +
