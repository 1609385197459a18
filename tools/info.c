// SPDX-License-Identifier: GPL-2.0
/*
 * ringlet info: what the CPU and the hypervisor offer.
 *
 * Owns:    nothing.
 * Touches: the hypervisor's node, read-only; creates no VM.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "commands.h"
#include "options.h"
#include "linux/ringlet.h"
#include "virtio.h"

#define F1_ECX_VMX		BIT(5)
#define F80000001_ECX_SVM	BIT(2)
#define LEAF_SIGNATURE		0x40000000
#define LEAF_SVM		0x8000000a

struct info_config {
	const char *device;
};

static const struct option_row info_options[] = {
	{ "--device", "PATH", "the hypervisor's node (" DEFAULT_DEVICE ")",
	  NULL, offsetof(struct info_config, device) },
	{ NULL },
};

static void info_help(void)
{
	printf("Usage: ringlet info [OPTION]...\n"
	       "Show what this CPU and the hypervisor offer.\n\n");
	options_print(info_options);
}

static const struct {
	int cap;
	const char *name;
} capabilities[] = {
#define CAP(name) { KVM_CAP_ ## name, #name },
#include "kvm_caps.h"
#undef CAP
};

/* Leaves of twelve characters in three registers, and of 48 in twelve. */
static void print_cpu(void)
{
	unsigned int a, b, c, d, brand[13] = { 0 };
	char vendor[13] = "";

	__cpuid(0, a, b, c, d);
	memcpy(vendor, &b, 4);
	memcpy(vendor + 4, &d, 4);
	memcpy(vendor + 8, &c, 4);
	printf("CPU\n  vendor            %s\n", vendor);
	__cpuid(0x80000000, a, b, c, d);
	if (a >= 0x80000004) {
		for (unsigned int i = 0; i < 3; i++)
			__cpuid(0x80000002 + i, brand[4 * i], brand[4 * i + 1], brand[4 * i + 2],
				brand[4 * i + 3]);
		printf("  model             %.48s\n", (char *)brand);
	}
}

static void print_virtualization(void)
{
	static const struct { unsigned int bit; const char *name; } svm[] = {
		{ 0, "NPT" }, { 1, "LBR" }, { 3, "nRIP-save" }, { 4, "TSC-rate" },
		{ 5, "VMCB-clean" }, { 6, "flush-by-ASID" }, { 7, "decode-assists" },
		{ 10, "pause-filter" }, { 13, "AVIC" }, { 15, "virtual-VMLOAD" },
		{ 16, "vGIF" }, { 25, "vNMI" },
	};
	unsigned int a, b, c, d, max;

	printf("  virtualization   ");
	__cpuid(1, a, b, c, d);
	if (c & F1_ECX_VMX)
		printf(" VMX");
	__cpuid(0x80000000, max, b, c, d);
	if (max >= LEAF_SVM) {
		__cpuid(0x80000001, a, b, c, d);
		if (c & F80000001_ECX_SVM) {
			__cpuid(LEAF_SVM, a, b, c, d);
			printf(" SVM, %u ASIDs:", b);
			for (unsigned int i = 0; i < ARRAY_SIZE(svm); i++)
				if (d & (1u << svm[i].bit))
					printf(" %s", svm[i].name);
		}
	}
	printf("\n");
}

static unsigned int count_msrs(int fd, unsigned long cmd)
{
	struct kvm_msr_list list = { .nmsrs = 0 };

	/* E2BIG is the answer that carries the number. */
	if (ioctl(fd, cmd, &list) && errno != E2BIG)
		return 0;
	return list.nmsrs;
}

static void print_data_planes(int fd)
{
	struct ringlet_caps caps;

	if (!vkernel_caps(fd, &caps))
		return;
	printf("  data planes      %s%s, %u queues of %u\n",
	       caps.types & BIT(RINGLET_DEVICE_BLK) ? " disk" : "",
	       caps.types & BIT(RINGLET_DEVICE_NET) ? " network" : "", caps.max_queues,
	       caps.max_queue_size);
}

static void print_hypervisor(int fd, const char *device)
{
	struct kvm_cpuid2 *cpuid = cpuid_supported(fd);
	const struct kvm_cpuid_entry2 *e = cpuid_find(cpuid, 0);

	printf("Hypervisor\n  node              %s\n", device);
	printf("  API version       %d\n", ioctl(fd, KVM_GET_API_VERSION, 0));
	printf("  vCPUs             %d at most, %d recommended\n",
	       ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS),
	       ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS));
	printf("  memory slots      %d\n", ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS));
	printf("  vCPU shared area  %d bytes\n", ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0));
	printf("  MSRs              %u to save, %u features\n",
	       count_msrs(fd, KVM_GET_MSR_INDEX_LIST),
	       count_msrs(fd, KVM_GET_MSR_FEATURE_INDEX_LIST));
	print_data_planes(fd);
	printf("Guest CPUID\n  entries           %u\n", cpuid->nent);
	printf("  highest leaf      %#x\n", e ? e->eax : 0);
	e = cpuid_find(cpuid, 0x80000000);
	printf("  highest extended  %#x\n", e ? e->eax : 0);
	printf("  physical address  %u bits\n", cpuid_physical_bits(cpuid));
	e = cpuid_find(cpuid, LEAF_SIGNATURE);
	if (e)
		printf("  signature         %.4s%.4s%.4s\n", (const char *)&e->ebx,
		       (const char *)&e->ecx, (const char *)&e->edx);
	free(cpuid);

	printf("Capabilities\n");
	for (unsigned int i = 0; i < ARRAY_SIZE(capabilities); i++) {
		int value = ioctl(fd, KVM_CHECK_EXTENSION, capabilities[i].cap);

		if (value > 0)
			printf("  %-32s %d\n", capabilities[i].name, value);
	}
}

/** cmd_info() - The info command */
int cmd_info(int argc, char **argv)
{
	struct info_config config = { .device = DEFAULT_DEVICE };
	int fd;

	options_parse("info", info_options, &config, argc, argv, info_help);
	print_cpu();
	print_virtualization();
	fflush(stdout);
	fd = hypervisor_open(config.device);
	print_hypervisor(fd, config.device);
	close(fd);
	return STATUS_OK;
}
