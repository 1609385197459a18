// SPDX-License-Identifier: GPL-2.0
/*
 * Runs in a guest: writes to every page of some memory again and again, and finds a page
 * that lost what was written last, as after a migration that missed one.
 *
 *	dirty MEBIBYTES		says "pass N" after each; ends with 1 on a lost page
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PAGE = 4096 };

int main(int argc, char **argv)
{
	size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 16) << 20;
	uint8_t *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED)
		return 2;
	for (uint64_t pass = 1;; pass++) {
		for (size_t at = 0; at < size; at += PAGE) {
			/* Its two ends: a page is sent whole or not at all. */
			uint64_t *first = (uint64_t *)(mem + at);
			uint64_t *last = (uint64_t *)(mem + at + PAGE) - 1;

			if (*first != (pass > 1 ? at + pass - 1 : 0) || *last != *first) {
				printf("LOST page %zu in pass %llu: %llx %llx\n", at / PAGE,
				       (unsigned long long)pass, (unsigned long long)*first,
				       (unsigned long long)*last);
				return 1;
			}
			*first = at + pass;
			*last = at + pass;
		}
		printf("pass %llu\n", (unsigned long long)pass);
		fflush(stdout);
	}
}
