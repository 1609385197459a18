// SPDX-License-Identifier: GPL-2.0
/* A 64-bit guest that does one access at a time, as the test tells it. */
#include "lib.h"

static struct puppet puppets[MAX_VCPUS];

static u64 guest_access_read(u64 addr, u32 size, u64 *val)
{
	*val = 0;
	switch (size) {
	case 1:
		return GUEST_TRY("movb (%2), %b1", : TRAP_OUT, "+r"(*val) : "r"(addr) : "memory");
	case 2:
		return GUEST_TRY("movw (%2), %w1", : TRAP_OUT, "+r"(*val) : "r"(addr) : "memory");
	case 4:
		return GUEST_TRY("movl (%2), %k1", : TRAP_OUT, "+r"(*val) : "r"(addr) : "memory");
	default:
		return GUEST_TRY("movq (%2), %q1", : TRAP_OUT, "+r"(*val) : "r"(addr) : "memory");
	}
}

static u64 guest_access_write(u64 addr, u32 size, u64 val)
{
	switch (size) {
	case 1:
		return GUEST_TRY("movb %b1, (%2)", : TRAP_OUT : "r"(val), "r"(addr) : "memory");
	case 2:
		return GUEST_TRY("movw %w1, (%2)", : TRAP_OUT : "r"(val), "r"(addr) : "memory");
	case 4:
		return GUEST_TRY("movl %k1, (%2)", : TRAP_OUT : "r"(val), "r"(addr) : "memory");
	default:
		return GUEST_TRY("movq %q1, (%2)", : TRAP_OUT : "r"(val), "r"(addr) : "memory");
	}
}

void guest_puppet(u64 id)
{
	struct puppet *p = &puppets[id];
	u64 val;

	for (;;) {
		GUEST_SYNC(PUPPET_STAGE, p->val);
		p->trap = 0;
		val = p->val;
		switch (p->op) {
		case PUPPET_READ:
			p->trap = guest_access_read(p->addr, p->size, &val);
			break;
		case PUPPET_WRITE:
			p->trap = guest_access_write(p->addr, p->size, val);
			break;
		case PUPPET_RDMSR:
			p->trap = guest_rdmsr_safe(p->addr, &val);
			break;
		case PUPPET_WRMSR:
			p->trap = guest_wrmsr_safe(p->addr, val);
			break;
		case PUPPET_CPUID:
			guest_cpuid(p->addr, p->size, p->cpuid);
			break;
		case PUPPET_CALL:
			val = ((u64 (*)(u64))p->addr)(val);
			break;
		}
		p->val = val;
	}
}

volatile struct puppet *puppet(struct vcpu *v)
{
	return &G(v->vm, puppets[v->id]);
}

void puppet_set(struct vcpu *v, enum puppet_op op, u64 addr, u32 size, u64 val)
{
	volatile struct puppet *p = puppet(v);

	p->op = op;
	p->addr = addr;
	p->size = size;
	p->val = val;
}

void puppet_do_(struct vcpu *v, enum puppet_op op, u64 addr, u32 size, u64 val)
{
	puppet_set(v, op, addr, size, val);
	expect_ucall_(v, UCALL_SYNC, PUPPET_STAGE, NULL);
}

struct vm *vm_puppet(unsigned int nr_vcpus, unsigned int flags)
{
	struct vm *vm = vm_long(nr_vcpus, guest_puppet, flags);

	for (unsigned int i = 0; i < nr_vcpus; i++)
		expect_sync(vm->vcpus[i], PUPPET_STAGE);
	return vm;
}
