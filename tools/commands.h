/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_COMMANDS_H
#define RINGLET_COMMANDS_H

#define DEFAULT_DEVICE "/dev/ringlet"

/* One file each. Arguments after the command's name; returns the exit status. */
int cmd_run(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_monitor(int argc, char **argv);

#endif
