# LoomGate: `make help` lists what there is. One file, no configure step; everything built goes to build/<flavour>/.

FLAVOUR ?= release
BUILD   ?= build/$(FLAVOUR)
PREFIX  ?= /usr/local
DESTDIR ?=
PYTHON  ?= /usr/bin/python3
JOBS    ?= $(shell nproc 2>/dev/null || echo 2)
VERSION := 0.1.0

CC       ?= cc
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
            $(if $(or $(CI),$(WERROR)),-Werror)
CPPFLAGS += -Iinclude -D_GNU_SOURCE -DLG_VERSION='"$(VERSION)"' -DLG_FLAVOUR='"$(FLAVOUR)"' $(LLHTTP_CPPFLAGS)
CFLAGS   += -std=c17 -g -pthread $(WARNINGS) $(FLAVOUR_FLAGS)
LDFLAGS  += -pthread $(FLAVOUR_FLAGS)
LDLIBS   += -lev -lyaml -lcjson -lm $(PCRE2_LIBS) $(LLHTTP_LIBS)

# Flavours: release is what users run; the others watch it.
FLAVOUR_FLAGS_release := -O2 -fno-omit-frame-pointer
FLAVOUR_FLAGS_asan    := -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
FLAVOUR_FLAGS_tsan    := -O1 -fno-omit-frame-pointer -fsanitize=thread
FLAVOUR_FLAGS_fuzz    := -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined
# pgo is release, optimised as a whole and by what a load has shown (gcc; `make pgo` takes both steps).
PROFILE_GENERATE      := -fprofile-generate -fprofile-update=atomic
PROFILE               := -fprofile-use -fprofile-partial-training -Wno-missing-profile
FLAVOUR_FLAGS_pgo     := $(FLAVOUR_FLAGS_release) -flto=auto $(PROFILE)
FLAVOUR_FLAGS         := $(FLAVOUR_FLAGS_$(FLAVOUR))
ifeq ($(FLAVOUR),pgo)
AR := gcc-ar
endif

PCRE2_LIBS := $(or $(shell pkg-config --libs libpcre2-8 2>/dev/null),-lpcre2-8)

# llhttp: the library where the system has one, else Debian 12's C sources. Those are safe only when compiled strict,
# and so must be everything that includes their header (src/http/h1_codec.c refuses a loose build).
LLHTTP_DIR := /usr/share/llhttp
ifeq ($(shell pkg-config --exists libllhttp 2>/dev/null && echo yes),yes)
LLHTTP_CPPFLAGS := $(shell pkg-config --cflags libllhttp)
LLHTTP_LIBS     := $(shell pkg-config --libs libllhttp)
LLHTTP_OBJECTS  :=
else
LLHTTP_CPPFLAGS := -isystem /usr/share/include/llhttp -DLLHTTP_STRICT_MODE=1
LLHTTP_LIBS     :=
LLHTTP_OBJECTS  := $(addprefix $(BUILD)/llhttp/,api.o http.o llhttp.o)
endif

SOURCES := $(filter-out src/main.c,$(wildcard src/*/*.c))
OBJECTS := $(SOURCES:%.c=$(BUILD)/%.o)
LIBRARY := $(BUILD)/libloomgate.a
SUPPORT := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/support/*.c))
UNITS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(wildcard tests/unit/*/test_*.c))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
TOOLS   := $(BUILD)/origin $(BUILD)/relay $(BUILD)/pace
C_FILES  = $(shell git ls-files -co --exclude-standard '*.c' '*.h')

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help deps run test check check-unit check-e2e asan ubsan tsan bench bench-guard bench-report soak fuzz lint format format-check layers doc-check pgo install clean

all: $(BUILD)/loomgate $(TOOLS) ## build the proxy and its tools (what must be installed: make deps)

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9 -]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile
	@echo "  FLAVOUR=release|asan|tsan picks a build; BUILD=DIR another folder; CI=1 makes warnings errors"

deps: ## install what the build and the tests need (Debian packages)
	@contrib/install-deps.sh build test

run: ## install what is missing, build, start three origins and the proxy on 127.0.0.1:8080
	@contrib/install-deps.sh build
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@contrib/demo.sh $(BUILD)

test: ## install what is missing, build, run all unit and end-to-end tests
	@contrib/install-deps.sh build test
	@$(MAKE) --no-print-directory -j$(JOBS) all units
	@$(MAKE) --no-print-directory check

check: ## the tests alone, on what FLAVOUR says
	@BUILD=$(BUILD) PYTHON=$(PYTHON) JOBS=$(JOBS) tests/run.sh unit e2e

check-unit: units ## the unit tests alone
	@BUILD=$(BUILD) PYTHON=$(PYTHON) JOBS=$(JOBS) tests/run.sh unit

check-e2e: all ## the end-to-end tests alone
	@BUILD=$(BUILD) PYTHON=$(PYTHON) JOBS=$(JOBS) tests/run.sh e2e

asan ubsan: ## all tests on the AddressSanitizer and UndefinedBehaviorSanitizer build
	@$(MAKE) --no-print-directory FLAVOUR=asan -j$(JOBS) all units
	@$(MAKE) --no-print-directory FLAVOUR=asan check

tsan: ## the threaded tests on the ThreadSanitizer build
	@$(MAKE) --no-print-directory FLAVOUR=tsan -j$(JOBS) all units
	@BUILD=build/tsan PYTHON=$(PYTHON) JOBS=$(JOBS) tests/run.sh threads

bench: ## measure against HAProxy, nginx and a raw relay (minutes)
	@contrib/install-deps.sh build bench
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(PYTHON) tests/bench/bench.py --build $(BUILD) $(BENCH_ARGS)

bench-guard: ## fail when a request costs more instructions or system calls than tests/bench/budget says
	@contrib/install-deps.sh guard
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(PYTHON) tests/bench/guard.py --build $(BUILD) $(BENCH_ARGS)

bench-report: ## measure, then put tables and plots into the pages (BENCH_JSON=FILE: those of that run)
	@contrib/install-deps.sh build bench
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BUILD)/sizes
	@test -n "$(BENCH_JSON)" || $(PYTHON) tests/bench/bench.py --build $(BUILD) --json $(BUILD)/bench.json $(BENCH_ARGS)
	@$(PYTHON) tests/bench/bench_report.py --build $(BUILD) $(or $(BENCH_JSON),$(BUILD)/bench.json)

soak: all ## 1,000 reloads under load, every second file broken in half of them, and 5,000 more (minutes)
	@$(PYTHON) tests/bench/reload_soak.py --build $(BUILD) $(SOAK_ARGS)

fuzz: ## each fuzzer for a while (FUZZ_SECONDS=60)
	@contrib/install-deps.sh build fuzz
	@$(MAKE) --no-print-directory FLAVOUR=fuzz CC=clang -j$(JOBS) fuzzers
	@for f in $(notdir $(FUZZERS)); do mkdir -p build/fuzz/corpus/$$f && \
	  ASAN_OPTIONS=quarantine_size_mb=32 build/fuzz/fuzz/$$f -max_total_time=$(or $(FUZZ_SECONDS),60) -rss_limit_mb=512 -timeout=5 \
	    build/fuzz/corpus/$$f $$(ls -d tests/fuzz/corpus/$$f 2>/dev/null) || exit 1; done

lint: ## clang-tidy and cppcheck
	@contrib/install-deps.sh build test lint
	@tests/lint.sh

format: ## lay out all C files
	@clang-format -i $(C_FILES)

format-check: ## fail when a C file is not laid out by clang-format
	@contrib/install-deps.sh lint
	@clang-format --dry-run --Werror $(C_FILES) && echo "format: all C files are laid out"

layers: ## fail when an include reaches upward or goes in a circle
	@$(PYTHON) tests/layers.py

doc-check: $(BUILD)/loomgate $(BUILD)/sizes ## fail when the pages and the tables of the program disagree
	@$(PYTHON) tests/doc_check.py $(BUILD)/loomgate
	@$(PYTHON) tests/doc_tables.py

pgo: ## build/pgo: the release flavour, faster by what a load of its own has shown (gcc)
	@rm -rf build/pgo
	@$(MAKE) --no-print-directory FLAVOUR=pgo PROFILE='$(PROFILE_GENERATE)' -j$(JOBS) all
	@$(PYTHON) tests/bench/train.py build/pgo
	@find build/pgo -type f ! -name '*.gcda' -delete
	@$(MAKE) --no-print-directory FLAVOUR=pgo -j$(JOBS) all

install: all ## to $(DESTDIR)$(PREFIX)
	install -Dm755 $(BUILD)/loomgate $(DESTDIR)$(PREFIX)/bin/loomgate
	install -Dm755 contrib/loomctl $(DESTDIR)$(PREFIX)/bin/loomctl
	install -Dm644 doc/loomgate.8 $(DESTDIR)$(PREFIX)/share/man/man8/loomgate.8
	install -Dm644 contrib/completion/loomgate.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/loomgate
	ln -sf loomgate $(DESTDIR)$(PREFIX)/share/bash-completion/completions/loomctl

clean: ## remove everything built
	rm -rf build

.PHONY: units fuzzers
units: $(UNITS)
fuzzers: $(FUZZERS)

$(BUILD)/loomgate: $(BUILD)/src/main.o $(LIBRARY)
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS)

$(LIBRARY): $(OBJECTS) $(LLHTTP_OBJECTS)
	@rm -f $@
	@echo "  AR $@"
	@$(AR) rcs $@ $^

$(BUILD)/llhttp/%.o: $(LLHTTP_DIR)/%.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(LLHTTP_CPPFLAGS) -std=c17 -g $(FLAVOUR_FLAGS) -c -o $@ $<

$(BUILD)/%.o: %.c Makefile
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(SUPPORT) $(LIBRARY)
	@mkdir -p $(@D)
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(LDLIBS) -lcmocka

$(BUILD)/fuzz/%: $(BUILD)/tests/fuzz/%.o $(LIBRARY)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LDLIBS)

$(BUILD)/origin: $(patsubst %.c,$(BUILD)/%.o,$(wildcard contrib/origin/*.c))
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^

$(BUILD)/relay $(BUILD)/pace $(BUILD)/sizes: $(BUILD)/%: $(BUILD)/tests/bench/%.o
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) -o $@ $^

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
