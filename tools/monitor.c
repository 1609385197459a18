// SPDX-License-Identifier: GPL-2.0
/*
 * ringlet monitor: a line for each event, as it comes.
 *
 * Owns:    nothing.
 * Touches: the netlink family.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "family.h"
#include "options.h"
#include "util.h"

static const struct option_row monitor_options[] = { { NULL } };

static void monitor_help(void)
{
	printf("Usage: ringlet monitor\n"
	       "Print what happens to virtual machines until interrupted: your own, or all if\n"
	       "you are an administrator.\n");
}

static const char * const reasons[] = {
	[RINGLET_STOP_REASON_INTERNAL_ERROR] = "internal error",
	[RINGLET_STOP_REASON_ENTRY_FAILED] = "the CPU refused to enter the guest",
	[RINGLET_STOP_REASON_SHUTDOWN] = "triple fault",
	[RINGLET_STOP_REASON_MEMORY] = "no memory behind a memory slot",
	[RINGLET_STOP_REASON_RETIRED] = "taken out of service",
};

static void print_vcpu_stopped(const struct family_msg *msg)
{
	uint32_t reason = family_u32(msg, RINGLET_A_VCPU_STOP_REASON);

	printf("VM %u vCPU %u stopped: %s", family_u32(msg, RINGLET_A_VCPU_VM_ID),
	       family_u32(msg, RINGLET_A_VCPU_ID),
	       reason < ARRAY_SIZE(reasons) && reasons[reason] ? reasons[reason] : "?");
	if (reason == RINGLET_STOP_REASON_INTERNAL_ERROR)
		printf(" %u", family_u32(msg, RINGLET_A_VCPU_SUBERROR));
	printf(" (exit code %#llx)\n",
	       (unsigned long long)family_u64(msg, RINGLET_A_VCPU_HW_REASON));
}

static void print_device_broken(const struct family_msg *msg)
{
	printf("VM %u device %u (%s) needs a reset: queue %u: %s\n",
	       family_u32(msg, RINGLET_A_DEVICE_VM_ID), family_u32(msg, RINGLET_A_DEVICE_ID),
	       family_device_type(family_u32(msg, RINGLET_A_DEVICE_TYPE)),
	       family_u32(msg, RINGLET_A_DEVICE_BAD_QUEUE),
	       strerror(family_u32(msg, RINGLET_A_DEVICE_ERROR)));
}

static void print_event(const struct family_msg *msg, void *arg)
{
	switch (msg->cmd) {
	case RINGLET_CMD_VM_CREATED_NTF:
	case RINGLET_CMD_VM_DESTROYED_NTF:
		printf("VM %u %s: process %u (%s), user %u\n", family_u32(msg, RINGLET_A_VM_ID),
		       msg->cmd == RINGLET_CMD_VM_CREATED_NTF ? "created" : "destroyed",
		       family_u32(msg, RINGLET_A_VM_PID),
		       family_string(msg, RINGLET_A_VM_COMM),
		       family_u32(msg, RINGLET_A_VM_UID));
		break;
	case RINGLET_CMD_VCPU_STOPPED_NTF:
		print_vcpu_stopped(msg);
		break;
	case RINGLET_CMD_DEVICE_BROKEN_NTF:
		print_device_broken(msg);
		break;
	}
}

/** cmd_monitor() - The monitor command */
int cmd_monitor(int argc, char **argv)
{
	options_parse("monitor", monitor_options, NULL, argc, argv, monitor_help);
	setvbuf(stdout, NULL, _IOLBF, 0);
	family_listen(family_open(), print_event, NULL);
}
