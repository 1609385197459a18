// SPDX-License-Identifier: GPL-2.0
/* Running a vCPU, and saying what went wrong when the exit is not the one expected. */
#include "lib.h"
#include <sched.h>
#include <stdarg.h>

static const char * const exit_names[] = {
	"UNKNOWN", "EXCEPTION", "IO", "HYPERCALL", "DEBUG", "HLT", "MMIO", "IRQ_WINDOW_OPEN",
	"SHUTDOWN", "FAIL_ENTRY", "INTR", "SET_TPR", "TPR_ACCESS", "S390_SIEIC", "S390_RESET",
	"DCR", "NMI", "INTERNAL_ERROR", "OSI", "PAPR_HCALL", "S390_UCONTROL", "WATCHDOG",
	"S390_TSCH", "EPR", "SYSTEM_EVENT", "S390_STSI", "IOAPIC_EOI",
};

static const char *exit_name(u32 reason)
{
	return reason < sizeof(exit_names) / sizeof(exit_names[0]) ? exit_names[reason] : "?";
}

static void dump_exit(struct kvm_run *run)
{
	u64 data = 0;

	fprintf(stderr, "#   exit %u (%s) if=%u ready=%u cr8=%llu apic_base=%#llx\n",
		run->exit_reason, exit_name(run->exit_reason), run->if_flag,
		run->ready_for_interrupt_injection, run->cr8, run->apic_base);
	switch (run->exit_reason) {
	case KVM_EXIT_UNKNOWN:
		fprintf(stderr, "#   hardware reason %#llx\n", run->hw.hardware_exit_reason);
		break;
	case KVM_EXIT_IO:
		memcpy(&data, (u8 *)run + run->io.data_offset, run->io.size);
		fprintf(stderr, "#   %s port %#x size %u count %u data %#lx\n",
			run->io.direction == KVM_EXIT_IO_OUT ? "out" : "in", run->io.port,
			run->io.size, run->io.count, data);
		break;
	case KVM_EXIT_MMIO:
		memcpy(&data, run->mmio.data, 8);
		fprintf(stderr, "#   %s %#llx len %u data %#lx\n",
			run->mmio.is_write ? "write" : "read", run->mmio.phys_addr,
			run->mmio.len, data);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		fprintf(stderr, "#   hardware reason %#llx cpu %u\n",
			run->fail_entry.hardware_entry_failure_reason, run->fail_entry.cpu);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		fprintf(stderr, "#   suberror %u ndata %u:", run->internal.suberror,
			run->internal.ndata);
		for (u32 i = 0; i < run->internal.ndata && i < 16; i++)
			fprintf(stderr, " %#llx", run->internal.data[i]);
		fprintf(stderr, "\n");
		break;
	}
}

/* The instruction, when it lies in memory that the library gave the guest. */
static void dump_code(struct vcpu *v, u64 linear)
{
	struct kvm_translation t = { .linear_address = linear };

	if (kvm_try(v->fd, KVM_TRANSLATE, &t) || !t.valid)
		return;
	for (u32 i = 0; i < MAX_SLOTS; i++) {
		u64 offset = t.physical_address - v->vm->slots[i].gpa;

		if (offset + 16 > v->vm->slots[i].size)
			continue;
		fprintf(stderr, "#   code");
		for (u32 n = 0; n < 16; n++)
			fprintf(stderr, " %02x", ((u8 *)v->vm->slots[i].hva)[offset + n]);
		fprintf(stderr, "\n");
	}
}

static void dump_vcpu(struct vcpu *v)
{
	struct kvm_sregs s = {};
	struct kvm_regs r = {};

	dump_exit(v->run);
	if (kvm_try(v->fd, KVM_GET_REGS, &r) || kvm_try(v->fd, KVM_GET_SREGS, &s))
		return;
	fprintf(stderr, "#   vcpu %u rip %#llx rsp %#llx rflags %#llx\n", v->id, r.rip, r.rsp,
		r.rflags);
	fprintf(stderr, "#   rax %#llx rbx %#llx rcx %#llx rdx %#llx rsi %#llx rdi %#llx\n",
		r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi);
	fprintf(stderr, "#   cr0 %#llx cr2 %#llx cr3 %#llx cr4 %#llx efer %#llx cs %#x:%#llx\n",
		s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.cs.selector, s.cs.base);
	dump_code(v, s.cs.base + r.rip);
}

void rl_fail(struct vcpu *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "# %s:%d: ", rl_file, rl_line);
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	if (v)
		dump_vcpu(v);
	fflush(stdout);
	_exit(1);
}

int vcpu_try_run(struct vcpu *v)
{
	return kvm_try(v->fd, KVM_RUN, 0);
}

void vcpu_run_(struct vcpu *v)
{
	int ret = vcpu_try_run(v);

	if (ret)
		rl_fail(v, "KVM_RUN: %s", strerror(-ret));
}

/* A guest assertion or an unwanted trap is worth more words than "IO exit". */
static void fail_exit(struct vcpu *v, const char *wanted)
{
	struct ucall uc;

	if (!vcpu_ucall(v, &uc))
		rl_fail(v, "exit %s instead of %s", exit_name(v->run->exit_reason), wanted);
	if (uc.code == UCALL_ASSERT)
		rl_fail(v, "guest assertion, line %lu: %#lx, %#lx", uc.a, uc.b, uc.c);
	if (uc.code == UCALL_TRAP)
		rl_fail(v, "guest exception %lu at %#lx, error code %#lx, cr2 %#lx", uc.a, uc.b,
			uc.c, (u64)G(v->vm, guest_cr2));
	rl_fail(v, "ucall %u (%#lx, %#lx, %#lx) instead of %s", uc.code, uc.a, uc.b, uc.c, wanted);
}

void expect_exit_(struct vcpu *v, u32 reason)
{
	vcpu_run_(v);
	if (v->run->exit_reason != reason)
		fail_exit(v, exit_name(reason));
}

void expect_io_(struct vcpu *v, int dir, u16 port, u32 size, u64 val)
{
	struct kvm_run *run = v->run;
	u64 data = 0;

	expect_exit_(v, KVM_EXIT_IO);
	if (run->io.direction != dir || run->io.port != port || run->io.size != size)
		fail_exit(v, "another port access");
	memcpy(&data, run_io_data(v), size);
	if (dir == KVM_EXIT_IO_OUT && data != val)
		rl_fail(v, "port %#x: %#lx written instead of %#lx", port, data, val);
}

void expect_mmio_(struct vcpu *v, bool write, u64 gpa, u32 len, u64 val)
{
	struct kvm_run *run = v->run;
	u64 data = 0;

	expect_exit_(v, KVM_EXIT_MMIO);
	if (!!run->mmio.is_write != write || run->mmio.phys_addr != gpa || run->mmio.len != len)
		rl_fail(v, "instead of a %u byte %s at %#lx", len, write ? "write" : "read", gpa);
	memcpy(&data, run->mmio.data, len);
	if (write && data != val)
		rl_fail(v, "%#lx: %#lx written instead of %#lx", gpa, data, val);
}

bool vcpu_ucall(struct vcpu *v, struct ucall *uc)
{
	struct kvm_run *run = v->run;
	struct kvm_regs regs;

	if (run->exit_reason != KVM_EXIT_IO || run->io.port != UCALL_PORT ||
	    run->io.size != 4 || run->io.direction != KVM_EXIT_IO_OUT)
		return false;
	kvm_do(v->fd, KVM_GET_REGS, &regs);
	memcpy(&uc->code, run_io_data(v), 4);
	uc->a = regs.rdi;
	uc->b = regs.rsi;
	uc->c = regs.rdx;
	return true;
}

void expect_ucall_(struct vcpu *v, u32 code, u64 a, struct ucall *uc)
{
	struct ucall got;

	vcpu_run_(v);
	if (!vcpu_ucall(v, &got) || got.code != code)
		fail_exit(v, code == UCALL_DONE ? "GUEST_DONE" : "GUEST_SYNC");
	if (got.a != a)
		rl_fail(v, "guest at stage %lu (value %#lx) instead of %lu", got.a, got.b, a);
	if (uc)
		*uc = got;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct ucall uc;
	int ret;

	for (;;) {
		ret = vcpu_try_run(v);
		if (ret == -EINTR || ret == -EAGAIN)
			continue;
		CHECK(v, !ret, "KVM_RUN: %s", strerror(-ret));
		if (vcpu_ucall(v, &uc) && uc.code == UCALL_SYNC) {
			v->stage = uc.a;
			continue;
		}
		if (v->run->exit_reason == KVM_EXIT_IRQ_WINDOW_OPEN)
			continue;
		if (vcpu_ucall(v, &uc) && uc.code == UCALL_DONE)
			return NULL;
		AT(fail_exit(v, "GUEST_DONE"));
	}
}

void vcpu_start(struct vcpu *v)
{
	int ret = pthread_create(&v->thread, NULL, vcpu_thread, v);

	CHECK(v, !ret, "pthread_create: %s", strerror(ret));
}

void vcpu_join(struct vcpu *v)
{
	pthread_join(v->thread, NULL);
}

void vcpu_wait_stage(struct vcpu *v, u64 stage)
{
	WAIT_FOR(v->stage >= stage);
}

void vm_run_all(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vcpu_start(vm->vcpus[i]);
	for (unsigned int i = 0; i < vm->nr_vcpus; i++)
		vcpu_join(vm->vcpus[i]);
}

int rl_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), r = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		r = -errno;
	if (fd >= 0)
		close(fd);
	return r;
}

void rl_one_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	CHECK(NULL, !sched_setaffinity(0, sizeof(one), &one), "sched_setaffinity");
}
