/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Host side of the test library: a device, a VM, its memory, its vCPUs, and
 * expectations about exits. Whatever the library itself cannot do ends the
 * test at once with the place, the errno and the state of the vCPU.
 */
#ifndef RL_LIB_H
#define RL_LIB_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guest.h"
#include "x86.h"

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

#define MAX_SLOTS	32
#define MAX_VCPUS	128

struct vcpu {
	struct vm *vm;
	int fd;
	unsigned int id;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	volatile u64 stage;	/* last UCALL_SYNC of a vCPU in a thread */
};

struct vm {
	int dev, fd;
	unsigned int nr_vcpus;
	struct vcpu *vcpus[MAX_VCPUS];
	struct {
		u64 gpa, size;
		void *hva;
	} slots[MAX_SLOTS];
};

struct ucall {
	u32 code;
	u64 a, b, c;
};

/* The failing line is the caller's: expectations are macros around AT(). */
extern __thread const char *rl_file;
extern __thread int rl_line;
#define AT(call)	(rl_file = __FILE__, rl_line = __LINE__, (call))

void __attribute__((noreturn, format(printf, 2, 3)))
rl_fail(struct vcpu *v, const char *fmt, ...);
#define CHECK(v, cond, fmt, ...) \
	do { \
		if (!(cond)) \
			AT(rl_fail(v, "%s: " fmt, #cond, ##__VA_ARGS__)); \
	} while (0)

/* kvm_try() answers what the ioctl answers, or -errno; kvm_do() must succeed. */
long kvm_try_(int fd, unsigned long cmd, unsigned long arg);
long kvm_do_(int fd, unsigned long cmd, unsigned long arg, const char *name);
#define kvm_try(fd, cmd, arg)	kvm_try_(fd, cmd, (unsigned long)(arg))
#define kvm_do(fd, cmd, arg)	AT(kvm_do_(fd, cmd, (unsigned long)(arg), #cmd))

const char *rl_dev_path(void);
int rl_dev_open(void);
int rl_cap(int cap);			/* KVM_CHECK_EXTENSION on the device */
bool rl_host_is_amd(void);
bool rl_host_is_tcg(void);		/* QEMU's emulator, with its known gaps */
bool rl_host_repeats_irqs(void);	/* which may deliver an interrupt twice */
bool rl_host_is_bochs(void);		/* and Bochs */
bool rl_host_is_bochs_svm(void);	/* with more gaps */

#define VM_IRQCHIP	1		/* with an in-kernel irqchip */
#define VM_SPLIT	2		/* with local APICs, and 24 pins in user space */
struct vm *vm_new(unsigned int flags);	/* no memory, no vCPU */
void vm_free(struct vm *vm);
int vm_set_region(struct vm *vm, u32 slot, u64 gpa, u64 size, void *hva, u32 flags);
void *vm_add_mem(struct vm *vm, u32 slot, u64 gpa, u64 size, u32 flags);
void *vm_hva(struct vm *vm, u64 gpa);
#define G(vm, var)	(*(volatile typeof(var) *)vm_hva(vm, (u64)&(var)))

struct vcpu *vcpu_new(struct vm *vm, unsigned int id);
struct kvm_cpuid2 *rl_supported_cpuid(int dev);		/* malloc'ed */
struct kvm_cpuid_entry2 *rl_cpuid_find(struct kvm_cpuid2 *c, u32 leaf, u32 sub);
void vcpu_set_cpuid(struct vcpu *v, struct kvm_cpuid2 *cpuid);
bool rl_guest_has(u32 leaf, int reg, int bit);	/* in supported CPUID, sub-leaf 0 */
void vcpu_open_interrupts(struct vcpu *v);	/* RFLAGS.IF = 1, without a shadow */
u64 vcpu_get_msr(struct vcpu *v, u32 msr);
int vcpu_try_set_msr(struct vcpu *v, u32 msr, u64 val);	/* 1 when it was set */
void vcpu_set_msr(struct vcpu *v, u32 msr, u64 val);

/*
 * A whole guest. vm_long() starts every vCPU at fn(id) in 64-bit mode on a copy
 * of this program; vm_blob() loads one GUESTnn() blob at BLOB_GPA, on one vCPU.
 */
struct vm *vm_long(unsigned int nr_vcpus, void (*fn)(u64 id), unsigned int flags);
struct vm *vm_blob(const char *start, const char *end, int bits, unsigned int flags);
#define VM_BLOB(name, flags)	vm_blob(name##_start, name##_end, name##_bits, flags)
void vm_load_program(struct vm *vm);
void vcpu_long(struct vcpu *v, void (*fn)(u64 id), u64 arg);
void vcpu_bits(struct vcpu *v, int bits, u64 rip);

int vcpu_try_run(struct vcpu *v);		/* 0 or -errno */
void vcpu_run_(struct vcpu *v);
void expect_exit_(struct vcpu *v, u32 reason);
void expect_io_(struct vcpu *v, int dir, u16 port, u32 size, u64 val);
void expect_mmio_(struct vcpu *v, bool write, u64 gpa, u32 len, u64 val);
void expect_ucall_(struct vcpu *v, u32 code, u64 a, struct ucall *uc);
bool vcpu_ucall(struct vcpu *v, struct ucall *uc);	/* is this exit a ucall? */
#define vcpu_run(v)			AT(vcpu_run_(v))
/* Each of these runs the vCPU once and judges the exit. */
#define expect_exit(v, reason)		AT(expect_exit_(v, reason))
#define expect_out(v, port, size, val)	AT(expect_io_(v, KVM_EXIT_IO_OUT, port, size, val))
#define expect_in(v, port, size)	AT(expect_io_(v, KVM_EXIT_IO_IN, port, size, 0))
#define expect_mmio_write(v, gpa, len, val)	AT(expect_mmio_(v, true, gpa, len, val))
#define expect_mmio_read(v, gpa, len)	AT(expect_mmio_(v, false, gpa, len, 0))
#define expect_sync(v, stage)		AT(expect_ucall_(v, UCALL_SYNC, stage, NULL))
#define expect_sync_val(v, stage, uc)	AT(expect_ucall_(v, UCALL_SYNC, stage, uc))
#define expect_done(v)			AT(expect_ucall_(v, UCALL_DONE, 0, NULL))
static inline void *run_io_data(struct vcpu *v)
{
	return (u8 *)v->run + v->run->io.data_offset;
}

/*
 * A guest that does one thing at a time, as told. puppet_set() only tells: run
 * it with expect_...() and, after the last exit, expect_sync(v, PUPPET_STAGE).
 */
#define PUPPET_STAGE	999
enum puppet_op { PUPPET_READ, PUPPET_WRITE, PUPPET_RDMSR, PUPPET_WRMSR, PUPPET_CPUID,
		 PUPPET_CALL };
struct puppet {
	enum puppet_op op;
	u32 size;		/* of a memory access; CPUID's sub-leaf */
	u64 addr;		/* or MSR, CPUID leaf, function */
	u64 val;		/* written; or read; or the function's argument and result */
	u64 trap;		/* 0, or TRAP() of what the access raised */
	u32 cpuid[4];
};
struct vm *vm_puppet(unsigned int nr_vcpus, unsigned int flags);
void guest_puppet(u64 id);
volatile struct puppet *puppet(struct vcpu *v);		/* as the guest left it */
void puppet_set(struct vcpu *v, enum puppet_op op, u64 addr, u32 size, u64 val);
void puppet_do_(struct vcpu *v, enum puppet_op op, u64 addr, u32 size, u64 val);
#define puppet_do(v, op, addr, size, val)	AT(puppet_do_(v, op, addr, size, val))
#define puppet_read(v, addr)	(puppet_do(v, PUPPET_READ, addr, 8, 0), puppet(v)->val)
#define puppet_write(v, addr, val)	puppet_do(v, PUPPET_WRITE, addr, 8, val)
#define puppet_rdmsr(v, msr)	(puppet_do(v, PUPPET_RDMSR, msr, 0, 0), puppet(v)->val)
#define puppet_wrmsr(v, msr, val)	puppet_do(v, PUPPET_WRMSR, msr, 0, val)
#define puppet_call(v, fn, arg)	(puppet_do(v, PUPPET_CALL, (u64)(fn), 0, arg), puppet(v)->val)

/* A vCPU in its own thread, until GUEST_DONE(); EINTR only repeats. */
void vcpu_start(struct vcpu *v);
void vcpu_join(struct vcpu *v);
void vcpu_wait_stage(struct vcpu *v, u64 stage);
void vm_run_all(struct vm *vm);			/* each vCPU in a thread, to the end */
int rl_put(const char *path, const char *text);	/* into a file of the kernel's; 0 or -errno */
void rl_one_cpu(void);				/* this thread, and those it starts from now on */

/* Loop until cond holds; the test's alarm ends a wait that never does. */
#define WAIT_FOR(cond)	do { while (!(cond)) usleep(200); } while (0)

#endif
