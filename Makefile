# SPDX-License-Identifier: BSD-2-Clause
# A thin front: each target installs what is missing, then calls one tool. The build itself is CMake's (CMakePresets.json).
JOBS ?= $(shell nproc)
SECONDS ?= 60
LIMIT ?= 4800
PREFIX ?= /usr/local
DESTDIR ?=

.DEFAULT_GOAL := help
.PHONY: help demo test release dev asan tsan coverage lint format fuzz install clean chroot-test

help:
	@echo "make demo       boot Debian's own kernel to a shell in our monitor"
	@echo "make test       build, check and test everything (LIMIT=4800 seconds at most)"
	@echo "make release    build/release/bin/pvh: g++, optimised, static"
	@echo "make dev        g++ debug build     make asan, make tsan   clang with sanitizers"
	@echo "make coverage   unit tests under gcov; base, abi, memory_map and loader must reach 90 %"
	@echo "make lint       clang-format check and clang-tidy    make format   rewrite with clang-format"
	@echo "make fuzz       every fuzzer for SECONDS=60"
	@echo "make install    to DESTDIR= and PREFIX=/usr/local"
	@echo "make chroot-test   make test (or CMD=...) of the last commit in a fresh Debian 12; needs root"
	@echo "make clean      removes the build folder"

demo:
	@tools/install-deps.sh build run
	@tools/demo

test:
	@tools/install-deps.sh
	@tools/test --limit $(LIMIT)

release dev:
	@tools/install-deps.sh build
	@cmake --preset $@
	@cmake --build --preset $@ -j $(JOBS)

asan tsan:
	@tools/install-deps.sh build test
	@cmake --preset $@
	@cmake --build --preset $@ -j $(JOBS)

coverage:
	@tools/install-deps.sh build test
	@tools/coverage

lint:
	@tools/install-deps.sh build test
	@tools/lint

format:
	@tools/install-deps.sh build test
	@tools/check-format --fix

fuzz:
	@tools/install-deps.sh build test
	@tools/fuzz --seconds $(SECONDS)

install: release
	@DESTDIR=$(DESTDIR) cmake --install build/release --prefix $(PREFIX)

chroot-test:
	@tools/chroot-test $(CMD)

clean:
	@rm -rf build
