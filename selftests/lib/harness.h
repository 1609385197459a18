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

/* SKIP() in FIXTURE_SETUP would go on with the test: SKIP(_exit(KSFT_HARNESS_SKIP), ...). */
#define KSFT_HARNESS_SKIP 255

#endif
