# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: 2026 The Martlet authors
#
# One command per need; docs/HACKING.md explains them. `make run` and `make test` install what they
# need by themselves; everything else assumes that `make setup` has run once.

SWIFT ?= swift
# Parallel jobs of the compiler; empty: as many as there are cores.
JOBS ?=
# How long each fuzzer runs, in seconds; which one ("" = all).
T ?= 60
TARGET ?=
E2E ?=
# Cuts of power, over the three file systems.
CUTS ?= 200
SUITES ?=
# First seed of a simulation, and how many; or for how many hours.
SEED ?= 1
N ?= 1000
HOURS ?=
# Mutants by name; empty: all.
NAMES ?=

job_flag := $(if $(JOBS),-j $(JOBS))
core := MARTLET_CORE=1
# A trap would start a backtracer that outlives the killed process.
quiet_traps := SWIFT_BACKTRACE=enable=no

# `make -j run`, or `make -j setup release`: nothing is built before what it needs is installed.
ifneq ($(filter run setup,$(MAKECMDGOALS)),)
build release test unit check format sim mutants fuzz asan tsan bench counts allocations e2e kills \
	powercut: | setup
endif

.PHONY: build release run setup test unit check format sim mutants fuzz asan tsan bench counts \
	allocations e2e stores kills powercut hooks

build:
	$(SWIFT) build $(job_flag)

release:
	$(SWIFT) build $(job_flag) -c release --product martlet

# From a fresh machine to a served disk that lost its cache and came back.
run: setup release
	scripts/first-run.sh "$$($(SWIFT) build -c release --show-bin-path)/martlet"

setup: hooks
	scripts/setup.sh

# Checks the format of staged files before a commit. Never in CI, never over a hook of one's own.
hooks:
	@scripts/install-hooks.sh

# Everything: all unit, conformance and simulator tests, then real clients against the real binary.
test:
	scripts/setup.sh --test
	$(SWIFT) build $(job_flag) --build-tests
	$(quiet_traps) $(SWIFT) test --skip-build
	MARTLET="$$($(SWIFT) build --show-bin-path)/martlet" Tests/e2e/run

# Real object stores, started by the tests: what Martlet does on each of them.
stores:
	scripts/setup.sh --test
	$(SWIFT) build $(job_flag) --build-tests
	$(quiet_traps) MARTLET="$$($(SWIFT) build --show-bin-path)/martlet" Tests/stores/run

# The developer's loop: no root, no network, no HTTP stack.
unit:
	$(core) $(SWIFT) build $(job_flag) --build-tests --scratch-path .build-core
	$(core) $(quiet_traps) $(SWIFT) test --skip-build --scratch-path .build-core

check:
	scripts/check.sh

# The formatter leaves comments alone; the second line wraps those over 100 columns.
format:
	$(SWIFT) format -i -r $(wildcard Package.swift Sources Tests Fuzz Benchmarks)
	git ls-files -co --exclude-standard '*.swift' '*.c' '*.h' | xargs scripts/wrap_comments.py

sim:
	$(core) $(SWIFT) run $(job_flag) -c release --scratch-path .build-sim martlet-sim \
		--seed $(SEED) --jobs $(or $(JOBS),$$(nproc)) \
		$(if $(HOURS),--count 1000000000 --seconds $$(($(HOURS) * 3600)),--count $(N))

# Faults put into the product, which the simulator is to catch; all of them take an hour or two.
mutants:
	Tests/mutants/run $(if $(JOBS),--jobs $(JOBS)) $(NAMES)

fuzz:
	scripts/fuzz.sh $(T) $(TARGET)

# SUITES: which; empty: all. MINUTES: what is not begun by then is left out, and named.
asan:
	JOBS=$(JOBS) MINUTES=$(MINUTES) scripts/sanitize.sh address "$(SUITES)"

tsan:
	JOBS=$(JOBS) MINUTES=$(MINUTES) scripts/sanitize.sh thread "$(SUITES)"

# Every target of docs/PERFORMANCE.md in one run and one table; about ten minutes, on a quiet machine.
bench: release
	$(MAKE) -C Benchmarks
	Benchmarks/all.py --martlet "$$($(SWIFT) build -c release --show-bin-path)/martlet"

# What a machine of any speed counts alike, held in CI: store requests and bytes, instructions.
counts: release
	$(MAKE) -C Benchmarks
	Benchmarks/counts.py --strict --martlet "$$($(SWIFT) build -c release --show-bin-path)/martlet"
	Benchmarks/instructions.py --martlet "$$($(SWIFT) build -c release --show-bin-path)/martlet"

# None per request, counted over 100,000; a planted one must be seen.
allocations: release
	$(MAKE) -C Benchmarks
	Benchmarks/allocations.py --martlet "$$($(SWIFT) build -c release --show-bin-path)/martlet"

# E2E: what to run and how, for example E2E="--seconds 600 kills".
e2e: release
	Tests/e2e/run $(E2E)

# Two hundred kills under load, then losses of the cache.
kills: release
	Tests/e2e/run --kills 200 --seconds 300 kills cacheloss

# The power goes under ext4, XFS and btrfs, on a disk that drops what was not synced.
powercut: release
	scripts/setup.sh --test
	Tests/e2e/run --cuts $(CUTS) powercut
