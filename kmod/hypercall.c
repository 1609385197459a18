// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest that knows where it runs asks for by VMCALL or VMMCALL; and instructions of the
 * other vendor's CPUs.
 *
 * Owns:    nothing.
 * Touches: the local APICs of other vCPUs, guest memory, struct kvm_run.
 * Locks:   the vCPU's thread; vm->srcu for guest memory.
 *          Documentation/virt/kvm/x86/hypercalls.rst: number in RAX, arguments in
 *          RBX, RCX, RDX and RSI, the answer in RAX.
 */
#include <uapi/linux/kvm_para.h>
#include <asm/apicdef.h>

#include "cpu/cpu.h"
#include "insn.h"
#include "vcpu.h"
#include "vm.h"

/* User space has dealt with the call: RIP is still at it. */
static int complete_hypercall(struct rl_vcpu *vcpu)
{
	u64 ret = READ_ONCE(vcpu->run->hypercall.ret);

	if (rl_user_moved_rip(vcpu))
		return RL_RESUME;
	vcpu->regs[RL_RAX] = rl_is_64bit_code(vcpu) ? ret : (u32)ret;
	return rl_exit_skip(vcpu);
}

/* KVM_HC_MAP_GPA_RANGE: the guest tells which of its memory is encrypted. */
static int map_range(struct rl_vcpu *vcpu, const u64 *a)
{
	u64 gpa = a[0], npages = a[1];
	struct kvm_run *run = vcpu->run;

	if (!(vcpu->vm->user_hypercalls & BIT(KVM_HC_MAP_GPA_RANGE)))
		return -KVM_ENOSYS;
	if (!IS_ALIGNED(gpa, PAGE_SIZE) || (gpa >> PAGE_SHIFT) + npages <= gpa >> PAGE_SHIFT)
		return -KVM_EINVAL;
	run->exit_reason = KVM_EXIT_HYPERCALL;
	memset(&run->hypercall, 0, sizeof(run->hypercall));
	run->hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	run->hypercall.args[0] = gpa;
	run->hypercall.args[1] = npages;
	run->hypercall.args[2] = a[2];
	run->hypercall.longmode = rl_is_64bit_code(vcpu);
	vcpu->complete = complete_hypercall;
	return 0;
}

static struct rl_vcpu *peer(struct rl_vcpu *vcpu, u64 apic_id)
{
	return apic_id < RL_MAX_VCPU_ID ? rl_vcpu_by_id(vcpu->vm, apic_id) : NULL;
}

static void yield_to_peer(struct rl_vcpu *to)
{
	if (to)
		rl_vcpu_yield_to(to);
}

/* A lock is free that the other one waits for in HLT, or is about to wait for. */
static void unhalt(struct rl_vcpu *vcpu)
{
	if (!vcpu)
		return;
	WRITE_ONCE(vcpu->pv_unhalted, true);
	rl_vcpu_wake(vcpu);
	yield_to_peer(vcpu);
}

/* Two words of APIC ids, from the third argument on, and an ICR. */
static long send_ipi(struct rl_vcpu *vcpu, const u64 *a, u64 mask)
{
	u64 min = (u32)a[2];

	if (a[3] & (APIC_DEST_LOGICAL | APIC_DEST_ALLBUT))
		return -KVM_EINVAL;
	if (!vcpu->lapic)
		return -KVM_EOPNOTSUPP;
	return rl_apic_send_ids(vcpu->lapic, a[3], a[0], min) +
	       rl_apic_send_ids(vcpu->lapic, a[3], a[1], min + hweight64(mask));
}

/**
 * rl_hypercall() - VMCALL or VMMCALL
 * @vcpu: the vCPU
 *
 * None of them needs an announcement in CPUID, unless user space wants that.
 * Return: as an exit's handler.
 */
int rl_hypercall(struct rl_vcpu *vcpu)
{
	u64 mask = rl_is_64bit_code(vcpu) ? ~0ull : U32_MAX;
	u64 nr = vcpu->regs[RL_RAX] & mask;
	u64 a[] = { vcpu->regs[RL_RBX] & mask, vcpu->regs[RL_RCX] & mask,
		    vcpu->regs[RL_RDX] & mask, vcpu->regs[RL_RSI] & mask };
	long ret = -KVM_ENOSYS;

	if (rl_ops->get_cpl(vcpu)) {
		ret = -KVM_EPERM;
	} else if (nr == KVM_HC_VAPIC_POLL_IRQ) {
		ret = 0;
	} else if (nr == KVM_HC_KICK_CPU && rl_pv_has(vcpu, KVM_FEATURE_PV_UNHALT)) {
		unhalt(peer(vcpu, a[1]));
		ret = 0;
	} else if (nr == KVM_HC_SCHED_YIELD && rl_pv_has(vcpu, KVM_FEATURE_PV_SCHED_YIELD)) {
		yield_to_peer(peer(vcpu, a[0]));
		ret = 0;
	} else if (nr == KVM_HC_SEND_IPI && rl_pv_has(vcpu, KVM_FEATURE_PV_SEND_IPI)) {
		ret = send_ipi(vcpu, a, mask);
	} else if (nr == KVM_HC_CLOCK_PAIRING) {
		ret = rl_clock_pairing(vcpu, a[0], a[1]);
	} else if (nr == KVM_HC_MAP_GPA_RANGE) {
		ret = map_range(vcpu, a);
		if (!ret)
			return RL_EXIT_USER;
	}
	rl_request(vcpu, RL_REQ_EVENT);		/* what polling is for */
	vcpu->regs[RL_RAX] = ret & mask;
	return rl_exit_skip(vcpu);
}

/* Are these bytes at RIP? vm->srcu held. */
static bool code_is(struct rl_vcpu *vcpu, const u8 *bytes, int len)
{
	u32 user = rl_ops->get_cpl(vcpu) == 3 ? RL_ACC_USER : 0;
	gva_t rip = rl_linear_rip(vcpu);
	struct rl_walk w;
	u8 byte;

	for (; len; len--, rip++, bytes++)
		if (rl_walk(vcpu, rip, RL_ACC_FETCH | user, false, false, &w) || w.fault ||
		    rl_guest_read(vcpu->vm, w.gpa, &byte, 1) || byte != *bytes)
			return false;
	return true;
}

/*
 * SYSCALL outside 64-bit mode exists on AMD's CPUs and not on Intel's: for a guest that believes
 * to be on the former. APM Vol 3, "SYSCALL". vm->srcu held.
 */
static bool do_syscall(struct rl_vcpu *vcpu)
{
	struct rl_seg seg = { .limit = ~0u };
	bool lma = vcpu->efer & EFER_LMA;
	u64 star, cstar, mask, rflags;

	if (!vcpu->guest_amd || !(vcpu->efer & EFER_SCE) || rl_is_64bit_code(vcpu) ||
	    !(rl_cr0_read(vcpu) & X86_CR0_PE) || rl_rflags_read(vcpu) & X86_EFLAGS_VM ||
	    !code_is(vcpu, (const u8 []){ 0x0f, 0x05 }, 2) ||
	    rl_msr_get(vcpu, MSR_STAR, &star, true) || rl_msr_get(vcpu, MSR_CSTAR, &cstar, true) ||
	    rl_msr_get(vcpu, MSR_SYSCALL_MASK, &mask, true))
		return false;
	rflags = rl_rflags_read(vcpu) & ~(u64)X86_EFLAGS_RF;
	vcpu->regs[RL_RCX] = (u32)(rl_rip_read(vcpu) + 2);
	if (lma)
		vcpu->regs[11] = rflags;
	seg.sel = (star >> 32) & 0xfffc;
	seg.attr = 0x9b | RL_SEG_ATTR_G | (lma ? RL_SEG_ATTR_L : RL_SEG_ATTR_DB);
	rl_ops->set_seg(vcpu, &seg, RL_SEG_CS);
	seg.sel += 8;
	seg.attr = 0x93 | RL_SEG_ATTR_G | RL_SEG_ATTR_DB;
	rl_ops->set_seg(vcpu, &seg, RL_SEG_SS);
	rflags &= lma ? ~mask : ~(u64)X86_EFLAGS_IF;
	rl_rflags_write(vcpu, rflags | X86_EFLAGS_FIXED);
	rl_rip_write(vcpu, lma ? cstar : (u32)star);
	if (rflags & X86_EFLAGS_TF)
		rl_singlestep_done(vcpu);
	return true;
}

/*
 * The hypercall instruction of the other vendor's CPUs, met in a guest that moved
 * here: KVM_X86_QUIRK_FIX_HYPERCALL_INSN puts the right one in its place. vm->srcu held.
 */
static bool fix_insn(struct rl_vcpu *vcpu)
{
	u32 user = rl_ops->get_cpl(vcpu) == 3 ? RL_ACC_USER : 0;
	const u8 other[] = { 0x0f, 0x01, rl_caps.hypercall ^ RL_VMCALL ^ RL_VMMCALL };
	gva_t rip = rl_linear_rip(vcpu);
	struct rl_walk w;

	if (vcpu->vm->quirks_off & KVM_X86_QUIRK_FIX_HYPERCALL_INSN ||
	    !code_is(vcpu, other, sizeof(other)))
		return false;
	return !rl_walk(vcpu, rip + 2, RL_ACC_WRITE | user, true, false, &w) && !w.fault &&
	       !rl_guest_write(vcpu->vm, w.gpa, &rl_caps.hypercall, 1);
}

/**
 * rl_foreign_insn() - Was #UD for an instruction that only the other vendor's CPUs have?
 * @vcpu: the vCPU
 *
 * Return: whether it was: it is carried out, or one of this CPU's is in its place.
 */
bool rl_foreign_insn(struct rl_vcpu *vcpu)
{
	int idx = srcu_read_lock(&vcpu->vm->srcu);
	bool fixed = fix_insn(vcpu) || do_syscall(vcpu);

	srcu_read_unlock(&vcpu->vm->srcu, idx);
	return fixed;
}
