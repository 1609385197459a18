// SPDX-License-Identifier: GPL-2.0
/* A call with each of its allocations and copies made to fail in turn. */
#include "inject.h"

#define MOST	4000		/* a call with more to fail than this does not end */

static int nth_fd = -1;

/* Every allocation may fail, also one that may sleep, and without a word in the log. */
bool inject_possible(void)
{
	static const char * const what[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char path[80];

	for (u32 i = 0; i < ARRAY_SIZE(what); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/verbose", what[i]);
		if (rl_put(path, "0"))
			return false;
	}
	if (rl_put("/sys/kernel/debug/failslab/ignore-gfp-wait", "N") ||
	    rl_put("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N") ||
	    rl_put("/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N") ||
	    rl_put("/sys/kernel/debug/fail_page_alloc/min-order", "0"))
		return false;
	nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	return nth_fd >= 0;
}

bool inject_is_failure(long ret)
{
	return ret == -ENOMEM || ret == -EFAULT || ret == -ENFILE || ret == -EMFILE ||
	       ret == -EAGAIN;
}

void inject_arm(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	CHECK(NULL, pwrite(nth_fd, text, len, 0) == len, "fail-nth: %s", strerror(errno));
}

/*
 * The counter also counts the copies of reading and writing it: then the call itself had
 * less to fail than that.
 */
int inject_left(void)
{
	char left[16] = "";
	bool known = pread(nth_fd, left, sizeof(left) - 1, 0) > 0;

	while (pwrite(nth_fd, "0", 1, 0) != 1)
		;
	return known ? atoi(left) : -1;
}

bool inject_disarm(void)
{
	return inject_left() == 0;
}

static long shoot(struct shot *s)
{
	return s->call ? s->call(s) : kvm_try(s->fd, s->cmd, s->arg);
}

long inject(struct shot *s)
{
	size_t size = s->arg ? _IOC_SIZE(s->cmd) : 0;
	u8 arg[size + 1];

	memcpy(arg, s->arg ?: "", size);
	s->failures = 0;
	for (int n = 1; n < MOST; n++) {
		long ret;

		memcpy(s->arg ?: arg, arg, size);
		inject_arm(n);
		ret = shoot(s);
		if (!inject_disarm())
			return ret;
		s->failures++;
		if (ret >= 0) {
			if (s->undo)
				s->undo(s, ret);
			continue;
		}
		CHECK(NULL, inject_is_failure(ret) || ret == s->also, "%s with failure %d answers %s",
		      s->name, n, strerror(-ret));
		if (s->unchanged)
			s->unchanged(s);
	}
	AT(rl_fail(NULL, "%s has no end of failures", s->name));
}

long inject_ok_(struct shot *s)
{
	long ret = inject(s);

	if (ret < 0)
		rl_fail(NULL, "%s without a failure: %s", s->name, strerror(-ret));
	return ret;
}
