// SPDX-License-Identifier: GPL-2.0
/*
 * Messages to the user, and the few helpers that every file needs.
 *
 * Owns:    nothing.
 * Touches: standard error; console.c for the terminal's state.
 */
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "console.h"
#include "util.h"

static void vmessage(const char *fmt, va_list ap)
{
	/* A raw terminal does not return the carriage by itself. */
	const char *eol = console_is_raw() ? "\r\n" : "\n";
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	fprintf(stderr, "ringlet: %s%s", text, eol);
}

/** warn() - Tell the user, and go on */
void warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vmessage(fmt, ap);
	va_end(ap);
}

/** die() - Tell the user, and end; not for vCPU threads, which stop the VM instead */
void die(const char *fmt, ...)
{
	va_list ap;

	console_restore();
	va_start(ap, fmt);
	vmessage(fmt, ap);
	va_end(ap);
	exit(STATUS_ERROR);
}

/** die_usage() - As die(), for a command line that cannot be understood */
void die_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vmessage(fmt, ap);
	va_end(ap);
	exit(STATUS_USAGE);
}

void *xcalloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		die("out of memory");
	return p;
}

static bool parse_digits(const char *text, uint64_t *value, char **end)
{
	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	*value = strtoull(text, end, 10);
	return !errno;
}

/** parse_number() - Decimal digits and nothing else */
bool parse_number(const char *text, uint64_t *value)
{
	char *end;

	return parse_digits(text, value, &end) && !*end;
}

/** parse_size() - Digits with one of K, M, G, T; a bare number has no obvious unit */
bool parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	const char *unit;
	uint64_t value;
	char *end;

	if (!parse_digits(text, &value, &end) || !end[0] || end[1])
		return false;
	unit = strchr(units, toupper((unsigned char)end[0]));
	if (!unit)
		return false;
	return !__builtin_mul_overflow(value, 1ULL << (10 * (unit - units + 1)), bytes);
}
