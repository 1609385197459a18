/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A test harness of one header for user-space unit tests: TEST(name) { ... } with EXPECT_*, TAP
 * on standard output. A program is one *_test.c; main() is here.
 */
#ifndef UNIT_H
#define UNIT_H

#include <stdio.h>
#include <stdlib.h>

struct unit_test {
	const char *name;
	void (*fn)(void);
	struct unit_test *next;
};

static struct unit_test *unit_tests, **unit_last = &unit_tests;
static int unit_failed;		/* expectations of the running test that did not hold */

#define TEST(test_name)								\
	static void test_name(void);						\
	static struct unit_test unit_##test_name = { #test_name, test_name, NULL };	\
	static void __attribute__((constructor)) unit_add_##test_name(void)		\
	{									\
		*unit_last = &unit_##test_name;					\
		unit_last = &unit_##test_name.next;				\
	}									\
	static void test_name(void)

/* True if it holds, so that a test can print more or stop. */
#define EXPECT(cond)								\
	((cond) ? 1 : (unit_fail(__FILE__, __LINE__, #cond), 0))

#define EXPECT_EQ(seen, expected)						\
	unit_eq(__FILE__, __LINE__, #seen, (unsigned long long)(seen),		\
		(unsigned long long)(expected))

static inline void unit_fail(const char *file, int line, const char *what)
{
	if (unit_failed++ < 20)
		printf("# %s:%d: %s does not hold\n", file, line, what);
}

static inline int unit_eq(const char *file, int line, const char *what, unsigned long long seen,
			  unsigned long long expected)
{
	if (seen == expected)
		return 1;
	if (unit_failed++ < 20)
		printf("# %s:%d: %s is %#llx, expected %#llx\n", file, line, what, seen, expected);
	return 0;
}

int main(void)
{
	int nr = 0, failed = 0;
	struct unit_test *t;

	for (t = unit_tests; t; t = t->next)
		nr++;
	printf("TAP version 13\n1..%d\n", nr);
	nr = 0;
	for (t = unit_tests; t; t = t->next) {
		unit_failed = 0;
		t->fn();
		printf("%sok %d %s\n", unit_failed ? "not " : "", ++nr, t->name);
		fflush(stdout);
		failed += !!unit_failed;
	}
	printf("# Totals: pass:%d fail:%d\n", nr - failed, failed);
	return !!failed;
}

#endif
