# SPDX-License-Identifier: GPL-2.0
#
# ringlet: the module (ringlet.ko; its object list is in Kbuild), the launcher
# (tools/ringlet) and their tests. `make help` lists what there is.

# Kernel to build for: the running one if its headers are here, else the newest
# Debian 6.1 one. KDIR may name any prepared kernel tree instead.
ifeq ($(origin KVER),undefined)
KVER := $(firstword $(notdir $(patsubst %/build/Makefile,%,\
	  $(wildcard /lib/modules/$(shell uname -r)/build/Makefile))) \
	$(lastword $(shell ls -d /lib/modules/6.1.*-amd64/build 2>/dev/null | \
	  sed 's,.*modules/\([^/]*\)/build,\1,' | sort -V)))
endif
KDIR   ?= /lib/modules/$(KVER)/build
PREFIX ?= /usr/local
BUILD  := $(CURDIR)/build

TESTHOST := selftests/testhost

# Some shells export a HOST of their own, which is not meant.
HOSTS := amd intel amd-full debug kcsan native
ifeq ($(origin HOST)$(filter $(HOSTS),$(HOST)),environment)
HOST :=
endif

.PHONY: all module tools selftests setup unit check check-clients demo bench bench-io sparse install \
	clean help

all: module tools

need_headers = @[ -e "$(KDIR)/Makefile" ] || { \
	echo "No kernel headers: install the package linux-headers-amd64" \
	     "(or set KVER or KDIR)." >&2; exit 1; }

module:
	$(need_headers)
	$(MAKE) -C $(KDIR) M=$(CURDIR) $(if $(W),W=$(W)) $(if $(C),C=$(C)) modules

tools:
	$(MAKE) -C tools

selftests:
	$(MAKE) -C selftests

sparse:
	$(need_headers)
	$(MAKE) -C $(KDIR) M=$(CURDIR) clean
	$(MAKE) -C $(KDIR) M=$(CURDIR) C=2 CF="$(CF)" modules

unit:
	$(MAKE) -C selftests/unit check

setup:
	@$(TESTHOST)/setup

check: setup
	@$(TESTHOST)/check $(HOST)

check-clients: setup module
	@selftests/clients/run $(CLIENTS)

# All hosts, those whose kernels are built first and watch everything too.
check-long: setup
	@DEADLINE=$(or $(DEADLINE),7200) KILLS=$(or $(KILLS),100) MODELS="$(or $(MODELS),user kernel)" \
		$(TESTHOST)/check amd intel amd-full debug kcsan

demo: setup
	@$(TESTHOST)/demo $(or $(HOST),amd)

bench: setup all
	@$(MAKE) -C selftests/bench run

bench-io: setup all
	@$(MAKE) -C selftests/bench run-io

install: all
	$(MAKE) -C $(KDIR) M=$(CURDIR) INSTALL_MOD_DIR=extra \
		$(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)) modules_install
	install -D -m 755 tools/ringlet $(DESTDIR)$(PREFIX)/bin/ringlet
	for header in $(wildcard uapi/linux/*.h); do \
		install -D -m 644 $$header $(DESTDIR)$(PREFIX)/include/linux/$${header##*/} || exit 1; \
	done

clean:
	-[ ! -e "$(KDIR)/Makefile" ] || $(MAKE) -C $(KDIR) M=$(CURDIR) clean
	-[ ! -e tools/Makefile ] || $(MAKE) -C tools clean
	-$(MAKE) -C selftests clean
	-[ ! -e selftests/unit/Makefile ] || $(MAKE) -C selftests/unit clean

help:
	@echo 'make             ringlet.ko and tools/ringlet (W=1: more warnings)'
	@echo 'make demo        boot a Debian kernel on ringlet, in an emulated host'
	@echo 'make check       build, then run every test (HOST=amd|intel|amd-full|debug,'
	@echo '                 TESTS="name...", MODULE=kvm to see the tests on kvm.ko)'
	@echo 'make check-clients   QEMU, KVM selftests on ringlet and on kvm.ko, one table'
	@echo 'make check-long  the same on all hosts, the debug kernel too (some hours)'
	@echo 'make bench       what each exit costs, on ringlet and on kvm.ko'
	@echo 'make bench-io    what a disk and a network cost, by ringlet and by QEMU on kvm.ko'
	@echo 'make unit        the tests that need no host'
	@echo 'make sparse      rebuild the module under sparse'
	@echo 'make selftests   build the test programs; selftests/testhost/run runs one'
	@echo 'make setup       install the Debian packages that the above need'
	@echo 'make install     module, launcher and header (PREFIX, DESTDIR)'
	@echo 'make clean       remove what was built, except build/ (downloads, kernels)'
	@echo
	@echo 'Kernel: KVER=$(KVER) KDIR=$(KDIR)'
