/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints, in the words of common code: the same on VMX and SVM. A VM goes
 * by the number that netlink.c gives it, a vCPU by its VM's and its own.
 *
 * They are called as rl_trace(exit, vcpu): one that is not switched on costs a
 * no-operation and, with its body in trace.c, no register either.
 * Context: any, interrupts off included.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ringlet

#if !defined(RL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define RL_TRACE_H

#include <linux/tracepoint.h>

#include "exit.h"
#include "vendor.h"

#define RL_EXIT_TRACE_ENUM(kind, word)	TRACE_DEFINE_ENUM(RL_EXIT_##kind);
#define RL_EXIT_SYMBOL(kind, word)	{ RL_EXIT_##kind, word },
RL_EXIT_KINDS(RL_EXIT_TRACE_ENUM)
TRACE_DEFINE_ENUM(RL_NR_EXITS);
TRACE_DEFINE_ENUM(RL_EVENT_EXCEPTION);
TRACE_DEFINE_ENUM(RL_EVENT_SOFT_INT);
TRACE_DEFINE_ENUM(RL_EVENT_NMI);
TRACE_DEFINE_ENUM(RL_EVENT_INTR);

#define VCPU_FIELDS	__field(u32, vm) __field(u32, vcpu)
#define VCPU_ASSIGN	do { __entry->vm = vcpu->vm->id; __entry->vcpu = vcpu->id; } while (0)
#define VCPU_FMT	"vm %u vcpu %u "
#define VCPU_ARGS	__entry->vm, __entry->vcpu

TRACE_EVENT(rl_entry,
	TP_PROTO(struct rl_vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(VCPU_FIELDS __field(u64, rip)),
	TP_fast_assign(
		VCPU_ASSIGN;
		__entry->rip = rl_rip_read(vcpu);
	),
	TP_printk(VCPU_FMT "rip 0x%llx", VCPU_ARGS, __entry->rip)
);

/* @hw_reason: the vendor's code; all else is common. */
TRACE_EVENT(rl_exit,
	TP_PROTO(struct rl_vcpu *vcpu),
	TP_ARGS(vcpu),
	TP_STRUCT__entry(VCPU_FIELDS __field(u32, kind) __field(u64, hw_reason) __field(u64, rip)),
	TP_fast_assign(
		VCPU_ASSIGN;
		__entry->kind = vcpu->exit.kind;
		__entry->hw_reason = vcpu->exit.hw_reason;
		__entry->rip = rl_rip_read(vcpu);
	),
	TP_printk(VCPU_FMT "%s rip 0x%llx hw_reason 0x%llx", VCPU_ARGS,
		  __print_symbolic(__entry->kind, RL_EXIT_KINDS(RL_EXIT_SYMBOL)
				   { RL_NR_EXITS, "?" }),
		  __entry->rip, __entry->hw_reason)
);

TRACE_EVENT(rl_inject,
	TP_PROTO(struct rl_vcpu *vcpu, u8 kind, u8 vector, bool has_error, u32 error_code),
	TP_ARGS(vcpu, kind, vector, has_error, error_code),
	TP_STRUCT__entry(VCPU_FIELDS __field(u8, kind) __field(u8, vector) __field(bool, has_error)
			 __field(u32, error_code)),
	TP_fast_assign(
		VCPU_ASSIGN;
		__entry->kind = kind;
		__entry->vector = vector;
		__entry->has_error = has_error;
		__entry->error_code = error_code;
	),
	TP_printk(VCPU_FMT "%s vector 0x%02x%s error 0x%x", VCPU_ARGS,
		  __print_symbolic(__entry->kind, { RL_EVENT_EXCEPTION, "exception" },
				   { RL_EVENT_SOFT_INT, "soft-int" }, { RL_EVENT_NMI, "nmi" },
				   { RL_EVENT_INTR, "interrupt" }),
		  __entry->vector, __entry->has_error ? "" : " no", __entry->error_code)
);

/* Of the second stage. */
TRACE_EVENT(rl_fault,
	TP_PROTO(struct rl_vcpu *vcpu, gpa_t gpa, u32 access),
	TP_ARGS(vcpu, gpa, access),
	TP_STRUCT__entry(VCPU_FIELDS __field(u64, gpa) __field(u32, access)),
	TP_fast_assign(
		VCPU_ASSIGN;
		__entry->gpa = gpa;
		__entry->access = access;
	),
	TP_printk(VCPU_FMT "gpa 0x%llx %s", VCPU_ARGS, __entry->gpa,
		  __print_flags(__entry->access, "|", { RL_ACC_READ, "read" },
				{ RL_ACC_WRITE, "write" }, { RL_ACC_FETCH, "fetch" },
				{ RL_ACC_USER, "user" }, { RL_ACC_PRESENT, "present" },
				{ RL_ACC_WALK, "walk" }))
);

/* An entry of the second stage that maps from @gfn on; @level 1 is 4 KiB. */
TRACE_EVENT(rl_spte,
	TP_PROTO(struct rl_vm *vm, gfn_t gfn, int level, u64 old_spte, u64 new_spte),
	TP_ARGS(vm, gfn, level, old_spte, new_spte),
	TP_STRUCT__entry(__field(u32, vm) __field(u64, gfn) __field(int, level)
			 __field(u64, old_spte) __field(u64, new_spte)),
	TP_fast_assign(
		__entry->vm = vm->id;
		__entry->gfn = gfn;
		__entry->level = level;
		__entry->old_spte = old_spte;
		__entry->new_spte = new_spte;
	),
	TP_printk("vm %u gfn 0x%llx level %d old 0x%llx new 0x%llx", __entry->vm, __entry->gfn,
		  __entry->level, __entry->old_spte, __entry->new_spte)
);

/* An eventfd's signal turns into an interrupt. */
TRACE_EVENT(rl_irqfd,
	TP_PROTO(struct rl_vm *vm, u32 gsi),
	TP_ARGS(vm, gsi),
	TP_STRUCT__entry(__field(u32, vm) __field(u32, gsi)),
	TP_fast_assign(
		__entry->vm = vm->id;
		__entry->gsi = gsi;
	),
	TP_printk("vm %u gsi %u", __entry->vm, __entry->gsi)
);

/* @mode: APIC_DM_*, as in an interrupt command */
TRACE_EVENT(rl_msi,
	TP_PROTO(struct rl_vm *vm, u32 dest, bool logical, u32 mode, u8 vector),
	TP_ARGS(vm, dest, logical, mode, vector),
	TP_STRUCT__entry(__field(u32, vm) __field(u32, dest) __field(bool, logical)
			 __field(u32, mode) __field(u8, vector)),
	TP_fast_assign(
		__entry->vm = vm->id;
		__entry->dest = dest;
		__entry->logical = logical;
		__entry->mode = mode;
		__entry->vector = vector;
	),
	TP_printk("vm %u dest 0x%x %s %s vector 0x%02x", __entry->vm, __entry->dest,
		  __entry->logical ? "logical" : "physical",
		  __print_symbolic(__entry->mode, { APIC_DM_FIXED, "fixed" },
				   { APIC_DM_LOWEST, "lowest" }, { APIC_DM_SMI, "smi" },
				   { APIC_DM_NMI, "nmi" }, { APIC_DM_INIT, "init" },
				   { APIC_DM_STARTUP, "startup" }, { APIC_DM_EXTINT, "extint" }),
		  __entry->vector)
);

/* @ipi: out of the guest on @cpu; else out of its sleep in HLT */
TRACE_EVENT(rl_kick,
	TP_PROTO(struct rl_vcpu *vcpu, bool ipi, int cpu),
	TP_ARGS(vcpu, ipi, cpu),
	TP_STRUCT__entry(VCPU_FIELDS __field(bool, ipi) __field(int, cpu)),
	TP_fast_assign(
		VCPU_ASSIGN;
		__entry->ipi = ipi;
		__entry->cpu = cpu;
	),
	TP_printk(VCPU_FMT "%s cpu %d", VCPU_ARGS, __entry->ipi ? "ipi" : "wake-up", __entry->cpu)
);

/* What was read or written, and where; @val is the first of @count. */
TRACE_EVENT(rl_pio,
	TP_PROTO(struct rl_vcpu *vcpu, bool write, u16 port, u32 size, u32 count, u32 val),
	TP_ARGS(vcpu, write, port, size, count, val),
	TP_STRUCT__entry(VCPU_FIELDS __field(bool, write) __field(u16, port) __field(u32, size)
			 __field(u32, count) __field(u32, val)),
	TP_fast_assign(
		VCPU_ASSIGN;
		__entry->write = write;
		__entry->port = port;
		__entry->size = size;
		__entry->count = count;
		__entry->val = size < 4 ? val & (BIT(8 * size) - 1) : val;
	),
	TP_printk(VCPU_FMT "%s port 0x%x size %u count %u val 0x%x", VCPU_ARGS,
		  __entry->write ? "write" : "read", __entry->port, __entry->size, __entry->count,
		  __entry->val)
);

TRACE_EVENT(rl_mmio,
	TP_PROTO(struct rl_vcpu *vcpu, bool write, gpa_t gpa, u32 size, const void *val),
	TP_ARGS(vcpu, write, gpa, size, val),
	TP_STRUCT__entry(VCPU_FIELDS __field(bool, write) __field(u64, gpa) __field(u32, size)
			 __field(u64, val)),
	TP_fast_assign(
		VCPU_ASSIGN;
		__entry->write = write;
		__entry->gpa = gpa;
		__entry->size = size;
		__entry->val = 0;
		memcpy(&__entry->val, val, min_t(u32, size, sizeof(__entry->val)));
	),
	TP_printk(VCPU_FMT "%s gpa 0x%llx size %u val 0x%llx", VCPU_ARGS,
		  __entry->write ? "write" : "read", __entry->gpa, __entry->size, __entry->val)
);

#define rl_trace(event, ...)						\
	do {								\
		if (trace_rl_##event##_enabled())			\
			rl_trace_##event(__VA_ARGS__);			\
	} while (0)

/* trace.c; through rl_trace() */
void rl_trace_entry(struct rl_vcpu *vcpu);
void rl_trace_exit(struct rl_vcpu *vcpu);
void rl_trace_inject(struct rl_vcpu *vcpu, u8 kind, u8 vector, bool has_error, u32 error_code);
void rl_trace_fault(struct rl_vcpu *vcpu, gpa_t gpa, u32 access);
void rl_trace_spte(struct rl_vm *vm, gfn_t gfn, int level, u64 old_spte, u64 new_spte);
void rl_trace_irqfd(struct rl_vm *vm, u32 gsi);
void rl_trace_msi(struct rl_vm *vm, u32 dest, bool logical, u32 mode, u8 vector);
void rl_trace_kick(struct rl_vcpu *vcpu, bool ipi, int cpu);
void rl_trace_pio(struct rl_vcpu *vcpu, bool write, u16 port, u32 size, u32 count, u32 val);
void rl_trace_mmio(struct rl_vcpu *vcpu, bool write, gpa_t gpa, u32 size, const void *val);

#endif

/* Found through -I kmod, which Kbuild gives trace.c. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
