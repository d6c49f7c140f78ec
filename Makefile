# SPDX-License-Identifier: Apache-2.0
# One command for each thing one does here. `make help` lists them.
SHELL := /bin/bash
PYTHON := /usr/bin/python3
PRESET ?= release
FUZZ_SECONDS ?= 10
BENCH_SECONDS ?= 420
ROUNDS ?= 20
SCENARIO ?= protocols
SEEDS ?= 10000
# Folders of src/ that `make tidy` looks at: the data plane.
TIDY ?= base wire crypto ipsec policy sequence distributor target path
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: all help setup build demo test sim model mutations fuzz bench availability lint tidy format clean

all: build

help:
	@echo 'make          install what is missing, build (PRESET=release|asan|tsan|fuzz)'
	@echo 'make demo     the main job, end to end, in network namespaces on this machine (root)'
	@echo 'make test     every test: unit, property, simulation, models, end to end (root)'
	@echo 'make sim      seeds 1 to SEEDS=$(SEEDS) of the simulation, SCENARIO=$(SCENARIO) (docs/simulation.md)'
	@echo 'make mutations  small faults in the code of leases and replay protection: which check catches each?'
	@echo 'make fuzz     every fuzz target with its corpus for FUZZ_SECONDS=$(FUZZ_SECONDS) each'
	@echo 'make model    prove leases, replay and ownership with SPIN (docs/proof.md)'
	@echo 'make bench    benchmarks against DPDK and ipsec-mb, about BENCH_SECONDS=$(BENCH_SECONDS) (docs/performance.md)'
	@echo 'make availability  kill the owner ROUNDS=$(ROUNDS) times and see what clients notice (docs/availability.md; root)'
	@echo 'make format   format the C++ sources; make lint: check format, layers and mutations'
	@echo 'make tidy     clang-tidy over the folders of src/ in TIDY="$(TIDY)"'
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

# Prints the seeds that fail, each with its transcript, and how many were well.
sim: setup
	@tools/build.sh $(PRESET) sim_cluster
	@set -o pipefail; build/$(PRESET)/sim/sim_cluster --scenario $(SCENARIO) --seeds 1..$(SEEDS) --jobs "$$(nproc)" | \
	  awk '/^seed [0-9]+: ok/ { ok++; next } { print } END { print ok + 0 " seeds are well" }'

mutations: setup
	@$(PYTHON) tools/run_mutations.py

fuzz: setup
	@$(PYTHON) tools/run_fuzz.py --seconds $(FUZZ_SECONDS)

model: setup
	@$(PYTHON) tools/run_model.py

availability: setup
	@tools/build.sh release testudo strongswan-kernel-testudo
	@$(PYTHON) bench/availability.py --rounds $(ROUNDS)

# The peers are Debian packages that only this needs.
bench: setup
	@tools/setup.sh --bench
	@$(PYTHON) bench/run.py --seconds $(BENCH_SECONDS)

# Of the working tree, without what is deleted in it. The charon plugin is C in strongSwan's style.
sources = $(wildcard $(shell git ls-files --cached --others --exclude-standard \
  'src/*.h' 'src/*.cc' 'sim/*.h' 'sim/*.cc' 'apps/*.h' 'apps/*.cc' 'bench/*.h' 'bench/*.cc' 'plugins/*.cc'))

format:
	@clang-format -i $(sources)

lint:
	@tools/check_layers.py .
	@tools/run_mutations.py --list >/dev/null  # each text is still there
	@clang-format --dry-run -Werror $(sources)

# Headers are looked at through the sources that include them. It needs the compile commands and generated headers only.
tidy: build
	@printf '%s\n' $(filter %.cc,$(filter-out %_test.cc %_fuzz.cc %_bench.cc,$(filter $(TIDY:%=src/%/%),$(sources)))) | \
	  xargs -r -P "$$(nproc)" -n 4 clang-tidy -p build/$(PRESET) --quiet 2> >(grep -vE '^[0-9]+ warnings? generated' >&2)

# strongSwan's headers stay: they come from Debian's archive, not from our sources.
clean:
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name strongswan-headers -exec rm -rf {} +
