# longhand. `make help` lists the targets. What is built lies under $(BUILD), in the shape of the
# tree; only the program itself stands at the top. CC may be gcc, clang or a cross compiler. V=1
# shows the commands.
ifeq ($(origin CC),default)
CC := gcc
endif
BUILD ?= build
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
ENDURANCE_TOKENS ?= 1000000
OPTIMIZE ?= -O3
SANITIZE ?=
SANITIZE_KERNELS ?= $(SANITIZE)
say = $(if $(V),,@echo $1 &&)
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

# The machine that $(CC) compiles for decides which instruction sets are built.
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
CROSS := $(if $(MACHINE),$(if $(filter $(shell uname -m)-%,$(MACHINE)),,yes))
FOREIGN := $(if $(filter x86_64-%,$(MACHINE)),,$(wildcard kernels/*avx*.c kernels/amx*.c)) \
           $(if $(filter aarch64-%,$(MACHINE)),,$(wildcard kernels/*neon*.c))

# A library through pkg-config, or else by its usual name.
package = $(shell $(if $(CROSS),false,pkg-config) $1 $2 2>/dev/null || echo $3)
# (-g1: lines for backtraces. Variables of the kernels' templates would take half of the time.)
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wmissing-prototypes -Wcast-align
COMPILE := $(CC) -std=c11 -D_GNU_SOURCE $(OPTIMIZE) -g1 -ffp-contract=off -fopenmp $(WARNINGS) -I. \
          $(call package,--cflags,libpcre2-8 libcjson) $(CFLAGS)
LIBS := $(call package,--libs,libpcre2-8,-l:libpcre2-8.so.0) \
        $(call package,--libs,libcjson,-lcjson) \
        $(if $(CROSS),,$(call package,--libs,libedit,-ledit)) -lm
LINK = $(CC) -fopenmp -Wl,--as-needed $(SANITIZE) $(LDFLAGS)

objects = $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(FOREIGN),$1))
LIBRARY := $(BUILD)/liblonghand.a
LIBRARY_FOLDERS := base kernels model model/huggingface model/position tokenizer tokenizer/chat
LIBRARY_OBJECTS := $(call objects,$(wildcard $(LIBRARY_FOLDERS:%=%/*.c)))
COMMAND_OBJECTS := $(call objects,$(wildcard commands/*.c commands/*/*.c))
PROGRAM := $(if $(filter build,$(BUILD)),longhand,$(BUILD)/longhand)

# The tests link the library and the commands; a cross-built runner leaves out the commands and what
# takes minutes on an emulator.
TESTS := $(filter-out tests/logits.c tests/endurance%.c tests/fuzz/%, \
             $(wildcard tests/*.c tests/*/*.c tests/*/*/*.c))
SLOW := forward stories policies schemes invariants stored_keys cache context lossless save \
        restore sampler_draws huggingface huggingface_positions huggingface_tokenizer safetensors \
        tokenizer pretokenize
SLOW := $(wildcard $(SLOW:%=tests/*/test_%.c) $(SLOW:%=tests/*/*/test_%.c))
NATIVE := tests/program.c tests/terminal.c tests/commands/%
TESTS := $(if $(CROSS),$(filter-out $(NATIVE) $(SLOW),$(TESTS)),$(TESTS))
SUITES := $(patsubst test_%.c,%,$(filter test_%,$(notdir $(TESTS))))
TEST_OBJECTS := $(call objects,$(TESTS))
# The AMX tier once more, on tiles in C.
MODEL_OBJECTS := $(patsubst kernels/%.c,$(BUILD)/tests/kernels/%_model.o, \
                     $(filter-out $(FOREIGN),$(wildcard kernels/amx*.c)))
TEST_LIBS := $(call package,--libs,check,-l:libcheck_pic.a -lsubunit)
TEST_WRAP := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/%,$(wildcard tests/fuzz/fuzz_*.c))

.PHONY: all demo check check-native check-aarch64 asan ubsan fuzz run-fuzzers bench format lint \
        endurance quality family model card check-training extrapolation documents recordings \
        install uninstall clean help FORCE $(FUZZERS:%=%.run)
.SECONDARY:

all: $(PROGRAM) ## build ./longhand (the default)

$(PROGRAM): $(BUILD)/run.o $(COMMAND_OBJECTS) $(LIBRARY)
	$(call say,link $@) $(LINK) $^ $(LIBS) -o $@

$(LIBRARY): $(LIBRARY_OBJECTS)
	$(call say,archive $@) rm -f $@ && $(AR) rcs $@ $^

# Instruction sets: the flags of a file are the features that kernels/select.c asks the CPU for.
AVX2 := -mavx2 -mfma -mf16c
AVX512 := $(AVX2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni
$(call objects,$(wildcard kernels/*avx2*.c)): FLAGS := $(AVX2)
$(call objects,$(wildcard kernels/*avx512*.c)): FLAGS := $(AVX512)
AMX := $(AVX512) -mavx512bf16 -mamx-tile -mamx-bf16
$(call objects,$(wildcard kernels/amx*.c)): FLAGS := $(AMX)
$(call objects,$(wildcard kernels/*neon_dot*.c)): FLAGS := -march=armv8.2-a+dotprod

$(BUILD)/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,$<) $(COMPILE) $(FLAGS) $(SANITIZE$(if $(filter kernels/%,$<),_KERNELS)) \
	    -MMD -MP -c $< -o $@

# A file whose time changes only with its content: other flags rebuild, a new suite is picked up.
keep = mkdir -p $(@D) && echo '$1' | cmp -s - $@ || echo '$1' > $@
$(BUILD)/flags: FORCE
	@$(call keep,$(COMPILE) $(SANITIZE) $(SANITIZE_KERNELS))
$(BUILD)/tests/suites.list: FORCE
	@$(call keep,$(patsubst %,SUITE(%),$(SUITES)))

# (gcc 12 for aarch64 fails on a reduction that it vectorises, and tests need no speed.)
$(TEST_OBJECTS): FLAGS := -fno-tree-vectorize -I$(BUILD)/tests
$(TEST_OBJECTS): $(BUILD)/tests/suites.list
$(BUILD)/tests/kernels/%_model.o: kernels/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(call say,$< on tiles in C) $(COMPILE) $(AMX) -include tests/kernels/tile_model.h \
	    $(SANITIZE_KERNELS) -MMD -MP -c $< -o $@
$(BUILD)/run_tests: $(TEST_OBJECTS) $(MODEL_OBJECTS) $(if $(CROSS),,$(COMMAND_OBJECTS)) $(LIBRARY)
	$(call say,link $@) $(LINK) $(TEST_WRAP) $^ $(TEST_LIBS) $(LIBS) -o $@
$(BUILD)/logits: $(BUILD)/tests/logits.o $(LIBRARY)
	$(call say,link $@) $(LINK) $^ $(LIBS) -o $@
$(BUILD)/endurance: $(call objects,$(wildcard tests/endurance*.c)) $(LIBRARY)
	$(call say,link $@) $(LINK) $^ $(LIBS) -o $@
$(BUILD)/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/input.o $(COMMAND_OBJECTS) \
                 $(LIBRARY)
	$(call say,link $@) $(LINK) -fsanitize=fuzzer $^ $(LIBS) -o $@

demo: ## set up, build and run the model that ships
	@scripts/setup.sh
	@$(MAKE) --no-print-directory all
	./longhand generate -p "It was a cold and windy evening, and" -n 200

check: ## set up, build and run every check and test
	@scripts/setup.sh --check
	@$(MAKE) --no-print-directory --output-sync check-aarch64 check-native lint

# Tests use more threads than there may be cores: waiting ones sleep. No machine is too slow.
PATIENCE := $(or $(CK_TIMEOUT_MULTIPLIER),10)
TEST_ENVIRONMENT := OMP_WAIT_POLICY=passive CK_TIMEOUT_MULTIPLIER=$(PATIENCE)

check-native: $(PROGRAM) $(BUILD)/run_tests
	LONGHAND_PROGRAM=./$(PROGRAM) $(TEST_ENVIRONMENT) $(BUILD)/run_tests

check-aarch64: # the library's tests, emulated, where the packages for it are there
	@if ! scripts/setup.sh --has-aarch64; then echo "aarch64: skipped"; else \
	    $(MAKE) --no-print-directory CC=aarch64-linux-gnu-gcc BUILD=build/aarch64 \
	        build/aarch64/run_tests && \
	    $(TEST_ENVIRONMENT) qemu-aarch64 build/aarch64/run_tests; fi

# Leaks are seen only at the end of a process, so these run every test in one.
asan: ## run the tests under AddressSanitizer and LeakSanitizer
	ASAN_OPTIONS=detect_leaks=1 CK_FORK=no \
	    $(MAKE) --no-print-directory BUILD=build/asan OPTIMIZE=-O1 \
	    SANITIZE="-fsanitize=address -fno-omit-frame-pointer" check-native

ubsan: ## run the tests under UndefinedBehaviorSanitizer
	$(MAKE) --no-print-directory BUILD=build/ubsan OPTIMIZE=-O1 \
	    SANITIZE="-fsanitize=undefined -fno-sanitize-recover=all" check-native

# The parsers are what is fuzzed; kernels stay plain, since clang takes minutes to instrument them.
fuzz: ## fuzz every parser for FUZZ_SECONDS (60) each; corpora stay in build/fuzz
	@scripts/setup.sh --develop
	@$(MAKE) --no-print-directory CC=clang BUILD=build/fuzz OPTIMIZE=-O1 SANITIZE_KERNELS= \
	    SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" run-fuzzers
run-fuzzers: $(FUZZERS:%=%.run)
$(FUZZERS:%=%.run): %.run: %
	@mkdir -p $*.corpus
	$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
	    -print_final_stats=1 -artifact_prefix=$(BUILD)/ $*.corpus \
	    $(wildcard tests/fuzz/$(notdir $*).seeds) $(if $(filter %fuzz_model,$*),tests/data/positions)

# Texts without end: both models, even where one of them breaks a bound.
STORIES := $(or $(LONGHAND_SHARED),../shared)/data/stories260K/stories260K.bin
ENDURANCE_CSV := $(BUILD)/endurance.csv
endurance: $(BUILD)/endurance ## generate and score ENDURANCE_TOKENS (1000000) with sinks
	@rm -f $(ENDURANCE_CSV)
	@tokens=$(ENDURANCE_TOKENS); broken=0; \
	$< $(STORIES) $$tokens $$tokens --csv $(ENDURANCE_CSV) || broken=1; \
	$< models/longhand.gguf $$tokens $$tokens --csv $(ENDURANCE_CSV) || broken=1; \
	exit $$broken

quality: all ## perplexity of every format by every instruction set, beside scalar float32
	scripts/quality.py

# Training takes hours and goes on where it ended: as many steps as there is time for, then a decay.
PYTHON := $(or $(wildcard .venv/bin/python),python3)
NOVELS := $(or $(LONGHAND_SHARED),../shared)/data/novels
TRAINING ?= $(BUILD)/training
CORPUS := $(TRAINING)/corpus
FAMILY_STEPS ?= 800
FAMILY_DECAY ?= 100
# From this step on the answers of made-up documents count 8 times as much in the default model.
MODEL_ANSWERS_FROM ?= 2400
MODEL_STEPS ?= 2800
MODEL_DECAY ?= 1000
$(CORPUS)/train.npz:
	$(PYTHON) scripts/corpus.py $(NOVELS)/train $(NOVELS)/valid $(@D)
TRAIN_FAMILY = $(PYTHON) scripts/train_family.py $(CORPUS) $(TRAINING)
TRAIN = $(PYTHON) scripts/train.py
family: $(CORPUS)/train.npz ## train the models that compare position schemes, into models/family
	$(TRAIN_FAMILY) --steps $(FAMILY_STEPS)
	$(TRAIN_FAMILY) --decay $(FAMILY_DECAY) --export models/family
model: $(CORPUS)/train.npz ## train the default model, into models
	$(TRAIN) train $(CORPUS) $(TRAINING)/longhand --position alibi --steps $(MODEL_ANSWERS_FROM)
	$(TRAIN) train $(CORPUS) $(TRAINING)/longhand --position alibi --steps $(MODEL_STEPS) \
	    --answer-weight 8
	$(TRAIN) decay $(CORPUS) $(TRAINING)/longhand $(TRAINING)/longhand-decay \
	    --answer-weight 8 --steps $(MODEL_DECAY)
	$(TRAIN) export $(TRAINING)/longhand-decay models/longhand.gguf
card: all ## write what the models' files and losses say into models/README.md
	$(PYTHON) scripts/model_card.py
check-training: $(BUILD)/logits ## train tiny models; exported they give PyTorch's logits
	$(PYTHON) scripts/check_training.py

extrapolation: all ## measure the family beyond its training length, for docs/extrapolation.md
	$(PYTHON) scripts/extrapolation.py
recordings: all ## record chat and summarize in a terminal, for the README
	$(PYTHON) scripts/record.py chat docs/recordings/chat.gif
	$(PYTHON) scripts/record.py summarize docs/recordings/summarize.gif \
	    --file $(NOVELS)/test/Cbronte_Jane_1847.txt
documents: all ## ask the models about long documents, for docs/documents.md
	$(PYTHON) scripts/documents_score.py

bench: all ## measure prompt and generation speed of the model that ships
	./longhand bench

format: ## put every C file into the project's style
	clang-format -i $(shell find . -name '*.[ch]' -not -path './build/*')

lint: ## the rules of the house that a script can check
	@CC="$(CC)" scripts/lint.sh

install: all ## into PREFIX (/usr/local), below DESTDIR if given
	install -D -m 755 longhand $(DESTDIR)$(PREFIX)/bin/longhand
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/longhand models/*.gguf
	install -D -m 644 docs/longhand.1 $(DESTDIR)$(PREFIX)/share/man/man1/longhand.1

uninstall: ## take away what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/longhand $(DESTDIR)$(PREFIX)/share/man/man1/longhand.1
	rm -rf $(DESTDIR)$(PREFIX)/share/longhand

clean: ## remove everything that was built
	rm -rf build longhand

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 18

-include $(shell find $(addprefix $(BUILD)/,run.d base commands kernels model tests tokenizer) \
                 -name '*.d' 2>/dev/null)
