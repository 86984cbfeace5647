# What people type. `make` alone lists it.

.DEFAULT_GOAL := help
.PHONY: help run standalone cli test test-clients check fmt bench differential fuzz sim mutants model model-mutants move-mutants

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## Start a whole cluster in one process: three nodes, two groups, a router; data in ./data
	cargo run --release

standalone: ## Start one node alone behind a router; data in ./data-standalone
	cargo run --release -- --nodes 1 --groups 1 --dir data-standalone

cli: ## Open the command line on the cluster of `make run`
	cargo run --release -p simplekv-cli

test: ## Install what the tests need, then run all of them
	deploy/setup-test-machine
	deploy/run-tests

test-clients: ## Keep Express' sessions in a router, have Schemathesis try the HTTP API: installs both first; EXAMPLES=N, SEED=N
	deploy/test-clients

check: ## Format, lints, dependencies and docs; changes nothing
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	deploy/check-dependencies
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

fmt: ## Format the source
	cargo fmt --all

bench: ## Measure against Debian's redis-server, interleaved, the gRPC lane against unary calls, and a router's hop; print the ratios
	cargo build --release --workspace --bins
	target/release/simplekv-bench compare
	target/release/simplekv-bench collections
	target/release/simplekv-bench lane
	target/release/simplekv-bench hop

# SEED=N begins with this one; COMMANDS=N compares so many in each protocol.
COMMANDS ?= 1000000
differential: ## Compare the replies to a million random commands with redis-server's, in RESP2 and in RESP3
	$(if $(SEED),SIMPLEKV_SEED=$(SEED) )SIMPLEKV_COMMANDS=$(COMMANDS) \
		cargo test --profile sim -p simplekv-commands --test as_redis_does -- --nocapture replies_are_those_of_redis

# SEED=N tries one seed and shows its bytes; FIRST=N chooses where to begin.
EXECUTIONS ?= 100000000
fuzz: ## Feed the parser of the Redis protocol with 100 million connections, or EXECUTIONS=N, valid and damaged; or SEED=N alone
	cargo build --profile sim -p simplekv-fuzz
	target/sim/simplekv-fuzz $(if $(SEED),--seed $(SEED),--first $(FIRST) --executions $(EXECUTIONS))

# SEED=N replays one schedule and prints what happened; SCHEDULES=N and FIRST=N choose how many, from which seed on.
SCHEDULES ?= 100000
FIRST ?= 1
sim: ## Simulate whole clusters with everything failing: 100000 schedules, or SCHEDULES=N, or SEED=N alone
	cargo build --profile sim -p simplekv-sim
	target/sim/simplekv-sim $(if $(SEED),--seed $(SEED),--first $(FIRST) --schedules $(SCHEDULES))

# ONLY=C10,C13 tries these alone.
mutants: ## Break each rule of the protocol in turn: the simulator must notice every one
	RUSTFLAGS="--cfg mutants" cargo build --profile sim --target-dir target/mutants -p simplekv-sim
	target/mutants/sim/simplekv-sim --mutants --schedules 6000 $(if $(ONLY),--only $(ONLY))

# SCOPE=failover explores this one alone. The last scope takes most of the time.
model: ## Explore every state of small groups, to the last, or SCOPE=NAME alone
	cargo build --profile sim -p simplekv-model
	target/sim/simplekv-model $(if $(SCOPE),--scope $(SCOPE))

# Those that the scopes reach. ONLY=C13 shows the shortest way to notice this one.
NOTICED = C2,C9,C11,C12,C13,C17,C18,C21,C23,C24,C25,C27,C28,C29,C33,C34,C55,C56,C61
model-mutants: ## Break rules of the protocol in turn: the model must show how each is noticed
	RUSTFLAGS="--cfg mutants" cargo build --profile sim --target-dir target/mutants -p simplekv-model
	target/mutants/sim/simplekv-model --break $(if $(ONLY),$(ONLY),$(NOTICED))

# ONLY=M5,M16 tries these alone.
move-mutants: ## Break each rule of slot moves in turn: a story or a random schedule must notice every one
	RUSTFLAGS="--cfg mutants" $(if $(ONLY),ONLY=$(ONLY) )cargo test --profile sim --target-dir target/mutants -p simplekv-cluster \
		--test migration -- --nocapture every_broken_rule_is_noticed
