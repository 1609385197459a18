// SPDX-License-Identifier: GPL-2.0
/*
 * CPUID for each vCPU: what the hypervisor supports, with the topology of one
 * package of N cores with one thread each.
 *
 * Owns:    the tables that it returns, until the caller frees them.
 * Touches: nothing else.
 * Locks:   none.
 * Manuals: SDM Vol 2A "CPUID-CPU Identification"; APM Vol 3 "Obtaining
 *          Processor Information Via the CPUID Instruction".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vm.h"

#define EXTRA_ENTRIES	8	/* what the topology leaves may add */

#define F1_ECX_TSC_DEADLINE	BIT(24)
#define F1_ECX_HYPERVISOR	BIT(31)
#define F1_EDX_HTT		BIT(28)
#define F80000001_ECX_CMP_LEGACY BIT(1)

static struct kvm_cpuid2 *table_alloc(unsigned int nent)
{
	struct kvm_cpuid2 *table = xcalloc(1, sizeof(*table) + nent * sizeof(table->entries[0]));

	table->nent = nent;
	return table;
}

/** cpuid_supported() - The hypervisor's table; dies when there is none */
struct kvm_cpuid2 *cpuid_supported(int device_fd)
{
	unsigned int nent = 64;

	for (;;) {
		struct kvm_cpuid2 *table = table_alloc(nent);

		if (!ioctl(device_fd, KVM_GET_SUPPORTED_CPUID, table))
			return table;
		free(table);
		if (errno != E2BIG || nent > 4096)
			die("KVM_GET_SUPPORTED_CPUID: %s", strerror(errno));
		nent *= 2;
	}
}

/** cpuid_find() - The first entry of a leaf, or NULL */
const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *table, uint32_t function)
{
	for (unsigned int i = 0; i < table->nent; i++)
		if (table->entries[i].function == function)
			return &table->entries[i];
	return NULL;
}

/** cpuid_physical_bits() - Width of a guest physical address */
unsigned int cpuid_physical_bits(const struct kvm_cpuid2 *table)
{
	const struct kvm_cpuid_entry2 *e = cpuid_find(table, 0x80000008);
	unsigned int bits = e ? e->eax & 0xff : 0;

	return bits >= 32 && bits <= 52 ? bits : 36;
}

/* Number of APIC ID bits that tell @n cores apart. */
static unsigned int id_bits(unsigned int n)
{
	unsigned int bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

/* A cache is private to a core up to level 2, and the package's from level 3. */
static uint32_t cache_sharing(uint32_t eax, unsigned int cpus)
{
	unsigned int level = (eax >> 5) & 7;
	unsigned int sharing = level >= 3 ? 1u << id_bits(cpus) : 1;

	return (eax & ~(0xfffu << 14)) | (sharing - 1) << 14;
}

static void adjust(struct kvm_cpuid_entry2 *e, unsigned int id, unsigned int cpus, bool deadline)
{
	unsigned int bits = id_bits(cpus);

	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0xffff) | (bits < 8 ? 1u << bits : 255) << 16 | id << 24;
		e->ecx |= F1_ECX_HYPERVISOR;
		/* Not in the supported table: it depends on the local APIC being the kernel's. */
		if (deadline)
			e->ecx |= F1_ECX_TSC_DEADLINE;
		e->edx &= ~F1_EDX_HTT;
		if (cpus > 1)
			e->edx |= F1_EDX_HTT;
		break;
	case 4:
		if (!(e->eax & 0x1f))
			break;
		e->eax = cache_sharing(e->eax, cpus) & ~(0x3fu << 26);
		e->eax |= ((bits < 6 ? 1u << bits : 64) - 1) << 26;
		break;
	case 0x80000001:
		e->ecx &= ~F80000001_ECX_CMP_LEGACY;
		if (cpus > 1)
			e->ecx |= F80000001_ECX_CMP_LEGACY;
		break;
	case 0x80000008:
		e->ecx = (e->ecx & ~0xf0ffu) | bits << 12 | (cpus - 1);
		break;
	case 0x8000001d:
		if (e->eax & 0x1f)
			e->eax = cache_sharing(e->eax, cpus);
		break;
	case 0x8000001e:
		e->eax = id;
		e->ebx = id & 0xff;
		e->ecx = 0;
		break;
	}
}

/* Extended topology: level 0 is threads, level 1 is cores, level 2 ends the list. */
static void add_topology(struct kvm_cpuid2 *table, uint32_t leaf, unsigned int id,
			 unsigned int cpus)
{
	const struct { uint32_t shift, count, type; } level[] = {
		{ 0, 1, 1 }, { id_bits(cpus), cpus, 2 }, { 0, 0, 0 },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(level); i++)
		table->entries[table->nent++] = (struct kvm_cpuid_entry2){
			.function = leaf,
			.index = i,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = level[i].shift,
			.ebx = level[i].count,
			.ecx = level[i].type << 8 | i,
			.edx = id,
		};
}

/** cpuid_for_vcpu() - The table for one vCPU; the caller frees it */
struct kvm_cpuid2 *cpuid_for_vcpu(struct vm *vm, unsigned int id)
{
	const struct kvm_cpuid2 *from = vm->cpuid;
	struct kvm_cpuid2 *table = table_alloc(from->nent + EXTRA_ENTRIES);
	const struct kvm_cpuid_entry2 *max = cpuid_find(from, 0);
	unsigned int cpus = vm->config->cpus;
	bool deadline = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;

	table->nent = 0;
	for (unsigned int i = 0; i < from->nent; i++) {
		struct kvm_cpuid_entry2 *e = &table->entries[table->nent];

		if (from->entries[i].function == 0xb || from->entries[i].function == 0x1f)
			continue;
		*e = from->entries[i];
		adjust(e, id, cpus, deadline);
		table->nent++;
	}
	if (max && max->eax >= 0xb)
		add_topology(table, 0xb, id, cpus);
	if (max && max->eax >= 0x1f)
		add_topology(table, 0x1f, id, cpus);
	return table;
}
