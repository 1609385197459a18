/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_UTIL_H
#define RINGLET_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RINGLET_VERSION	"0.1"

/* Exit statuses, as documented in `ringlet --help`; 128 + N after signal N. */
enum { STATUS_OK = 0, STATUS_ERROR = 1, STATUS_USAGE = 2, STATUS_SIGNAL = 128 };

#define BIT(n)		(1u << (n))
#define BIT_ULL(n)	(1ULL << (n))

#define KiB		BIT_ULL(10)
#define MiB		BIT_ULL(20)
#define GiB		BIT_ULL(30)
#define PAGE_SIZE	4096ULL

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a)	(((x) + (a) - 1) & ~((__typeof__(x))(a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))

#define __printf(a, b)	__attribute__((format(printf, a, b)))
#define __packed	__attribute__((packed))

void warn(const char *fmt, ...) __printf(1, 2);
_Noreturn void die(const char *fmt, ...) __printf(1, 2);
_Noreturn void die_usage(const char *fmt, ...) __printf(1, 2);

void *xcalloc(size_t n, size_t size);

bool parse_number(const char *text, uint64_t *value);
bool parse_size(const char *text, uint64_t *bytes);

#endif
