// SPDX-License-Identifier: GPL-2.0
/*
 * ringlet stat: the counters of virtual machines, their vCPUs and queues.
 *
 * Owns:    two snapshots: --watch shows the difference.
 * Touches: the netlink family, read-only.
 */
#include <netlink/genl/genl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "family.h"
#include "options.h"
#include "util.h"

#define MAX_ROWS	64
#define MAX_COLUMNS	8	/* vCPUs with a column of their own */

struct stat_config {
	bool watch;
	uint64_t vm, interval, count;
};

static void set_positive(const char *option, const char *value, uint64_t *number)
{
	if (!parse_number(value, number) || !*number || *number > UINT32_MAX)
		die_usage("%s: '%s' is not a positive number", option, value);
}

static void set_watch(void *config, const char *value)
{
	((struct stat_config *)config)->watch = true;
}

static void set_vm(void *config, const char *value)
{
	set_positive("--vm", value, &((struct stat_config *)config)->vm);
}

static void set_interval(void *config, const char *value)
{
	set_positive("--interval", value, &((struct stat_config *)config)->interval);
}

static void set_count(void *config, const char *value)
{
	set_positive("--count", value, &((struct stat_config *)config)->count);
}

static const struct option_row stat_options[] = {
	{ "--vm", "NUMBER", "this one only (see ringlet ps)", set_vm, 0 },
	{ "--watch", NULL, "again and again, with what was added since the time before",
	  set_watch, 0 },
	{ "--interval", "SECONDS", "between two times (1)", set_interval, 0 },
	{ "--count", "NUMBER", "times to show it (without end)", set_count, 0 },
	{ NULL },
};

static void stat_help(void)
{
	printf("Usage: ringlet stat [OPTION]...\n"
	       "Show the counters of virtual machines and of the queues that the module serves:\n"
	       "your own, or all if you are an administrator.\n\n");
	options_print(stat_options);
}

/* What is told of each queue. */
static const struct { int type; const char *name; } queue_counters[] = {
	{ RINGLET_A_QUEUE_REQUESTS, "requests" },
	{ RINGLET_A_QUEUE_BYTES_READ, "bytes read" },
	{ RINGLET_A_QUEUE_BYTES_WRITTEN, "bytes written" },
	{ RINGLET_A_QUEUE_DOORBELLS, "doorbells" },
	{ RINGLET_A_QUEUE_INTERRUPTS, "interrupts" },
	{ RINGLET_A_QUEUE_SUPPRESSED, "not wanted" },
	{ RINGLET_A_QUEUE_ERRORS, "errors" },
	{ RINGLET_A_QUEUE_DEFERRED, "deferred" },
};

struct queue_stat {
	uint32_t device, id, type;
	uint64_t count[ARRAY_SIZE(queue_counters)];
};

/* One VM. A row is a counter; column 0 is the sum over all vCPUs. */
struct vm_stat {
	uint32_t id, pid, nr_vcpus, seen;
	char comm[20];
	uint64_t memory, mapped[3], tables, faults;
	uint32_t vcpu_id[MAX_COLUMNS];
	size_t nr_rows;
	struct row {
		char name[24];
		uint64_t count[1 + MAX_COLUMNS];
	} row[MAX_ROWS];
	size_t nr_queues;
	struct queue_stat *queue;
};

struct snapshot {
	uint32_t only;		/* VM, or 0 */
	size_t nr;
	struct vm_stat *vm;
};

static struct vm_stat *find_vm(const struct snapshot *snap, uint32_t id)
{
	for (size_t i = 0; i < snap->nr; i++)
		if (snap->vm[i].id == id)
			return &snap->vm[i];
	return NULL;
}

static const struct row *find_row(const struct vm_stat *vm, const char *name)
{
	for (size_t i = 0; i < vm->nr_rows; i++)
		if (!strcmp(vm->row[i].name, name))
			return &vm->row[i];
	return NULL;
}

/* Of the vCPU that is the next to be seen. */
static void count(struct vm_stat *vm, const char *name, uint64_t val)
{
	struct row *row = (struct row *)find_row(vm, name);

	if (!row) {
		if (vm->nr_rows == MAX_ROWS)
			return;
		row = &vm->row[vm->nr_rows++];
		snprintf(row->name, sizeof(row->name), "%s", name);
	}
	row->count[0] += val;
	if (vm->seen < MAX_COLUMNS)
		row->count[1 + vm->seen] += val;
}

static void take_vm(const struct family_msg *msg, void *arg)
{
	struct snapshot *snap = arg;
	struct vm_stat *vm;

	if (snap->only && family_u32(msg, RINGLET_A_VM_ID) != snap->only)
		return;
	snap->vm = realloc(snap->vm, (snap->nr + 1) * sizeof(*vm));
	if (!snap->vm)
		die("out of memory");
	vm = &snap->vm[snap->nr++];
	memset(vm, 0, sizeof(*vm));
	vm->id = family_u32(msg, RINGLET_A_VM_ID);
	vm->pid = family_u32(msg, RINGLET_A_VM_PID);
	vm->nr_vcpus = family_u32(msg, RINGLET_A_VM_VCPUS);
	snprintf(vm->comm, sizeof(vm->comm), "%s", family_string(msg, RINGLET_A_VM_COMM));
	vm->memory = family_u64(msg, RINGLET_A_VM_MEMORY);
	vm->tables = family_u64(msg, RINGLET_A_VM_TABLES);
	vm->faults = family_u64(msg, RINGLET_A_VM_FAULTS);
	for (int i = 0; i < 3; i++)
		vm->mapped[i] = family_u64(msg, RINGLET_A_VM_MAPPED_4K + i);
}

static void take_exit(struct vm_stat *vm, struct nlattr *nest)
{
	struct nlattr *attr[RINGLET_A_EXIT_MAX + 1];
	char name[24];

	if (nla_parse_nested(attr, RINGLET_A_EXIT_MAX, nest, NULL) ||
	    !attr[RINGLET_A_EXIT_REASON] || !attr[RINGLET_A_EXIT_COUNT])
		return;
	snprintf(name, sizeof(name), "exit: %s", nla_get_string(attr[RINGLET_A_EXIT_REASON]));
	count(vm, name, nla_get_u64(attr[RINGLET_A_EXIT_COUNT]));
}

static void take_vcpu(const struct family_msg *msg, void *arg)
{
	static const struct { int type; const char *name; } counters[] = {
		{ RINGLET_A_VCPU_HALTS, "halts" },
		{ RINGLET_A_VCPU_HALT_POLLS, "ended by polling" },
		{ RINGLET_A_VCPU_HALT_WAKEUPS, "ended by a wake-up" },
		{ RINGLET_A_VCPU_INTERRUPTS, "interrupts" },
		{ RINGLET_A_VCPU_NMIS, "NMIs" },
		{ RINGLET_A_VCPU_EXCEPTIONS, "exceptions" },
		{ RINGLET_A_VCPU_EMULATED, "emulated" },
		{ RINGLET_A_VCPU_TLB_FLUSHES, "TLB flushes" },
		{ RINGLET_A_VCPU_KICKS, "kicks" },
	};
	struct vm_stat *vm = find_vm(arg, family_u32(msg, RINGLET_A_VCPU_VM_ID));
	struct nlattr *attr;
	int left;

	if (!vm)
		return;
	if (vm->seen < MAX_COLUMNS)
		vm->vcpu_id[vm->seen] = family_u32(msg, RINGLET_A_VCPU_ID);
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++)
		count(vm, counters[i].name, family_u64(msg, counters[i].type));
	nlmsg_for_each_attr(attr, msg->head, GENL_HDRLEN, left)
		if (nla_type(attr) == RINGLET_A_VCPU_EXIT)
			take_exit(vm, attr);
	vm->seen++;
}

static void take_queue(const struct family_msg *msg, void *arg)
{
	struct vm_stat *vm = find_vm(arg, family_u32(msg, RINGLET_A_QUEUE_VM_ID));
	struct queue_stat *q;

	if (!vm || !family_u32(msg, RINGLET_A_QUEUE_SIZE))
		return;
	vm->queue = realloc(vm->queue, (vm->nr_queues + 1) * sizeof(*q));
	if (!vm->queue)
		die("out of memory");
	q = &vm->queue[vm->nr_queues++];
	q->device = family_u32(msg, RINGLET_A_QUEUE_DEVICE_ID);
	q->id = family_u32(msg, RINGLET_A_QUEUE_ID);
	q->type = 0;
	for (size_t i = 0; i < ARRAY_SIZE(queue_counters); i++)
		q->count[i] = family_u64(msg, queue_counters[i].type);
}

/* After the queues: each learns of what kind its device is. */
static void take_device(const struct family_msg *msg, void *arg)
{
	struct vm_stat *vm = find_vm(arg, family_u32(msg, RINGLET_A_DEVICE_VM_ID));
	uint32_t id = family_u32(msg, RINGLET_A_DEVICE_ID);

	for (size_t i = 0; vm && i < vm->nr_queues; i++)
		if (vm->queue[i].device == id)
			vm->queue[i].type = family_u32(msg, RINGLET_A_DEVICE_TYPE);
}

static void drop(struct snapshot *snap)
{
	for (size_t i = 0; i < snap->nr; i++)
		free(snap->vm[i].queue);
	free(snap->vm);
}

static void take(struct nl_sock *sock, struct snapshot *snap)
{
	family_dump(sock, RINGLET_CMD_VM_GET, take_vm, snap);
	family_dump(sock, RINGLET_CMD_VCPU_GET, take_vcpu, snap);
	family_dump(sock, RINGLET_CMD_QUEUE_GET, take_queue, snap);
	family_dump(sock, RINGLET_CMD_DEVICE_GET, take_device, snap);
}

static void print_queues(const struct vm_stat *vm, const struct vm_stat *before)
{
	if (!vm->nr_queues)
		return;
	printf("  %-24s", "device, queue");
	for (size_t i = 0; i < ARRAY_SIZE(queue_counters); i++)
		printf("%14s", queue_counters[i].name);
	printf("\n");
	for (size_t i = 0; i < vm->nr_queues; i++) {
		const struct queue_stat *q = &vm->queue[i], *old = NULL;
		char name[32];

		for (size_t n = 0; before && n < before->nr_queues && !old; n++)
			if (before->queue[n].device == q->device && before->queue[n].id == q->id)
				old = &before->queue[n];
		snprintf(name, sizeof(name), "%u (%s), %u", q->device, family_device_type(q->type),
			 q->id);
		printf("  %-24s", name);
		for (size_t n = 0; n < ARRAY_SIZE(queue_counters); n++)
			printf("%14llu", (unsigned long long)(q->count[n] -
							      (old ? old->count[n] : 0)));
		printf("\n");
	}
}

static void print_vm(const struct vm_stat *vm, const struct vm_stat *before)
{
	uint32_t columns = vm->seen > 1 ? vm->seen < MAX_COLUMNS ? vm->seen : MAX_COLUMNS : 0;

	printf("VM %u: process %u (%s), %u vCPUs, %llu MiB\n", vm->id, vm->pid, vm->comm,
	       vm->nr_vcpus, (unsigned long long)(vm->memory / MiB));
	printf("  mapped pages: %llu of 4K, %llu of 2M, %llu of 1G; %llu tables, %llu faults\n",
	       (unsigned long long)vm->mapped[0], (unsigned long long)vm->mapped[1],
	       (unsigned long long)vm->mapped[2], (unsigned long long)vm->tables,
	       (unsigned long long)(vm->faults - (before ? before->faults : 0)));
	printf("  %-24s%14s", before ? "since the last time" : "", "all");
	for (uint32_t i = 0; i < columns; i++)
		printf("   vCPU %6u", vm->vcpu_id[i]);
	printf("\n");
	for (size_t i = 0; i < vm->nr_rows; i++) {
		const struct row *row = &vm->row[i];
		const struct row *old = before ? find_row(before, row->name) : NULL;

		printf("  %-24s", row->name);
		for (uint32_t n = 0; n <= columns; n++)
			printf("%14llu", (unsigned long long)(row->count[n] -
							      (old ? old->count[n] : 0)));
		printf("\n");
	}
	print_queues(vm, before);
}

/** cmd_stat() - The stat command */
int cmd_stat(int argc, char **argv)
{
	struct stat_config config = { .interval = 1 };
	struct snapshot now, before = {};
	struct nl_sock *sock;
	uint64_t round = 0;

	options_parse("stat", stat_options, &config, argc, argv, stat_help);
	if (!config.watch && !config.count)
		config.count = 1;
	sock = family_open();
	for (;;) {
		now = (struct snapshot){ .only = config.vm };
		take(sock, &now);
		if (config.vm && !now.nr)
			die("there is no VM %u, or not for you", (unsigned int)config.vm);
		if (config.watch && isatty(STDOUT_FILENO))
			printf("\033[H\033[2J");
		for (size_t i = 0; i < now.nr; i++)
			print_vm(&now.vm[i], config.watch ? find_vm(&before, now.vm[i].id) : NULL);
		fflush(stdout);
		if (++round == config.count)
			break;
		drop(&before);
		before = now;
		sleep(config.interval);
	}
	drop(&before);
	drop(&now);
	nl_socket_free(sock);
	return STATUS_OK;
}
