# `make` lists what there is. Every target is a command or two; CI runs the same ones (.ci/run).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo examples test consistency lint format tidy contract deny ci bench generate fuzz advisories

# scripts/prepare puts them there, and pins their versions.
BUF := target/tools/bin/buf
DENY := target/tools/bin/cargo-deny
LOCK := proto/hydrant.v1.lock.binpb
FUZZ_SECONDS ?= 60

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a login before and after Hydrant; needs nothing but Rust
	@cargo build --locked # says what it does: the first time it takes minutes
	@cargo run --quiet --locked -- demo

examples: ## run every example on real servers, and check what each promises
	scripts/prepare examples
	cargo build --locked
	for run in examples/*/run.sh; do HYDRANT=$${CARGO_TARGET_DIR:-$$PWD/target}/debug/hydrant "$$run"; done

# Most tests wait for servers rather than compute, so more of them than there are processors run side by side.
test: ## install what the tests need, then run them all
	scripts/prepare test
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-8} cargo test --locked

# FAULT: a name, several after commas, `ci` (the default) or `all`; FOR: seconds of each; MUTANT: Hydrant broken in that way,
# which must be found; INVALIDATE=app: by an application's own DEL; LONG=1: all of it, five minutes each; SEED.
consistency: ## promises against real faults: FAULT=… FOR=<seconds> MUTANT=… INVALIDATE=app LONG=1
	scripts/prepare test
	cargo test --quiet --locked --test consistency $(if $(MUTANT),--features mutants) -- --fault "$(or $(FAULT),$(if $(LONG),all))" \
		--for "$(FOR)" --mutant "$(MUTANT)" --invalidate "$(INVALIDATE)" --seed "$(SEED)" $(if $(LONG),--long)

# Each in the cheapest tier that can see it, the harness only where they show quickly and every time. Finding nothing is
# the failure.
mutants: ## broken on purpose, Hydrant must be caught: by its tests, by simulation, by the harness
	scripts/prepare test
	cargo test --quiet --locked --features mutants --lib without_detectors
	cargo test --quiet --locked --features mutants --test sim mutant
	cargo test --quiet --locked --features mutants --test it mutants_of_the_lease
	for mutant in M1 M2 M8; do $(MAKE) --no-print-directory consistency MUTANT=$$mutant FOR=60 || exit 1; done

lint: ## formatting, house rules, contract, licences, clippy; the quickest first
	scripts/prepare lint
	cargo fmt --check
	@$(MAKE) --no-print-directory tidy contract deny
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test consistency --features mutants -- -D warnings

format: ## rewrite the sources as rustfmt wants them
	cargo fmt

# The test needs only std, so it is compiled by itself: two seconds, even on a fresh clone. `cargo test` runs it as well.
tidy: ## the house rules alone (tests/tidy.rs)
	@mkdir -p target
	rustc --edition 2024 --test -o target/tidy tests/tidy.rs
	target/tidy --quiet

# Breaking changes are measured against an image of the contract that is committed, not against a commit: a shallow
# clone, a source archive and a branch of many commits all have it. `make generate` lets the image grow with the
# contract but never past a break, so a break shows in review as a lock file somebody deleted.
contract: ## lint proto/, and refuse what would break a client
	scripts/prepare lint
	$(BUF) lint
	$(BUF) breaking --against $(LOCK)
	@$(BUF) build --exclude-source-info -o target/contract.binpb
	@cmp -s target/contract.binpb $(LOCK) || { echo "$(LOCK): the contract has grown: run make generate and commit it"; exit 1; }

deny: ## licences, banned and doubled crates (deny.toml)
	scripts/prepare lint
	$(DENY) --log-level error check bans licenses sources

# Apart from lint: it fetches the advisory database, and what it says changes from one day to the next.
advisories: ## known vulnerabilities among the dependencies; needs the network
	scripts/prepare lint
	$(DENY) check advisories

ci: ## what CI runs: prepare, lint, test, with the time of each
	.ci/run

bench: ## the benchmarks, each printed as a ratio measured in one run
	scripts/prepare test
	cargo bench --locked

# Tests called `…_is_up_to_date` compare the references with the code; with BLESS=1 they write them instead.
generate: ## rewrite what is derived from the code: schema, references, contract image
	scripts/prepare lint
	BLESS=1 cargo test --locked --quiet is_up_to_date
	if [ -e $(LOCK) ]; then $(BUF) breaking --against $(LOCK); fi
	$(BUF) build --exclude-source-info -o $(LOCK)

fuzz: ## every fuzz target for FUZZ_SECONDS each (60); needs cargo-fuzz
	@ls fuzz/fuzz_targets/*.rs >/dev/null 2>&1 || { echo "there are no fuzz targets yet"; exit 1; }
	for target in fuzz/fuzz_targets/*.rs; do \
		cargo fuzz run --sanitizer none "$$(basename "$$target" .rs)" -- -max_total_time=$(FUZZ_SECONDS); \
	done
