/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A call with its first, second, ... allocation or copy made to fail, until nothing is left to
 * fail: failslab, fail_page_alloc and fail_usercopy through /proc/thread-self/fail-nth.
 */
#ifndef RL_INJECT_H
#define RL_INJECT_H

#include "lib.h"

struct shot {
	const char *name;
	int fd;
	unsigned long cmd;
	void *arg;
	long (*call)(struct shot *s);		/* instead of the ioctl */
	void (*unchanged)(struct shot *s);	/* asked after a failure */
	void (*undo)(struct shot *s, long ret);	/* after a success, for the next try */
	int also;				/* another errno for a failure */
	const void *old;			/* argument that takes a success back */
	struct vm *vm;
	struct vcpu *v;
	int failures;
};

bool inject_possible(void);
#define NEEDS_INJECTION() \
	do { \
		if (!inject_possible()) \
			SKIP(return, "no fault injection in this kernel"); \
	} while (0)

/* The calling thread's @n-th chance to fail is taken; inject_disarm() tells whether it was. */
void inject_arm(int n);
bool inject_disarm(void);
int inject_left(void);		/* the same, and says how far it was; -1: unknown */
bool inject_is_failure(long ret);	/* an errno that a failed allocation or copy may have */

/* What the call answered when nothing failed any more. inject_ok(): which must be success. */
long inject(struct shot *s);
long inject_ok_(struct shot *s);
#define inject_ok(s)	AT(inject_ok_(s))
#define INJECT(f, c, a, ...) \
	({ \
		struct shot __s = { .name = #c, .fd = f, .cmd = c, .arg = a, ##__VA_ARGS__ }; \
		inject_ok(&__s); \
	})

static inline void close_fd(struct shot *s, long ret)
{
	close(ret);
}

static inline bool is_ringlet(void)
{
	return !strcmp(rl_dev_path(), "/dev/ringlet");
}

#endif
