# SPDX-License-Identifier: GPL-2.0
# How every test program is compiled. The guest's C code lives in the same
# object files as the host's, so all of it goes without what a guest cannot
# have: a red zone under its interrupt frames, SSE registers, a stack guard in
# thread-local storage, addresses that move.
RL_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	     -Wno-missing-field-initializers \
	     -static -no-pie -fno-pie -fno-stack-protector -fcf-protection=none \
	     -mno-red-zone -mgeneral-regs-only -fno-strict-aliasing \
	     -fno-tree-loop-distribute-patterns -pthread
