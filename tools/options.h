/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_OPTIONS_H
#define RINGLET_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

/* A row of a command's option table. */
struct option_row {
	const char *name;	/* with its dashes */
	const char *arg;	/* what its argument is called in the help, or NULL */
	const char *help;	/* lines of it are indented alike */
	void (*set)(void *config, const char *value);
	size_t string;		/* without @set: the argument goes to this offset */
};

/* The next NAME or NAME=VALUE of a comma-separated list. */
struct suboption {
	char name[256];
	char value[256];
	bool has_value;
	char text[256];		/* all of it */
};

bool suboption_next(const char *option, const char **list, struct suboption *sub);
void options_parse(const char *command, const struct option_row *rows, void *config,
		   int argc, char **argv, void (*help)(void));
void options_print(const struct option_row *rows);

#endif
