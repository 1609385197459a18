// SPDX-License-Identifier: GPL-2.0
/*
 * One vCPU: its thread, its run loop, and what is done for each exit.
 *
 * Owns:    struct vcpu.
 * Touches: the bus; boot_*.c sets the boot vCPU's registers through vcpu->fd.
 * Locks:   none here. Other threads reach a running vCPU by immediate_exit plus
 *          a signal; the pair closes the race with an ioctl that is about to start.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vm.h"

#define MSR_IA32_MISC_ENABLE		0x1a0
#define MISC_ENABLE_FAST_STRING		BIT_ULL(0)
#define MSR_MTRR_DEF_TYPE		0x2ff
#define MTRR_ENABLED_WRITE_BACK	(BIT_ULL(11) | 6)

static void kick(int sig)
{
	/* its arrival is the message: it ends KVM_RUN and write() */
}

/* What firmware leaves behind: without MTRRs enabled Linux gives up on PAT too. */
static void set_msrs(struct vcpu *vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[2];
	} msrs = {
		.head.nmsrs = 2,
		.entry = {
			{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK },
			{ .index = MSR_IA32_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
		},
	};

	if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) < 1)
		die("KVM_SET_MSRS: %s", strerror(errno));
}

/** vcpu_create() - A vCPU in its state at power-on, with its CPUID */
void vcpu_create(struct vm *vm, unsigned int id)
{
	struct vcpu *vcpu = &vm->vcpus[id];
	struct kvm_cpuid2 *cpuid;

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = vm_ioctl(vm, KVM_CREATE_VCPU, "KVM_CREATE_VCPU", (void *)(uintptr_t)id);
	if (vcpu->fd < 0)
		die("cannot create vCPU %u: %s", id, strerror(errno));
	vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die("cannot map vCPU %u: %s", id, strerror(errno));

	cpuid = cpuid_for_vcpu(vm, id);
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid))
		die("KVM_SET_CPUID2: %s", strerror(errno));
	free(cpuid);
	set_msrs(vcpu);
}

void vcpu_destroy(struct vcpu *vcpu)
{
	munmap(vcpu->run, vcpu->vm->run_size);
	close(vcpu->fd);
}

static void handle_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	struct bus *bus = &vcpu->vm->pio;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(bus, run->io.port, data, run->io.size);
		else
			bus_read(bus, run->io.port, data, run->io.size);
	}
}

static void handle_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	struct bus *bus = &vcpu->vm->mmio;

	if (run->mmio.is_write)
		bus_write(bus, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(bus, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

static void print_registers(struct vcpu *vcpu)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &r) || ioctl(vcpu->fd, KVM_GET_SREGS, &s)) {
		warn("  no registers: %s", strerror(errno));
		return;
	}
	warn("  rip %016llx rflags %08llx", r.rip, r.rflags);
	warn("  rax %016llx rbx %016llx rcx %016llx rdx %016llx", r.rax, r.rbx, r.rcx, r.rdx);
	warn("  rsi %016llx rdi %016llx rbp %016llx rsp %016llx", r.rsi, r.rdi, r.rbp, r.rsp);
	warn("  r8  %016llx r9  %016llx r10 %016llx r11 %016llx", r.r8, r.r9, r.r10, r.r11);
	warn("  r12 %016llx r13 %016llx r14 %016llx r15 %016llx", r.r12, r.r13, r.r14, r.r15);
	warn("  cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %04llx",
	     s.cr0, s.cr2, s.cr3, s.cr4, s.efer);
	warn("  cs %04x base %llx limit %x type %x s %u dpl %u p %u db %u l %u g %u",
	     s.cs.selector, s.cs.base, s.cs.limit, s.cs.type, s.cs.s, s.cs.dpl,
	     s.cs.present, s.cs.db, s.cs.l, s.cs.g);
	warn("  ss %04x ds %04x es %04x fs %04x base %llx gs %04x base %llx",
	     s.ss.selector, s.ds.selector, s.es.selector, s.fs.selector, s.fs.base,
	     s.gs.selector, s.gs.base);
	warn("  gdt %llx+%x idt %llx+%x tr %04x base %llx apic_base %llx",
	     s.gdt.base, s.gdt.limit, s.idt.base, s.idt.limit, s.tr.selector, s.tr.base,
	     s.apic_base);
}

static void print_code(struct vcpu *vcpu)
{
	struct kvm_translation tr = { 0 };
	struct kvm_sregs s;
	struct kvm_regs r;
	uint8_t *code;
	char text[16 * 3 + 1] = "";

	if (ioctl(vcpu->fd, KVM_GET_REGS, &r) || ioctl(vcpu->fd, KVM_GET_SREGS, &s))
		return;
	tr.linear_address = s.cs.base + r.rip;
	if (ioctl(vcpu->fd, KVM_TRANSLATE, &tr) || !tr.valid)
		return;
	code = guest_ptr(vcpu->vm, tr.physical_address, 16);
	if (!code)
		return;
	for (int i = 0; i < 16; i++)
		sprintf(text + 3 * i, " %02x", code[i]);
	warn("  code%s", text);
}

static const char *internal_error_name(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "an instruction cannot be emulated";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "simultaneous exceptions";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "an exit while an event was delivered";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "an unexpected exit reason";
	default:
		return "internal error";
	}
}

/* The VM cannot go on: say why, with what a developer needs to find out more. */
static void fail(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		warn("vCPU %u: %s (suberror %u)", vcpu->id,
		     internal_error_name(run->internal.suberror), run->internal.suberror);
		for (uint32_t i = 0; i < run->internal.ndata && i < 16; i++)
			warn("  data[%u] %016llx", i, run->internal.data[i]);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		warn("vCPU %u: the CPU refused to enter the guest: reason %#llx on CPU %u",
		     vcpu->id, run->fail_entry.hardware_entry_failure_reason,
		     run->fail_entry.cpu);
		break;
	case KVM_EXIT_UNKNOWN:
		warn("vCPU %u: unknown hardware exit %#llx", vcpu->id,
		     run->hw.hardware_exit_reason);
		break;
	default:
		warn("vCPU %u: unexpected exit %u", vcpu->id, run->exit_reason);
	}
	print_registers(vcpu);
	print_code(vcpu);
	vm_stop(vcpu->vm, VM_ERROR);
}

static void handle_system_event(struct vcpu *vcpu)
{
	switch (vcpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_stop(vcpu->vm, VM_POWEROFF);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		vm_stop(vcpu->vm, VM_RESET);
		break;
	default:
		warn("vCPU %u: system event %u", vcpu->id, vcpu->run->system_event.type);
		fail(vcpu);
	}
}

static void handle_exit(struct vcpu *vcpu)
{
	switch (vcpu->run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		handle_mmio(vcpu);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		warn("vCPU %u: triple fault, the guest restarts", vcpu->id);
		vm_stop(vcpu->vm, VM_RESET);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		handle_system_event(vcpu);
		break;
	default:
		fail(vcpu);
	}
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	pthread_setname_np(pthread_self(), name);

	while (vm_stopped(vcpu->vm) == VM_RUNNING) {
		if (!ioctl(vcpu->fd, KVM_RUN, 0)) {
			handle_exit(vcpu);
		} else if (errno != EINTR && errno != EAGAIN) {
			warn("vCPU %u: KVM_RUN: %s", vcpu->id, strerror(errno));
			print_registers(vcpu);
			vm_stop(vcpu->vm, VM_ERROR);
		}
	}
	return NULL;
}

/** vcpu_start() - Run a vCPU in a thread of its own; the signal mask is inherited */
void vcpu_start(struct vcpu *vcpu)
{
	struct sigaction action = { .sa_handler = kick };
	int err;

	sigaction(SIGUSR1, &action, NULL);
	err = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
	if (err)
		die("cannot start vCPU %u: %s", vcpu->id, strerror(err));
}

/**
 * vcpu_join() - Wait for a vCPU's thread after vm_stop()
 *
 * The thread may also be about to block in write() on standard output, where
 * only a signal that comes later ends it: so the kick is repeated.
 */
void vcpu_join(struct vcpu *vcpu)
{
	struct timespec until;

	vcpu->run->immediate_exit = 1;
	do {
		pthread_kill(vcpu->thread, SIGUSR1);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += 10 * 1000 * 1000;
		if (until.tv_nsec >= 1000 * 1000 * 1000) {
			until.tv_nsec -= 1000 * 1000 * 1000;
			until.tv_sec++;
		}
	} while (pthread_clockjoin_np(vcpu->thread, NULL, CLOCK_MONOTONIC, &until));
}
