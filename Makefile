# The door: make, make demo, make test, make bench, make help.

# Rooms, from the ground up: a file includes only from floors below its own
# (t/00-floors.t reads this line).
FLOORS = wire x509,util field conf,db,http jose,ca issuer,target,notifier,discovery core rest,job api,enroll,dashboard
MODULE_FLOORS = store,zone cert tls call command,report,discover agent http stream

# make SAN=address,undefined builds and tests sanitized programs beside the
# others.
SAN    =
comma  = ,
POINTS = $(if $(SAN),-DCERTCTL_POINTS)
B      = $(if $(SAN),build/san-$(subst $(comma),-,$(SAN)),build)

# Sanitizers need an NGINX of their own, from Debian's source (t/nginx-source).
NGINX_SRC = $(if $(SAN),build/nginx-source,/usr/share/nginx/src)

rooms   = $(subst $(comma), ,$(FLOORS))
PKGS    = libpq jansson libcurl libpcre2-8 libidn2 libpsl libevent libevent_openssl libevent_pthreads openssl
WARN    = -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Werror
HARDEN  = -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fPIE $(if $(SAN),,-D_FORTIFY_SOURCE=2)
SANFLAG = $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=undefined -fno-omit-frame-pointer) $(if $(FUZZER),-fsanitize=fuzzer-no-link)
CFLAGS  = -std=gnu17 -D_GNU_SOURCE= -g -O2 -pthread -MMD -MP $(WARN) $(HARDEN) $(SANFLAG) $(POINTS) -I$B/gen -Icontroller $(rooms:%=-Icontroller/%) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS = -pie -Wl,-z,relro,-z,now,-z,noexecstack $(SANFLAG)
LIBS    = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -pthread

# Builds with crash points have the connectors of tests.
connectors = $(if $(POINTS),$(patsubst t/%.c,$B/obj/%.o,$(wildcard t/connector/*.c)))

sources  = $(wildcard $(rooms:%=controller/%/*.c))
objects  = $(patsubst controller/%.c,$B/obj/%.o,$(sources)) $B/obj/sql.o $(connectors)
daemon   = $B/certctld
client   = $B/certctl
module   = $B/ngx_http_certctl_module.so $B/ngx_stream_certctl_module.so
units    = $(patsubst t/unit/%.c,$B/t/%,$(wildcard t/unit/*.c))
preloads = $(patsubst t/preload/%.c,$B/t/preload/%.so,$(wildcard t/preload/*.c))
tools    = $(patsubst t/tool/%.c,$B/t/tool/%,$(wildcard t/tool/*.c)) $(preloads) $B/t/bench/handshake
benches  = $(patsubst t/bench/%.c,$B/t/bench/%,$(wildcard t/bench/*.c))

# A fuzzer is a program of its own: libFuzzer's when FUZZER is set, else one that
# runs the corpus.
fuzzers  = $(patsubst t/fuzz/%.c,$B/t/fuzz/%,$(filter-out t/fuzz/replay.c,$(wildcard t/fuzz/*.c)))
FUZZER   =

# make test TESTS=t/10-http.t runs one, JOBS=1 one after the other
TESTS    = t/*.t $(units)
JOBS     = 2

# Debian 12, 13 and the next: make test-matrix SUITES=trixie builds and tests one
SUITES   = bookworm trixie forky

# make V=1 shows the commands
Q        = $(if $(V),,@)
say      = @printf '  %-6s %s\n'

.PHONY: all help deps demo docs module test test-matrix test-valgrind fuzz fuzzers bench bench-module clean

all: $(daemon) $(client) $(module)

help:                                ## what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(daemon): $(objects) $B/obj/startup.o $B/obj/routes.o $B/obj/main.o
	$(say) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# The store of the module knows no NGINX: the client reads it without one.
store    = $(patsubst ngx_certctl_module/%.c,$B/obj/module/%.o,$(wildcard ngx_certctl_module/store/*.c))

$B/obj/cli/%.o: private CFLAGS += -Ingx_certctl_module

$(client): $(patsubst controller/%.c,$B/obj/%.o,$(wildcard $(patsubst %,controller/%/*.c,cli http util x509))) $(store)
	$(say) LINK $@
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# One header for each file of statements, so that a new statement rebuilds only
# who uses that file.
statements = $(patsubst sql/query/%.sql,$B/gen/sql_%.h,$(wildcard sql/query/*.sql))
generated  = $(statements) $B/gen/api_resources.h

$B/obj/%.o: controller/%.c | $(generated)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

$B/obj/connector/%.o: t/connector/%.c | $(generated)
	@mkdir -p $(@D)
	$(say) CC $<
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

$B/obj/sql.o: $B/gen/sql.c $(statements)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -c -o $@ $<

$B/gen/sql.c: $(wildcard sql/query/*.sql sql/schema/*.sql sql/seed/*.sql) sql/embed.awk
	@mkdir -p $(@D)
	$(Q)awk -v want=c -f sql/embed.awk $(sort $(filter %.sql,$^)) > $@.tmp
	@mv $@.tmp $@

$B/gen/sql_%.h: sql/query/%.sql sql/embed.awk
	@mkdir -p $(@D)
	$(Q)awk -v want=h -f sql/embed.awk $< > $@.tmp
	@mv $@.tmp $@

# What controller/api/ declares, for the map in controller/routes.c.
$B/gen/api_resources.h: $(wildcard controller/api/*.c) controller/api/resources.awk
	@mkdir -p $(@D)
	$(Q)awk -f controller/api/resources.awk $(sort $(filter %.c,$^)) > $@.tmp
	@mv $@.tmp $@

# The module is built out of tree: NGINX's configure writes where it stands.
$(module) &: config $(wildcard ngx_certctl_module/*/*.[ch] controller/wire/*.h controller/x509/*.[ch]) | $(filter build/%,$(NGINX_SRC))
	$(say) MODULE $(module)
	$(Q)NGINX_SRC=$(NGINX_SRC) B=$B SAN=$(SAN) MODULE_CC_OPT='$(POINTS)' ngx_certctl_module/build

# Unit tests are programs: each takes from the archive what it calls, also of
# the part of the module that knows no NGINX.
$B/libcertctl.a: $(objects) $(store)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$B/obj/module/%.o: ngx_certctl_module/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -Ingx_certctl_module -c -o $@ $<

$B/t/%: t/unit/%.c $(wildcard t/unit/*.h) $B/libcertctl.a
	@mkdir -p $(@D)
	$(say) TEST $@
	$(Q)$(CC) $(CFLAGS) -Ingx_certctl_module -It/unit $(LDFLAGS) -o $@ $(filter %.c %.o,$^) $B/libcertctl.a $(LIBS)

# The crash test's store has its points in any build, and the fault test stands
# between the store and the system.
FAULTS = $(addprefix -Wl$(comma)--wrap=,openat fsync syncfs renameat renameat2 linkat symlinkat unlinkat mkdirat pread pwrite readlinkat readdir fstat flock malloc calloc realloc)

$B/obj/points/%.o: ngx_certctl_module/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -DCERTCTL_POINTS -Ingx_certctl_module -c -o $@ $<

$B/t/store_crash: $(store:$B/obj/module/%=$B/obj/points/%)
$B/t/store_crash: private CFLAGS += -DCERTCTL_POINTS
$B/t/store_faults: private LDFLAGS += $(FAULTS)

$B/t/tool/%: t/tool/%.c $B/libcertctl.a
	@mkdir -p $(@D)
	$(say) TOOL $@
	$(Q)$(CC) $(CFLAGS) -Ingx_certctl_module $(LDFLAGS) -o $@ $< $B/libcertctl.a $(LIBS)

$B/t/tool/declared: $B/obj/routes.o
$B/t/tool/declared: private LIBS := $B/obj/routes.o $B/libcertctl.a $(LIBS)

# Tests load these into NGINX (LD_PRELOAD): they stand in for nothing, but time.
$B/t/preload/%.so: t/preload/%.c
	@mkdir -p $(@D)
	$(say) TOOL $@
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE= -g -O2 $(WARN) -fPIC -shared -o $@ $<

# Those whose names begin with ngx_ include files of the module, and so NGINX's
# headers, as they lie where the module was built (NGX).
NGX      = $B/nginx
fuzzmain = $(if $(FUZZER),-fsanitize=fuzzer,t/fuzz/replay.c)
ngxflags = $(addprefix -I$(NGX)/,objs src/core src/event src/event/modules src/os/unix src/http src/http/modules src/http/v2) -Wno-unused-parameter

fuzzers: $(fuzzers)

# The files that t/fuzz/parsers names, once more with gcov's counters:
# t/04-fuzz-corpus.t shows how many of their lines the corpora reach.
parsers  = $(sort $(filter %.c,$(shell sed 's/^#.*//' t/fuzz/parsers)))
covered  = $(if $(FUZZER),,$(patsubst %.c,$B/obj/cover/%.o,$(filter controller/% ngx_certctl_module/store/%,$(parsers))))
counters = $(if $(FUZZER),,-O0 -U_FORTIFY_SOURCE --coverage)

$B/obj/cover/%.o: %.c | $(generated)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(counters) -Ingx_certctl_module -c -o $@ $<

$B/libcover.a: $(covered) t/fuzz/parsers
	@rm -f $@
	$(Q)$(AR) rcs $@ $(covered)

$B/t/fuzz/rest_%: private roof = $B/obj/routes.o
$B/t/fuzz/ngx_%: private CFLAGS += $(ngxflags)
$(filter $B/t/fuzz/ngx_%,$(fuzzers)): $(wildcard ngx_certctl_module/*/*.[ch]) | $(if $(FUZZER),,$(module))
$B/t/fuzz/%: t/fuzz/%.c t/fuzz/replay.c t/fuzz/link $(wildcard t/fuzz/*.h t/unit/*.h) $B/obj/routes.o $B/libcover.a $B/libcertctl.a
	@mkdir -p $(@D)
	$(say) FUZZ $@
	$(Q)$(CC) $(CFLAGS) $(counters) -Ingx_certctl_module -It/unit -It/fuzz -c -o $@.o $<
	$(Q)t/fuzz/link $(CC) $(CFLAGS) $(counters) -It/unit -It/fuzz $(LDFLAGS) -o $@ $@.o $(fuzzmain) $(roof) $B/libcover.a $B/libcertctl.a $(LIBS) -Wno-missing-prototypes

# A client of what is tested, in another library's words: sanitizers would slow it
# down and say nothing of ours.
$B/t/bench/handshake: private SANFLAG =
$B/t/bench/handshake: private LIBS = $(shell pkg-config --libs gnutls)

$B/t/bench/%: t/bench/%.c $B/libcertctl.a
	@mkdir -p $(@D)
	$(say) BENCH $@
	$(Q)$(CC) $(CFLAGS) -Ingx_certctl_module $(LDFLAGS) -o $@ $< $B/libcertctl.a $(LIBS)

build/nginx-source:
	@t/setup source
	@t/nginx-source

module: $(module)

deps:                                ## install the packages that make needs
	@t/setup build

# Stories that kill a program at a named crash point run on programs built with
# them (POINTS), beside the ones that are shipped; sanitized programs have both.
pointed  = $(if $(SAN),$B,$B/points)
build    = $(MAKE) --no-print-directory $(if $(findstring j,$(MAKEFLAGS)),,-j$(JOBS))

test:                                ## install what tests need, build, run them all
	@t/setup build run test
	@$(build) all $(units) $(tools) $(fuzzers)
	@$(if $(SAN),,$(build) B=$(pointed) POINTS=-DCERTCTL_POINTS all)
	B=$B SAN=$(SAN) POINTED=$(pointed) t/run -j$(JOBS) $(TESTS)

test-matrix:                         ## the module's tests on each Debian of SUITES
	@t/setup test matrix
	@t/matrix prepare $(SUITES)
	@TESTS='$(filter t/4%,$(TESTS))' t/matrix test $(SUITES)

# Not beneath valgrind: 41 has an NGINX of its own, which serves nothing; the load
# has to come within the ten seconds that a writer waits for another.
watched  = $(filter-out t/41-% t/45-module-control-load.t,$(wildcard t/4*.t)) t/03-harness.t

test-valgrind:                       ## the module's tests with NGINX beneath valgrind, slow
	@t/setup build run test valgrind
	@$(build) module $(tools)
	@$(build) B=$(pointed) POINTS=-DCERTCTL_POINTS module
	VALGRIND=1 B=$B POINTED=$(pointed) t/run -j$(JOBS) $(or $(filter t/4%,$(TESTS)),$(watched))

fuzz:                                ## run libFuzzer (FUZZ=name: one, SECONDS=60 for each)
	@t/setup build run fuzz
	@$(build) $(module)
	@$(build) B=build/fuzz SAN=address,undefined CC=clang-14 WARN=-Wall FUZZER=1 NGX=$B/nginx NGINX_SRC=$(NGINX_SRC) fuzzers
	@t/fuzz/run $(or $(SECONDS),60) $(FUZZ)

bench:                               ## measure side by side, JSON under build/bench/ (BENCH=swap: one)
	@t/setup build run test bench
	@$(build) all $(benches)
	B=$B t/bench/run $(BENCH)

bench-module:                        ## stock NGINX, lua, HAProxy and the module beside each other
	@$(MAKE) --no-print-directory bench BENCH=module

docs: $B/t/tool/declared             ## print the tables of docs/ again
	$(Q)perl t/tool/docs.pl $<

demo:                                ## show the main job on this machine (ONCE=1: and end)
	@t/setup build run demo
	@$(MAKE) --no-print-directory all
	@B=$B ONCE=$(ONCE) t/demo

clean:                               ## remove what was built
	rm -rf build

-include $(shell find $B/obj -name '*.d' 2>/dev/null)
