// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's x87, SSE and extended state: in memory, and in the CPU's
 * registers while the guest may run.
 *
 * Owns:    vcpu->fpu. Its area is in the standard format of XSAVE; a component
 *          whose bit in XSTATE_BV is clear is in its initial state, whatever the
 *          bytes say (fpu_settle() makes them say it).
 * Touches: the host's registers, which it borrows: what rl_fpu_enter() finds in
 *          them is back after rl_fpu_leave(), and nobody can look in between.
 *          Whose it is, and whether it is still wanted, is the host's business
 *          (kernel_fpu_begin() would make it ours, at three times the cost).
 * Locks:   none; the thread that holds vcpu->mutex.
 * Manuals: SDM Vol 1, "Managing State Using the XSAVE Feature Set"; APM Vol 2,
 *          "Saving Media and x87 Execution Unit State".
 */
#include <linux/slab.h>
#include <asm/cpufeature.h>
#include <asm/fpu/api.h>
#include <asm/fpu/types.h>
#include <asm/fpu/xcr.h>
#include <asm/fpu/xstate.h>

#include "cpu_priv.h"
#include "emulate.h"

#define MXCSR_RESET	0x1f80
#define FCW_INIT	0x037f

#define LEGACY		(XFEATURE_MASK_FP | XFEATURE_MASK_SSE)
/* PKRU stays the host's own, and AMX would need permission and XFD. */
#define HANDLED		(LEGACY | XFEATURE_MASK_YMM | XFEATURE_MASK_AVX512)
#define NR_COMPONENTS	8

u32 rl_xsave_size __ro_after_init;
u64 rl_xcr0_offered __ro_after_init;
static u64 host_xcr0 __ro_after_init;
static u32 mxcsr_valid __ro_after_init;	/* bits that LDMXCSR takes */
static struct { u32 size, offset; bool aligned; } component[NR_COMPONENTS] __ro_after_init;
/* The host's registers while a guest has them. */
static struct xregs_state __percpu *borrowed;

u32 rl_xsave_area_size(u64 xcr0, bool compacted)
{
	u32 size = FXSAVE_SIZE + XSAVE_HDR_SIZE, offset;
	int i;

	for (i = 2; i < NR_COMPONENTS; i++) {
		if (!(xcr0 & rl_xcr0_offered & BIT_ULL(i)))
			continue;
		offset = component[i].offset;
		if (compacted)
			offset = component[i].aligned ? ALIGN(size, 64) : size;
		size = max(size, offset + component[i].size);
	}
	return size;
}

/* The CPU is asked while it has it: QEMU's TCG lets the guest's XSETBV through. */
u64 rl_xcr0_now(const struct rl_vcpu *vcpu)
{
	return vcpu->fpu.xcr0_loaded ? xgetbv(XCR_XFEATURE_ENABLED_MASK) : vcpu->fpu.xcr0;
}

/**
 * rl_xsave_init() - Find the components that guests can have on this host
 *
 * A host without XSAVE offers none; guests still have x87 and SSE.
 * Return: 0 or -ENOMEM.
 */
int rl_xsave_init(void)
{
	struct fxregs_state fx = {};
	u32 unused, flags;
	int i;

	/* SDM Vol 1, "Guidelines for Writing to the MXCSR Register": 0 stands for the default. */
	kernel_fpu_begin();
	asm volatile("fxsave64 %0" : "+m" (fx));
	kernel_fpu_end();
	mxcsr_valid = fx.mxcsr_mask ?: 0xffbf;

	rl_xcr0_offered = 0;
	if (boot_cpu_has(X86_FEATURE_XSAVE)) {
		host_xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
		rl_xcr0_offered = host_xcr0 & HANDLED;
	}
	for (i = 2; i < NR_COMPONENTS; i++) {
		if (!(rl_xcr0_offered & BIT_ULL(i)))
			continue;
		cpuid_count(0xd, i, &component[i].size, &component[i].offset, &flags, &unused);
		component[i].aligned = flags & 2;
	}
	rl_xsave_size = rl_xsave_area_size(rl_xcr0_offered, false);
	borrowed = __alloc_percpu(rl_xsave_size, __alignof__(struct xregs_state));
	return borrowed ? 0 : -ENOMEM;
}

void rl_xsave_exit(void)
{
	free_percpu(borrowed);
}

static void fx_reset(struct fxregs_state *fx)
{
	memset(fx, 0, sizeof(*fx));
	fx->cwd = FCW_INIT;
	fx->mxcsr = MXCSR_RESET;
	fx->mxcsr_mask = mxcsr_valid;
}

/* Bytes of components in their initial state to what that state is. */
static void fpu_settle(struct xregs_state *x)
{
	u64 clear = ~x->header.xfeatures;
	int i;

	if (clear & XFEATURE_MASK_FP) {
		x->i387.cwd = FCW_INIT;
		x->i387.swd = 0;
		x->i387.twd = 0;
		x->i387.fop = 0;
		x->i387.rip = 0;
		x->i387.rdp = 0;
		memset(x->i387.st_space, 0, sizeof(x->i387.st_space));
	}
	if (clear & XFEATURE_MASK_SSE)
		memset(x->i387.xmm_space, 0, sizeof(x->i387.xmm_space));
	for (i = 2; i < NR_COMPONENTS; i++)
		if (clear & rl_xcr0_offered & BIT_ULL(i))
			memset((void *)x + component[i].offset, 0, component[i].size);
}

int rl_fpu_create(struct rl_vcpu *vcpu)
{
	/* kmalloc() aligns to the power of two; XSAVE wants 64. */
	vcpu->fpu.state = kzalloc(roundup_pow_of_two(rl_xsave_size), GFP_KERNEL_ACCOUNT);
	if (!vcpu->fpu.state)
		return -ENOMEM;
	fx_reset(&vcpu->fpu.state->i387);
	return 0;
}

void rl_fpu_destroy(struct rl_vcpu *vcpu)
{
	kfree(vcpu->fpu.state);
	vcpu->fpu.state = NULL;
}

/**
 * rl_fpu_reset() - Registers of a new or reset vCPU; INIT leaves them alone
 * @vcpu: the vCPU
 * @init: INIT rather than RESET
 *
 * FCW as after FNINIT rather than the 0x40 of RESET, as KVM has it: user space
 * that starts a guest in the middle of its boot relies on masked exceptions.
 */
void rl_fpu_reset(struct rl_vcpu *vcpu, bool init)
{
	struct xregs_state *x = vcpu->fpu.state;

	if (init)
		return;
	memset(x, 0, rl_xsave_size);
	fx_reset(&x->i387);
	vcpu->fpu.xcr0 = XFEATURE_MASK_FP;
}

/*
 * AMD CPUs leave x87's instruction and data pointers alone in FXSAVE/XSAVE and
 * FXRSTOR/XRSTOR unless an exception is pending: APM Vol 2, "FXSAVE and FXRSTOR
 * Instructions". Give the guest ours rather than the last process's.
 */
static __always_inline void forget_x87_pointers(void)
{
	static const int zero;

	if (static_cpu_has_bug(X86_BUG_FXSAVE_LEAK))
		asm volatile("fnclex; emms; fildl %0" : : "m" (zero));
}

static __always_inline void regs_save(struct xregs_state *x, u32 mask)
{
	if (static_cpu_has(X86_FEATURE_XSAVEOPT)) {
		asm volatile("xsaveopt64 %0" : "+m" (*x) : "a" (mask), "d" (0) : "memory");
		/* It may think that MXCSR has nothing to say. */
		asm volatile("stmxcsr %0" : "=m" (x->i387.mxcsr));
	} else if (static_cpu_has(X86_FEATURE_XSAVE)) {
		asm volatile("xsave64 %0" : "+m" (*x) : "a" (mask), "d" (0) : "memory");
	} else {
		asm volatile("fxsave64 %0" : "=m" (x->i387));
		x->header.xfeatures = LEGACY;
	}
}

static __always_inline void regs_load(const struct xregs_state *x, u32 mask)
{
	forget_x87_pointers();
	if (static_cpu_has(X86_FEATURE_XSAVE))
		asm volatile("xrstor64 %0" : : "m" (*x), "a" (mask), "d" (0) : "memory");
	else
		asm volatile("fxrstor64 %0" : : "m" (x->i387));
}

/**
 * rl_fpu_enter() - The guest's FPU and XCR0 into this CPU
 * @vcpu: the vCPU
 *
 * Without CR4.OSXSAVE, whose writes exit, a guest can neither read XCR0 nor use
 * what depends on it: the host's may stay.
 *
 * What is restored was either saved from this CPU's registers or judged by
 * rl_set_xsave(), so that XRSTOR cannot fault.
 *
 * Context: IRQs off, and so until rl_fpu_leave().
 */
void rl_fpu_enter(struct rl_vcpu *vcpu)
{
	struct rl_fpu *fpu = &vcpu->fpu;
	u32 mask = rl_xcr0_offered;

	regs_save(this_cpu_ptr(borrowed), mask);
	regs_load(fpu->state, mask);
	fpu->xcr0_loaded = vcpu->cr4 & X86_CR4_OSXSAVE;
	if (unlikely(fpu->xcr0_loaded) && fpu->xcr0 != host_xcr0)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, fpu->xcr0);
}

/**
 * rl_fpu_leave() - The guest's FPU out of this CPU, what was there before into it
 * @vcpu: the vCPU
 *
 * Context: IRQs off since rl_fpu_enter().
 */
void rl_fpu_leave(struct rl_vcpu *vcpu)
{
	struct rl_fpu *fpu = &vcpu->fpu;
	u32 mask = rl_xcr0_offered;

	if (fpu->xcr0_loaded) {
		fpu->xcr0 = rl_xcr0_now(vcpu);
		if (fpu->xcr0 != host_xcr0)
			xsetbv(XCR_XFEATURE_ENABLED_MASK, host_xcr0);
		fpu->xcr0_loaded = false;
	}
	regs_save(fpu->state, mask);
	regs_load(this_cpu_ptr(borrowed), mask);
}

/**
 * rl_set_xcr0() - XSETBV with index 0, or KVM_SET_XCRS
 * @vcpu: the vCPU
 * @xcr0: new value
 *
 * SDM Vol 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features".
 * Return: 0, or 1 for #GP.
 */
int rl_set_xcr0(struct rl_vcpu *vcpu, u64 xcr0)
{
	u64 avx512 = xcr0 & XFEATURE_MASK_AVX512;

	if (!(xcr0 & XFEATURE_MASK_FP) ||
	    xcr0 & ~(vcpu->xcr0_supported | XFEATURE_MASK_FP) ||
	    (xcr0 & XFEATURE_MASK_YMM && !(xcr0 & XFEATURE_MASK_SSE)) ||
	    (avx512 && (avx512 != XFEATURE_MASK_AVX512 || !(xcr0 & XFEATURE_MASK_YMM))))
		return 1;
	vcpu->fpu.xcr0 = xcr0;
	if (vcpu->fpu.xcr0_loaded)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, xcr0);
	return 0;
}

int rl_get_fpu(struct rl_vcpu *vcpu, struct kvm_fpu *fpu)
{
	struct fxregs_state *fx = &vcpu->fpu.state->i387;

	fpu_settle(vcpu->fpu.state);
	memset(fpu, 0, sizeof(*fpu));
	memcpy(fpu->fpr, fx->st_space, sizeof(fpu->fpr));
	fpu->fcw = fx->cwd;
	fpu->fsw = fx->swd;
	fpu->ftwx = fx->twd;
	fpu->last_opcode = fx->fop;
	fpu->last_ip = fx->rip;
	fpu->last_dp = fx->rdp;
	memcpy(fpu->xmm, fx->xmm_space, sizeof(fpu->xmm));
	fpu->mxcsr = fx->mxcsr;
	return 0;
}

/*
 * KVM_SET_FPU. MXCSR is left as it is, as on KVM: callers know that and leave 0 there,
 * which would unmask all of SSE's exceptions.
 */
int rl_set_fpu(struct rl_vcpu *vcpu, const struct kvm_fpu *fpu)
{
	struct fxregs_state *fx = &vcpu->fpu.state->i387;

	memcpy(fx->st_space, fpu->fpr, sizeof(fpu->fpr));
	fx->cwd = fpu->fcw;
	fx->swd = fpu->fsw;
	fx->twd = fpu->ftwx;
	fx->fop = fpu->last_opcode;
	fx->rip = fpu->last_ip;
	fx->rdp = fpu->last_dp;
	memcpy(fx->xmm_space, fpu->xmm, sizeof(fpu->xmm));
	vcpu->fpu.state->header.xfeatures |= LEGACY;
	return 0;
}

/**
 * rl_get_xsave() - KVM_GET_XSAVE: the area in the standard format
 * @vcpu: the vCPU
 * @xs: out
 *
 * Components that the guest's CPUID lacks are left out, so that the result can
 * be set on a host that does not have them.
 */
int rl_get_xsave(struct rl_vcpu *vcpu, struct kvm_xsave *xs)
{
	struct xregs_state *x = vcpu->fpu.state, *out = (void *)xs->region;
	u64 shown = vcpu->xcr0_supported | LEGACY;
	int i;

	BUILD_BUG_ON(sizeof(xs->region) != 4096);
	fpu_settle(x);
	memset(out, 0, sizeof(xs->region));
	memcpy(out, x, min_t(size_t, rl_xsave_size, sizeof(xs->region)));
	memset(out->i387.padding, 0, sizeof(out->i387.padding));
	memset(out->i387.sw_reserved, 0, sizeof(out->i387.sw_reserved));
	out->header.xfeatures &= shown;
	if (!rl_xcr0_offered)		/* for a host that has XSAVE */
		out->header.xfeatures = LEGACY;
	for (i = 2; i < NR_COMPONENTS; i++)
		if (rl_xcr0_offered & ~shown & BIT_ULL(i))
			memset((void *)out + component[i].offset, 0, component[i].size);
	/* Linux ignores MXCSR without SSE's bit, and so may any other reader. */
	if (out->i387.mxcsr != MXCSR_RESET)
		out->header.xfeatures |= XFEATURE_MASK_SSE;
	return 0;
}

/**
 * rl_set_xsave() - KVM_SET_XSAVE
 * @vcpu: the vCPU
 * @xs: new state
 *
 * Return: 0, or -EINVAL: a component that is not offered, the compacted format,
 * reserved header bytes, or an MXCSR that this CPU cannot load.
 */
int rl_set_xsave(struct rl_vcpu *vcpu, const struct kvm_xsave *xs)
{
	const struct xregs_state *in = (const void *)xs->region;
	struct xregs_state *x = vcpu->fpu.state;
	u64 given = in->header.xfeatures;

	if (given & ~(rl_xcr0_offered | LEGACY))
		return -EINVAL;
	if (rl_xcr0_offered && (in->header.xcomp_bv ||
				memchr_inv(in->header.reserved, 0, sizeof(in->header.reserved))))
		return -EINVAL;
	if ((!rl_xcr0_offered || given & (LEGACY | XFEATURE_MASK_YMM)) &&
	    in->i387.mxcsr & ~mxcsr_valid)
		return -EINVAL;

	if (!rl_xcr0_offered) {
		memcpy(&x->i387, &in->i387, sizeof(x->i387));
		x->header.xfeatures = LEGACY;
		return 0;
	}
	memcpy(x, in, min_t(size_t, rl_xsave_size, sizeof(xs->region)));
	memset(&x->header, 0, sizeof(x->header));
	x->header.xfeatures = given;
	if (!(given & (XFEATURE_MASK_SSE | XFEATURE_MASK_YMM)))
		x->i387.mxcsr = MXCSR_RESET;
	x->i387.mxcsr_mask = mxcsr_valid;
	return 0;
}

int rl_get_xcrs(struct rl_vcpu *vcpu, struct kvm_xcrs *xcrs)
{
	memset(xcrs, 0, sizeof(*xcrs));
	if (!rl_xcr0_offered)
		return 0;
	xcrs->nr_xcrs = 1;
	xcrs->xcrs[0].xcr = XCR_XFEATURE_ENABLED_MASK;
	xcrs->xcrs[0].value = vcpu->fpu.xcr0;
	return 0;
}

int rl_set_xcrs(struct rl_vcpu *vcpu, const struct kvm_xcrs *xcrs)
{
	u32 i;

	if (!rl_xcr0_offered || xcrs->nr_xcrs > KVM_MAX_XCRS || xcrs->flags)
		return -EINVAL;
	for (i = 0; i < xcrs->nr_xcrs; i++)
		if (xcrs->xcrs[i].xcr == XCR_XFEATURE_ENABLED_MASK)
			return rl_set_xcr0(vcpu, xcrs->xcrs[i].value) ? -EINVAL : 0;
	return 0;
}

/*
 * MMX registers are x87's by their numbers, while the image has them by their places on the
 * stack; an MMX instruction sets its top to 0, and all of them to valid.
 */
static void *mmx_reg(struct fxregs_state *fx, int reg)
{
	unsigned int top = fx->swd >> 11 & 7, i;
	u32 old[ARRAY_SIZE(fx->st_space)];

	memcpy(old, fx->st_space, sizeof(old));
	for (i = 0; i < 8; i++)
		memcpy(&fx->st_space[4 * i], &old[4 * ((i - top) & 7)], 16);
	fx->swd &= ~(7 << 11);
	fx->twd = 0xff;
	return &fx->st_space[4 * (reg & 7)];
}

static void *vector_reg(struct rl_vcpu *vcpu, int reg)
{
	struct xregs_state *x = vcpu->fpu.state;

	WARN_ON_ONCE(vcpu->mode == RL_IN_GUEST);
	fpu_settle(x);
	x->header.xfeatures |= LEGACY;
	return reg < RL_EMUL_MM ? &x->i387.xmm_space[4 * reg] : mmx_reg(&x->i387, reg);
}

/**
 * rl_xmm_read() - One XMM or MMX register for the emulator
 * @vcpu: the vCPU
 * @reg: 0 to 15, or from RL_EMUL_MM on
 * @buf16: out
 *
 * Context: the FPU is not loaded (rl_fpu_leave() was called, or not yet rl_fpu_enter()).
 */
void rl_xmm_read(struct rl_vcpu *vcpu, int reg, void *buf16)
{
	memcpy(buf16, vector_reg(vcpu, reg), 16);
}

void rl_xmm_write(struct rl_vcpu *vcpu, int reg, const void *buf16)
{
	memcpy(vector_reg(vcpu, reg), buf16, 16);
}
