/* SPDX-License-Identifier: GPL-2.0 */
/*
 * kselftest's harness, with a bound per test that an emulated host can meet, on a busy machine and
 * with a kernel that checks everything; testhost/suite has one for all tests of a program.
 */
#ifndef RL_HARNESS_H
#define RL_HARNESS_H

#include "kselftest_harness.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 400

/*
 * -t NAME and -v NAME run only these tests and variants, -T and -V all but these; each may be
 * given several times. Later kernels' harness has the same options.
 */
static bool rl_named(const char *name, int yes, int no, int argc, char **argv)
{
	bool asked = false, named = false;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (argv[i][0] != '-' || (argv[i][1] != yes && argv[i][1] != no))
			continue;
		if (!strcmp(argv[i + 1], name)) {
			if (argv[i][1] == no)
				return false;
			named = true;
		}
		asked |= argv[i][1] == yes;
	}
	return named || !asked;
}

#define RL_SELECT(head, yes, no)						\
	for (__typeof__(head) *at = &(head); *at; )				\
		if (rl_named((*at)->name, yes, no, argc, argv))			\
			at = &(*at)->next;					\
		else								\
			*at = (*at)->next

static int rl_harness_run(int argc, char **argv)
{
	for (struct __fixture_metadata *f = __fixture_list; f; f = f->next) {
		bool varies = f->variant;

		RL_SELECT(f->tests, 't', 'T');
		RL_SELECT(f->variant, 'v', 'V');
		if (varies && !f->variant)
			f->tests = NULL;
	}
	return test_harness_run(argc, argv);
}

#undef TEST_HARNESS_MAIN
#define TEST_HARNESS_MAIN							\
	static void __attribute__((constructor)) __constructor_order_last(void)	\
	{									\
		if (!__constructor_order)					\
			__constructor_order = _CONSTRUCTOR_ORDER_BACKWARD;	\
	}									\
	int main(int argc, char **argv)						\
	{									\
		return rl_harness_run(argc, argv);				\
	}

/* SKIP() in FIXTURE_SETUP would go on with the test: SKIP(_exit(KSFT_HARNESS_SKIP), ...). */
#define KSFT_HARNESS_SKIP 255

#endif
