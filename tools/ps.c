// SPDX-License-Identifier: GPL-2.0
/*
 * ringlet ps: the virtual machines of this host, their vCPUs and devices.
 *
 * Owns:    nothing.
 * Touches: the netlink family, read-only.
 */
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "family.h"
#include "options.h"
#include "util.h"

static const struct option_row ps_options[] = { { NULL } };

static void ps_help(void)
{
	printf("Usage: ringlet ps\n"
	       "List virtual machines with their vCPUs and the devices that the module serves:\n"
	       "your own, or all if you are an administrator. MAPPED is what the guest can\n"
	       "reach without a fault.\n");
}

/* 4 characters and a unit, as ls -h has it. */
static const char *size_text(uint64_t bytes, char text[16])
{
	static const char units[] = "KMGTP";
	double value = bytes / 1024.0;
	int unit = 0;

	while (value >= 1024 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	snprintf(text, 16, value < 10 && value != (int)value ? "%.1f%c" : "%.0f%c", value,
		 units[unit]);
	return text;
}

/* Lines about VMs; printed when all are there. */
struct lines {
	size_t nr;
	struct line {
		uint32_t vm;
		char text[160];
	} *line;
};

static void __printf(3, 4) add(struct lines *lines, uint32_t vm, const char *fmt, ...)
{
	struct line *line;
	va_list ap;

	lines->line = realloc(lines->line, (lines->nr + 1) * sizeof(*line));
	if (!lines->line)
		die("out of memory");
	line = &lines->line[lines->nr++];
	line->vm = vm;
	va_start(ap, fmt);
	vsnprintf(line->text, sizeof(line->text), fmt, ap);
	va_end(ap);
}

static void take_vm(const struct family_msg *msg, void *arg)
{
	uint64_t mapped = family_u64(msg, RINGLET_A_VM_MAPPED_4K) * 4 * KiB +
			  family_u64(msg, RINGLET_A_VM_MAPPED_2M) * 2 * MiB +
			  family_u64(msg, RINGLET_A_VM_MAPPED_1G) * GiB;
	uint32_t id = family_u32(msg, RINGLET_A_VM_ID), uid = family_u32(msg, RINGLET_A_VM_UID);
	struct passwd *user = getpwuid(uid);
	char number[16], size[2][16];

	snprintf(number, sizeof(number), "%u", uid);
	add(arg, id, "%6u %8u %-10s %5u %7s %7s  %s", id, family_u32(msg, RINGLET_A_VM_PID),
	    user ? user->pw_name : number, family_u32(msg, RINGLET_A_VM_VCPUS),
	    size_text(family_u64(msg, RINGLET_A_VM_MEMORY), size[0]), size_text(mapped, size[1]),
	    family_string(msg, RINGLET_A_VM_COMM));
}

static void take_vcpu(const struct family_msg *msg, void *arg)
{
	static const char * const states[] = {
		[RINGLET_VCPU_STATE_RUNNABLE] = "runnable",
		[RINGLET_VCPU_STATE_UNINITIALIZED] = "not started",
		[RINGLET_VCPU_STATE_INIT_RECEIVED] = "waits for SIPI",
		[RINGLET_VCPU_STATE_HALTED] = "halted",
		[RINGLET_VCPU_STATE_SIPI_RECEIVED] = "starts",
	};
	uint32_t state = family_u32(msg, RINGLET_A_VCPU_STATE);
	char cpu[24] = "", tid[16] = "-";

	if (msg->attr[RINGLET_A_VCPU_CPU])
		snprintf(cpu, sizeof(cpu), ", on CPU %u", family_u32(msg, RINGLET_A_VCPU_CPU));
	if (msg->attr[RINGLET_A_VCPU_TID])
		snprintf(tid, sizeof(tid), "%u", family_u32(msg, RINGLET_A_VCPU_TID));
	add(arg, family_u32(msg, RINGLET_A_VCPU_VM_ID), "%6s %8s vCPU %u: %s%s", "", tid,
	    family_u32(msg, RINGLET_A_VCPU_ID), state < ARRAY_SIZE(states) ? states[state] : "?",
	    cpu);
}

static void take_device(const struct family_msg *msg, void *arg)
{
	static const char * const states[] = {
		[RINGLET_DEVICE_STATE_STOPPED] = "stopped",
		[RINGLET_DEVICE_STATE_RUNNING] = "running",
		[RINGLET_DEVICE_STATE_NEEDS_RESET] = "needs a reset",
	};
	uint32_t state = family_u32(msg, RINGLET_A_DEVICE_STATE);
	uint32_t queues = family_u32(msg, RINGLET_A_DEVICE_QUEUES);

	add(arg, family_u32(msg, RINGLET_A_DEVICE_VM_ID), "%6s %8s device %u: %s, %s, %u queue%s%s",
	    "", "", family_u32(msg, RINGLET_A_DEVICE_ID),
	    family_device_type(family_u32(msg, RINGLET_A_DEVICE_TYPE)),
	    state < ARRAY_SIZE(states) ? states[state] : "?", queues, queues == 1 ? "" : "s",
	    msg->attr[RINGLET_A_DEVICE_BACKEND_GONE] ? ", its backend is gone" : "");
}

/** cmd_ps() - The ps command */
int cmd_ps(int argc, char **argv)
{
	struct lines vms = {}, parts = {};
	struct nl_sock *sock;

	options_parse("ps", ps_options, NULL, argc, argv, ps_help);
	sock = family_open();
	family_dump(sock, RINGLET_CMD_VM_GET, take_vm, &vms);
	family_dump(sock, RINGLET_CMD_VCPU_GET, take_vcpu, &parts);
	family_dump(sock, RINGLET_CMD_DEVICE_GET, take_device, &parts);
	printf("%6s %8s %-10s %5s %7s %7s  %s\n", "VM", "PID", "USER", "VCPUS", "MEMORY", "MAPPED",
	       "COMMAND");
	for (size_t i = 0; i < vms.nr; i++) {
		puts(vms.line[i].text);
		for (size_t n = 0; n < parts.nr; n++)
			if (parts.line[n].vm == vms.line[i].vm)
				puts(parts.line[n].text);
	}
	free(vms.line);
	free(parts.line);
	nl_socket_free(sock);
	return STATUS_OK;
}
