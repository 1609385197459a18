// SPDX-License-Identifier: GPL-2.0
/*
 * ringlet: builds a virtual machine and its devices around the hypervisor module.
 *
 * Owns:    the table of commands.
 * Touches: nothing else.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "util.h"

static int cmd_help(int argc, char **argv);

static int cmd_version(int argc, char **argv)
{
	printf("ringlet %s (hypervisor API %d)\n", RINGLET_VERSION, KVM_API_VERSION);
	return STATUS_OK;
}

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{ "run",	cmd_run,	"run a virtual machine with its console on this terminal" },
	{ "info",	cmd_info,	"show what this CPU and the hypervisor offer" },
	{ "ps",		cmd_ps,		"list virtual machines and their vCPUs" },
	{ "stat",	cmd_stat,	"show what virtual machines do, in numbers" },
	{ "monitor",	cmd_monitor,	"print what happens to virtual machines" },
	{ "version",	cmd_version,	"show the version" },
	{ "help",	cmd_help,	"show this help" },
};

static int cmd_help(int argc, char **argv)
{
	printf("Usage: ringlet COMMAND [OPTION]...\n"
	       "Run virtual machines on the ringlet hypervisor.\n\n"
	       "Commands:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-10s%s\n", commands[i].name, commands[i].help);
	printf("\n'ringlet COMMAND --help' tells more.\n"
	       "Exit status: 0 when all went well, 1 after an error, 2 for a wrong command\n"
	       "line, 128 + N when signal N ended a virtual machine.\n");
	return STATUS_OK;
}

static const struct command *find(const char *name)
{
	if (!strcmp(name, "--help") || !strcmp(name, "-h"))
		name = "help";
	else if (!strcmp(name, "--version"))
		name = "version";
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* What is opened later must not become standard input or output. */
static void fill_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	const struct command *command;

	fill_standard_fds();
	if (argc < 2)
		die_usage("a command is missing (see ringlet --help)");
	command = find(argv[1]);
	if (!command)
		die_usage("'%s' is not a command (see ringlet --help)", argv[1]);
	return command->run(argc - 2, argv + 2);
}
