// SPDX-License-Identifier: GPL-2.0
/*
 * Command lines: options from a table, as --name VALUE or --name=VALUE.
 *
 * Owns:    nothing.
 * Touches: the command's configuration, through the table's functions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "util.h"

#define HELP_COLUMN	26

static const struct option_row *find(const struct option_row *rows, const char *arg, size_t len)
{
	for (; rows->name; rows++)
		if (strlen(rows->name) == len && !strncmp(rows->name, arg, len))
			return rows;
	return NULL;
}

/**
 * options_parse() - Go through the arguments after a command's name
 * @command: for messages
 * @rows:    the table, ended by a row without a name
 * @help:    prints the command's help
 *
 * Does not return when an argument is wrong, or help was asked for.
 */
void options_parse(const char *command, const struct option_row *rows, void *config,
		   int argc, char **argv, void (*help)(void))
{
	for (int i = 0; i < argc; i++) {
		const char *arg = argv[i], *value = NULL;
		size_t len = strcspn(arg, "=");
		const struct option_row *row;

		if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
			help();
			exit(STATUS_OK);
		}
		row = find(rows, arg, len);
		if (!row)
			die_usage("%s: '%s' is not an option (see ringlet %s --help)", command, arg,
				  command);
		if (arg[len])
			value = arg + len + 1;
		if (!row->arg && value)
			die_usage("%s takes no value", row->name);
		if (row->arg && !value) {
			if (i + 1 == argc)
				die_usage("%s: %s is missing", row->name, row->arg);
			value = argv[++i];
		}
		if (row->set)
			row->set(config, value);
		else
			*(const char **)((char *)config + row->string) = value;
	}
}

/** options_print() - Print the table for a person */
void options_print(const struct option_row *rows)
{
	for (; rows->name; rows++) {
		char left[64];
		const char *line = rows->help;
		int len = snprintf(left, sizeof(left), "  %s %s", rows->name, rows->arg ?: "");

		printf("%-*s", HELP_COLUMN, left);
		if (len >= HELP_COLUMN)
			printf("\n%*s", HELP_COLUMN, "");
		while (line) {
			size_t n = strcspn(line, "\n");

			printf("%.*s\n", (int)n, line);
			line = line[n] ? line + n + 1 : NULL;
			if (line)
				printf("%*s", HELP_COLUMN, "");
		}
	}
}

/**
 * suboption_next() - Split off the next part of a comma-separated list
 * @option: for messages
 * @list:   moves on
 *
 * Return: false at the end of the list.
 */
bool suboption_next(const char *option, const char **list, struct suboption *sub)
{
	size_t len = strcspn(*list, ","), name = strcspn(*list, "=,");
	size_t value = len > name ? len - name - 1 : 0;

	if (!**list)
		return false;
	if (len >= sizeof(sub->text))
		die_usage("%s: '%.*s' is too long", option, (int)len, *list);
	memcpy(sub->name, *list, name);
	sub->name[name] = '\0';
	memcpy(sub->value, *list + len - value, value);
	sub->value[value] = '\0';
	memcpy(sub->text, *list, len);
	sub->text[len] = '\0';
	sub->has_value = len > name;
	*list += len;
	if (**list == ',')
		++*list;
	return true;
}
