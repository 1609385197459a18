// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMX backend's frame: VMXON per CPU, VMCSs and the CPUs that cache them,
 * what exits, TLB flushes, and one entry into the guest.
 *
 * Owns:    struct vmx_vcpu's VMCS and work; the per-CPU VMXON region, current
 *          VMCS and list of loaded VMCSs; VPIDs.
 * Touches: the backend's other files through vmx.h; vm->mmu.root.
 * Locks:   vpid_lock. A CPU's list of VMCSs changes on that CPU, IRQs off.
 * Manuals: SDM Vol 3C, "VMX Instruction Reference", "VMCS Types: Ordinary and
 *          Shadow", "Software Use of Virtual-Machine Control Structures".
 */
#include <linux/mm.h>
#include <asm/debugreg.h>
#include <asm/irq_vectors.h>
#include <asm/nospec-branch.h>
#include <asm/perf_event.h>
#include <asm/tlbflush.h>
#include <asm/trapnr.h>

#include "../cpu/cpu.h"
#include "../mm/tdp_fmt.h"
#include "vmx.h"

static_assert(offsetof(struct vmx_entry, host_rsp) == VMX_ENTRY_HOST_RSP);
static_assert(offsetof(struct vmx_entry, spec_ctrl) == VMX_ENTRY_SPEC_CTRL);
static_assert(offsetof(struct vmx_entry, launched) == VMX_ENTRY_LAUNCHED);
static_assert(HOST_RSP == VMX_FIELD_HOST_RSP);
static_assert(RL_RAX == 0 && RL_RBX == 3 && RL_RSP == 4 && RL_RBP == 5 && RL_RDI == 7);

/* PAUSE executed this often, this closely (in TSC ticks): the guest spins on a lock. */
#define PLE_GAP_TICKS		128
#define PLE_WINDOW_TICKS	4096

#define VMX_REASON_BUS_LOCK	BIT(26)	/* besides what exited, the instruction locked the bus */
#define DR7_ALWAYS_1		0x400
#define PML_ENTRIES		512

/* Everything of a CPU's; touched on that CPU only, with IRQs off unless said otherwise. */
struct vmx_cpu {
	void *vmxon;			/* region, from load to unload */
	struct list_head loaded;	/* VMCSs this CPU may cache */
	struct vmx_vcpu *current_vmcs;	/* preemption off is enough */
};
static DEFINE_PER_CPU(struct vmx_cpu, vmx_cpu);

static DEFINE_SPINLOCK(vpid_lock);
static DECLARE_BITMAP(vpids, VMX_NR_VPIDS);	/* [vpid_lock] 0 stands for "none" */

/* All a guest's accesses to these go to the VMCS or to what vcpu_put saves. */
static const u32 passed_msrs[] = {
	MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE,
	MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
};

/* Only our own mistakes end here; the registers tell which. */
void vmx_insn_failed(const char *insn, unsigned long arg, unsigned long val)
{
	WARN_ONCE(1, "ringlet: %s %lx, %lx failed (error %u)\n", insn, arg, val,
		  vmcs_read32(VM_INSTRUCTION_ERROR));
}

/* ---- a CPU in and out of VMX operation ---- */

static void vmx_hardware_unsetup(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		free_page((unsigned long)per_cpu(vmx_cpu, cpu).vmxon);
		per_cpu(vmx_cpu, cpu).vmxon = NULL;
	}
}

static void *alloc_region(int node, gfp_t gfp)
{
	struct page *page = alloc_pages_node(node, gfp | __GFP_ZERO, 0);

	if (!page)
		return NULL;
	*(u32 *)page_address(page) = vmx_cfg.revision;
	return page_address(page);
}

static int vmx_hardware_setup(void)
{
	int cpu, r;

	r = vmx_caps_setup();
	if (r)
		return r;
	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);

		INIT_LIST_HEAD(&c->loaded);
		c->vmxon = alloc_region(cpu_to_node(cpu), GFP_KERNEL);
		if (!c->vmxon) {
			vmx_hardware_unsetup();
			return -ENOMEM;
		}
	}
	return 0;
}

static int vmx_cpu_enable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	int r;

	if (native_read_cr4() & X86_CR4_VMXE) {
		pr_warn("CPU %d: CR4.VMXE is set: another hypervisor uses VMX\n",
			smp_processor_id());
		return -EBUSY;
	}
	r = vmx_caps_check_cpu();
	if (r)
		return r;
	vmx_uret_start();
	intel_pt_handle_vmx(1);
	cr4_set_bits_irqsoff(X86_CR4_VMXE);
	if (vmx_vmxon(__pa(c->vmxon))) {
		cr4_clear_bits_irqsoff(X86_CR4_VMXE);
		intel_pt_handle_vmx(0);
		pr_err("CPU %d: VMXON failed\n", smp_processor_id());
		return -EIO;
	}
	/* What an earlier user left in the TLBs goes with each VMCS's first load here. */
	return 0;
}

/* The VMCS leaves this CPU's caches; on the CPU that has it, IRQs off. */
static void clear_vmcs_here(void *arg)
{
	struct vmx_vcpu *v = arg;
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);

	if (v->vmcs_cpu != smp_processor_id())
		return;		/* cpu_disable() was faster */
	vmx_vmclear(__pa(v->vmcs));
	if (c->current_vmcs == v)
		c->current_vmcs = NULL;
	list_del(&v->link);
	v->entry.launched = false;
	/* vcpu_load() on another CPU relies on the rest when it sees this. */
	smp_store_release(&v->vmcs_cpu, -1);
}

static void clear_vmcs(struct vmx_vcpu *v)
{
	int cpu = smp_load_acquire(&v->vmcs_cpu);

	if (cpu >= 0)
		smp_call_function_single(cpu, clear_vmcs_here, v, 1);
}

static void vmx_cpu_disable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	struct vmx_vcpu *v, *next;

	list_for_each_entry_safe(v, next, &c->loaded, link)
		clear_vmcs_here(v);
	vmx_uret_stop();
	/* A fault here means that somebody else left VMX operation already. */
	asm goto("1: vmxoff\n" _ASM_EXTABLE(1b, %l[fault]) : : : "cc", "memory" : fault);
fault:
	cr4_clear_bits_irqsoff(X86_CR4_VMXE);
	intel_pt_handle_vmx(0);
}

/* ---- a vCPU on a CPU ---- */

static noinline void load_vmcs(struct vmx_vcpu *v, int cpu)
{
	struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);
	bool moved = v->vmcs_cpu != cpu;
	unsigned long flags;

	if (moved) {
		clear_vmcs(v);
		local_irq_save(flags);
		list_add(&v->link, &c->loaded);
		v->vmcs_cpu = cpu;
		local_irq_restore(flags);
	}
	if (vmx_vmptrld(__pa(v->vmcs)) && rl_cpu_is_on())
		vmx_insn_failed("VMPTRLD", __pa(v->vmcs), 0);
	c->current_vmcs = v;
	/* Another guest's branch history shall not steer this one. */
	indirect_branch_prediction_barrier();
	if (moved) {
		vmx_write_host_cpu(v, cpu);
		/* What was flushed while it ran elsewhere may still be cached here. */
		v->vcpu.work |= VMX_WORK_FLUSH_EPT;
	}
}

/* Mostly it comes back to where it was, with no other vCPU there in between. */
static void vmx_vcpu_load(struct rl_vcpu *vcpu, int cpu)
{
	if (unlikely(this_cpu_read(vmx_cpu.current_vmcs) != to_vmx(vcpu)))
		load_vmcs(to_vmx(vcpu), cpu);
}

/* ---- a vCPU's VMCS ---- */

static u16 alloc_vpid(void)
{
	unsigned int vpid;

	if (!(vmx_cfg.exec2 & SECONDARY_EXEC_ENABLE_VPID))
		return 0;
	spin_lock(&vpid_lock);
	vpid = find_next_zero_bit(vpids, VMX_NR_VPIDS, 1);
	if (vpid < VMX_NR_VPIDS)
		__set_bit(vpid, vpids);
	else
		vpid = 0;	/* then every entry and exit flushes */
	spin_unlock(&vpid_lock);
	return vpid;
}

static void free_vpid(u16 vpid)
{
	if (!vpid)
		return;
	spin_lock(&vpid_lock);
	__clear_bit(vpid, vpids);
	spin_unlock(&vpid_lock);
}

/* SDM Vol 3C, "MSR-Bitmap Address": reads at 0, writes at 2 KiB, high MSRs 1 KiB on. */
static void pass_msr(void *bitmap, u32 msr, bool read, bool write)
{
	u32 nr = (msr & 0x1fff) + (msr >= 0xc0000000 ? 0x400 * 8 : 0);

	__assign_bit(nr, bitmap, !read);
	__assign_bit(nr + 0x800 * 8, bitmap, !write);
}

/*
 * SDM Vol 3C, "Virtualizing MSR-Based APIC Accesses": with these controls the
 * x2APIC MSRs that do not exit go to the virtual-APIC page, never to the CPU's own.
 */
#define VIRTUAL_APIC (SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE | \
		      SECONDARY_EXEC_APIC_REGISTER_VIRT | SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)

static u32 virtual_apic(struct vmx_vcpu *v)
{
	bool on = rl_lapic_virtual(&v->vcpu);
	DECLARE_BITMAP(eois, 256);
	u32 msr;
	int i;

	for (msr = APIC_BASE_MSR; msr < APIC_BASE_MSR + 0x40; msr++)
		pass_msr(v->msr_bitmap, msr, on && rl_lapic_msr_passes(msr, false),
			 on && rl_lapic_msr_passes(msr, true));
	if (!on)
		return 0;
	rl_eoi_vectors(v->vcpu.vm, eois);
	for (i = 0; i < BITS_TO_LONGS(256); i++)
		vmcs_write(EOI_EXIT_BITMAP0 + 2 * i, eois[i]);
	if (vmx_cfg.pin & PIN_BASED_POSTED_INTR) {
		vmcs_write(POSTED_INTR_NV, POSTED_INTR_VECTOR);
		vmcs_write(POSTED_INTR_DESC_ADDR, __pa(rl_lapic_posted(&v->vcpu)));
	}
	return VIRTUAL_APIC;
}

/* Fields that keep their value as long as the vCPU lives. */
static void write_controls(struct vmx_vcpu *v)
{
	vmcs_write(VM_EXIT_CONTROLS, vmx_cfg.exit);
	vmcs_write(MSR_BITMAP, __pa(v->msr_bitmap));
	vmcs_write(EPT_POINTER, v->eptp);
	if (v->vpid)
		vmcs_write(VIRTUAL_PROCESSOR_ID, v->vpid);
	if (vmx_cfg.exec2 & SECONDARY_EXEC_PAUSE_LOOP_EXITING) {
		vmcs_write(PLE_GAP, PLE_GAP_TICKS);
		vmcs_write(PLE_WINDOW, PLE_WINDOW_TICKS);
	}
	/* With SGX in the CPU the instruction needs nobody's permission but this. */
	if (vmx_cfg.exec2 & SECONDARY_EXEC_ENCLS_EXITING)
		vmcs_write(ENCLS_EXITING_BITMAP, ~0UL);
	if (v->pml) {
		vmcs_write(PML_ADDRESS, __pa(v->pml));
		vmcs_write(GUEST_PML_INDEX, PML_ENTRIES - 1);
	}
	vmcs_write(CR0_GUEST_HOST_MASK, ~VMX_CR0_OWNED);
	vmcs_write(VMCS_LINK_POINTER, ~0ULL);

	/* VMCLEAR leaves the data of a new VMCS undefined: nothing is 0 by itself. */
	vmcs_write(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmcs_write(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmcs_write(CR3_TARGET_COUNT, 0);
	vmcs_write(VM_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, 0);

	/* Copies start out different from any value, so that the first vmcs_set() writes. */
	memset(&v->copy, 0xff, sizeof(v->copy));
	vmcs_set(TPR_THRESHOLD, &v->copy.tpr_threshold, 0);
	if (vmx_cfg.tick)
		vmcs_set(VMX_PREEMPTION_TIMER_VALUE, &v->copy.timer, vmx_cfg.tick);
	vmcs_set(VM_ENTRY_CONTROLS, &v->copy.entry, vmx_cfg.entry & ~VM_ENTRY_IA32E_MODE);
	vmcs_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write(TSC_OFFSET, v->vcpu.tsc_offset);
}

static void vmx_update_tsc(struct rl_vcpu *vcpu);
static void vmx_update_intercepts(struct rl_vcpu *vcpu);

static void free_pages_of(struct vmx_vcpu *v)
{
	free_page((unsigned long)v->pml);
	free_page((unsigned long)v->msr_bitmap);
	free_page((unsigned long)v->vmcs);
}

static int vmx_vcpu_create(struct rl_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	int i, cpu;

	v->vmcs_cpu = -1;
	if (vmx_cfg.l1d_flush && l1tf_mitigation >= L1TF_MITIGATION_FULL)
		v->after = VMX_AFTER_L1D;
	vcpu->work = VMX_WORK_LOAD;
	v->vmcs = alloc_region(NUMA_NO_NODE, GFP_KERNEL_ACCOUNT);
	v->msr_bitmap = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (rl_tdp_caps.dirty_log)
		v->pml = (void *)__get_free_page(GFP_KERNEL_ACCOUNT);
	if (!v->vmcs || !v->msr_bitmap || (rl_tdp_caps.dirty_log && !v->pml)) {
		free_pages_of(v);
		return -ENOMEM;
	}
	memset(v->msr_bitmap, 0xff, PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(passed_msrs); i++)
		pass_msr(v->msr_bitmap, passed_msrs[i], true, true);
	v->vpid = alloc_vpid();
	v->eptp = vcpu->vm->mmu.root | VMX_EPTP_MT_WB |
		  (vcpu->vm->mmu.levels == 5 ? VMX_EPTP_PWL_5 : VMX_EPTP_PWL_4) |
		  (vmx_cfg.ept_ad ? VMX_EPTP_AD_ENABLE_BIT : 0);

	/* A new region is neither clear nor launched until VMCLEAR says so. */
	cpu = get_cpu();
	vmx_vmclear(__pa(v->vmcs));
	vmx_vcpu_load(vcpu, cpu);
	vmx_write_host_const();
	write_controls(v);
	vcpu->cr4 = 0;
	vcpu->avail |= BIT(RL_REG_CR4);
	vmx_update_intercepts(vcpu);
	vmx_vcpu_put(vcpu);
	put_cpu();
	/* Once more when others can see it: what they change reaches it from then on. */
	rl_request(vcpu, RL_REQ_INTERCEPTS);
	return 0;
}

static void vmx_vcpu_destroy(struct rl_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	clear_vmcs(v);
	free_vpid(v->vpid);
	free_pages_of(v);
}

static void vmx_vcpu_reset(struct rl_vcpu *vcpu, bool init)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, 0);
	v->after &= ~VMX_AFTER_EVENT;
	vmx_set_intr_state(v, 0);
	vmcs_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	vmx_set_exec(v, 0, CPU_BASED_INTR_WINDOW_EXITING | CPU_BASED_NMI_WINDOW_EXITING);
	if (!init) {
		memset(v->uret, 0, sizeof(v->uret));
		vmx_write_kernel_gs_base(v, 0);
		vmx_regs_reset(v);
		vmx_update_tsc(vcpu);
	}
	vmx_update_intercepts(vcpu);
}

/* ---- TLBs ---- */

static void flush_ept(struct vmx_vcpu *v)
{
	if (vmx_cfg.ept_context)
		vmx_invept(VMX_EPT_EXTENT_CONTEXT, v->eptp);
	else
		vmx_invept(VMX_EPT_EXTENT_GLOBAL, 0);
}

/*
 * For both reasons there are: second-stage entries went away, or the guest did
 * something that flushes, with our help. SDM Vol 3C, "Operations that
 * Invalidate Cached Mappings": with EPT the CPU caches guest-physical and
 * combined mappings, and INVEPT drops both, of all VPIDs and PCIDs. Linear
 * mappings, for which INVVPID would be needed, exist without EPT only. A VPID or
 * a table's address that is used again finds nothing either, since each VMCS's
 * first load on a CPU is followed by an INVEPT there (vmx_vcpu_load()).
 */
static void vmx_flush_tlb(struct rl_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);

	v->vcpu.work &= ~VMX_WORK_FLUSH_EPT;
	flush_ept(v);
}

/* ---- what exits ---- */

static void vmx_update_tsc(struct rl_vcpu *vcpu)
{
	vmcs_write(TSC_OFFSET, vcpu->tsc_offset);
	if (to_vmx(vcpu)->copy.exec2 & SECONDARY_EXEC_TSC_SCALING)
		vmcs_write(TSC_MULTIPLIER, vcpu->tsc_ratio);
}

static void vmx_update_debug(struct rl_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 exc = BIT(X86_TRAP_MC) | BIT(X86_TRAP_UD);

	/*
	 * #DB and #AC can recur without end while they are delivered, with no
	 * instruction between that would let an interrupt in.
	 */
	exc |= BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC);
	if (vcpu->guest_debug & KVM_GUESTDBG_USE_SW_BP)
		exc |= BIT(X86_TRAP_BP);
	vmcs_set(EXCEPTION_BITMAP, &v->copy.exceptions, exc);

	vmcs_write(GUEST_DR7, (u32)rl_eff_dr7(vcpu) | DR7_ALWAYS_1);
	if (vcpu->own_debug) {
		vmx_set_exec(v, 0, CPU_BASED_MOV_DR_EXITING);
		v->vcpu.work |= VMX_WORK_DR6;
	} else {
		vmx_set_exec(v, CPU_BASED_MOV_DR_EXITING, 0);
	}
}

static void vmx_sync_debug(struct rl_vcpu *vcpu)
{
	get_debugreg(vcpu->db[0], 0);
	get_debugreg(vcpu->db[1], 1);
	get_debugreg(vcpu->db[2], 2);
	get_debugreg(vcpu->db[3], 3);
	get_debugreg(vcpu->dr6, 6);
	set_debugreg(DR6_RESERVED, 6);
	vcpu->dr7 = vmcs_read(GUEST_DR7);
}

static void vmx_update_intercepts(struct rl_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 kept = CPU_BASED_INTR_WINDOW_EXITING | CPU_BASED_NMI_WINDOW_EXITING |
		   CPU_BASED_MOV_DR_EXITING;
	u32 exec = vmx_cfg.exec & ~kept, exec2 = vmx_cfg.exec2 & ~VIRTUAL_APIC;
	u32 off = vcpu->vm->disabled_exits, pin = vmx_cfg.pin;

	if (v->copy.exec != ~0U)
		exec |= v->copy.exec & kept;
	if (off & KVM_X86_DISABLE_EXITS_HLT)
		exec &= ~CPU_BASED_HLT_EXITING;
	if (off & KVM_X86_DISABLE_EXITS_MWAIT)
		exec &= ~(CPU_BASED_MWAIT_EXITING | CPU_BASED_MONITOR_EXITING);
	if (off & KVM_X86_DISABLE_EXITS_PAUSE)
		exec2 &= ~SECONDARY_EXEC_PAUSE_LOOP_EXITING;

	if (rcu_access_pointer(vcpu->vm->msr_filter))
		exec &= ~CPU_BASED_USE_MSR_BITMAPS;	/* every MSR exits */

	/* CR8 is the TPR of the local APIC: in its page here, or in user space. */
	v->own_tpr = vcpu->lapic;
	if (v->own_tpr) {
		vmcs_write(VIRTUAL_APIC_PAGE_ADDR, __pa(vcpu->apic_page));
		exec2 |= virtual_apic(v);
	} else {
		exec = (exec & ~CPU_BASED_TPR_SHADOW) |
		       CPU_BASED_CR8_LOAD_EXITING | CPU_BASED_CR8_STORE_EXITING;
	}

	if (!v->vpid)
		exec2 &= ~SECONDARY_EXEC_ENABLE_VPID;
	if (!v->pml || !rl_slots_log(vcpu->vm))
		exec2 &= ~SECONDARY_EXEC_ENABLE_PML;
	/* Without the control the instruction raises #UD, as on a CPU that lacks it. */
	if (!rl_guest_has(vcpu, X86_FEATURE_RDTSCP) && !rl_guest_has(vcpu, X86_FEATURE_RDPID))
		exec2 &= ~SECONDARY_EXEC_ENABLE_RDTSCP;
	if (!rl_guest_has(vcpu, X86_FEATURE_INVPCID))
		exec2 &= ~SECONDARY_EXEC_ENABLE_INVPCID;

	v->after &= ~(VMX_AFTER_PML | VMX_AFTER_VIRTUAL | VMX_AFTER_BUS_LOCK);
	if (!(vcpu->vm->bus_lock_mode & KVM_BUS_LOCK_DETECTION_EXIT))
		exec2 &= ~SECONDARY_EXEC_BUS_LOCK_DETECTION;
	else if (exec2 & SECONDARY_EXEC_BUS_LOCK_DETECTION)
		v->after |= VMX_AFTER_BUS_LOCK;
	if (!(vcpu->vm->notify & KVM_X86_NOTIFY_VMEXIT_ENABLED))
		exec2 &= ~SECONDARY_EXEC_NOTIFY_VM_EXITING;
	else
		vmcs_write(NOTIFY_WINDOW, vcpu->vm->notify >> 32);
	if (exec2 & SECONDARY_EXEC_ENABLE_PML)
		v->after |= VMX_AFTER_PML;
	if (exec2 & SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)
		v->after |= VMX_AFTER_VIRTUAL;
	else
		pin &= ~PIN_BASED_POSTED_INTR;
	vmcs_set(PIN_BASED_VM_EXEC_CONTROL, &v->copy.pin, pin);
	vmcs_set(CPU_BASED_VM_EXEC_CONTROL, &v->copy.exec, exec);
	vmcs_set(SECONDARY_VM_EXEC_CONTROL, &v->copy.exec2, exec2);
	vmx_uret_changed(v, VMX_URET_TSC_AUX);
	vmx_update_debug(vcpu);

	/* Bits that the guest's CPU does not have must not go unseen into CR4. */
	v->cr4_owned = VMX_CR4_OWNED & ~vcpu->cr4_reserved;
	vmcs_write(CR4_GUEST_HOST_MASK, ~v->cr4_owned);
	vmx_set_cr4(vcpu, rl_cr4_read(vcpu));
}

/* ---- the log of dirty pages ---- */

/*
 * SDM Vol 3C, "Page-Modification Logging": the index counts down and is that of
 * the next entry; behind the last one it wraps. Nothing stays in the list while
 * the vCPU is out of the guest.
 */
static void drain_log(struct vmx_vcpu *v)
{
	u16 index = vmcs_read32(GUEST_PML_INDEX);
	struct rl_vm *vm = v->vcpu.vm;
	struct rl_memslot *slot;
	int idx;

	if (index == PML_ENTRIES - 1)
		return;
	idx = srcu_read_lock(&vm->srcu);
	for (index = index < PML_ENTRIES ? index + 1 : 0; index < PML_ENTRIES; index++) {
		slot = rl_gfn_to_slot(vm, v->pml[index] >> PAGE_SHIFT);
		if (slot)
			rl_slot_mark_dirty(slot, v->pml[index] >> PAGE_SHIFT);
	}
	srcu_read_unlock(&vm->srcu, idx);
	vmcs_write(GUEST_PML_INDEX, PML_ENTRIES - 1);
}

/* ---- into the guest ---- */

/* The preemption timer counts from the field's value at each entry. */
static void set_timer(struct vmx_vcpu *v)
{
	u64 deadline = v->vcpu.cpu_deadline, ticks = vmx_cfg.tick, now = rdtsc();

	/* Rather a count late than one early. */
	if (deadline)
		ticks = deadline > now ? ((deadline - now) >> vmx_cfg.timer_shift) + 1 : 0;
	vmcs_set(VMX_PREEMPTION_TIMER_VALUE, &v->copy.timer, min_t(u64, ticks, vmx_cfg.tick));
	if (deadline)
		v->vcpu.work |= VMX_WORK_TIMER;
}

static noinline void do_work(struct vmx_vcpu *v)
{
	u32 work = v->vcpu.work;

	v->vcpu.work = 0;
	if (work & VMX_WORK_FLUSH_EPT)
		flush_ept(v);
	if ((work & VMX_WORK_TIMER) && !v->vcpu.cpu_deadline)
		set_timer(v);
	if ((work & VMX_WORK_DR6) && v->vcpu.own_debug)
		set_debugreg(v->vcpu.dr6, 6);
	if (work & VMX_WORK_PEBS)
		vmx_pebs_off(v);
	if (work & VMX_WORK_L1D)
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
}

/* Fields of the host area that a context switch or a new mm changes. */
static __always_inline void sync_host_crs(struct vmx_vcpu *v)
{
	unsigned long cr3 = __native_read_cr3(), cr4 = native_read_cr4();

	if (unlikely(cr3 != v->host_cr3)) {
		v->host_cr3 = cr3;
		vmcs_write(HOST_CR3, cr3);
	}
	if (unlikely(cr4 != v->host_cr4)) {
		v->host_cr4 = cr4;
		vmcs_write(HOST_CR4, cr4);
	}
}

/* What most exits do not need. */
static noinline void after_exit(struct vmx_vcpu *v, u32 reason)
{
	u32 after = v->after;

	if (after & VMX_AFTER_PEBS)
		vmx_pebs_on(v);
	if (after & VMX_AFTER_DEBUGCTL)
		update_debugctlmsr(v->host_debugctl);
	if (unlikely(reason & VMX_EXIT_REASONS_FAILED_VMENTRY))
		return;
	if (after & VMX_AFTER_PML)
		drain_log(v);
	/* SDM Vol 3C, "Bus-Lock Assertion": any exit's reason has the bit, and there is one for it. */
	if (after & VMX_AFTER_BUS_LOCK &&
	    (reason & VMX_REASON_BUS_LOCK || (u16)reason == EXIT_REASON_BUS_LOCK))
		rl_bus_locked(&v->vcpu);
	if (after & VMX_AFTER_L1D)
		v->vcpu.work |= VMX_WORK_L1D;
	v->injected = after & VMX_AFTER_EVENT;
	if (v->injected) {
		v->after &= ~VMX_AFTER_EVENT;
		v->event_len = 0;
		rl_event_delivered(&v->vcpu);
	}
}

static void vmx_run(struct rl_vcpu *vcpu)
{
	struct vmx_vcpu *v = to_vmx(vcpu);
	u32 reason;

	if (vcpu->work) {
		if (vcpu->work & RL_WORK_FRESH)
			vmx_sync_host(v);
		if (vcpu->work & VMX_WORK_LOAD)
			vmx_switch_to_guest(v);
		if (unlikely(vcpu->work))
			do_work(v);
	}
	if (likely(vcpu->dirty == BIT(RL_REG_RIP))) {
		vcpu->dirty = 0;
		vmcs_write(GUEST_RIP, vcpu->rip);
	} else if (vcpu->dirty) {
		vmx_write_dirty_regs(v);
	}
	if (unlikely(vcpu->cpu_deadline))
		set_timer(v);
	sync_host_crs(v);
	v->entry.spec_ctrl = vcpu->spec_ctrl;
	if (vcpu->cr2 != native_read_cr2())
		native_write_cr2(vcpu->cr2);

	if (unlikely(rl_vmx_enter(&v->entry, vcpu->regs))) {
		if (v->after & VMX_AFTER_PEBS)
			vmx_pebs_on(v);
		vmx_fail_entry(v, vmcs_read32(VM_INSTRUCTION_ERROR));
		return;
	}

	vcpu->cr2 = native_read_cr2();
	vcpu->avail = 0;
	v->valid = 0;

	reason = vmcs_read32(VM_EXIT_REASON);
	if (unlikely(v->after))
		after_exit(v, reason);
	if (unlikely(reason & VMX_EXIT_REASONS_FAILED_VMENTRY)) {
		vmx_fail_entry(v, reason);
		return;
	}
	v->entry.launched = true;
	vmx_decode_exit(v, reason);
}

const struct rl_vendor_ops rl_vmx_ops = {
	.name = "VMX",
	.vcpu_size = sizeof(struct vmx_vcpu),

	.hardware_setup = vmx_hardware_setup,
	.hardware_unsetup = vmx_hardware_unsetup,
	.cpu_enable = vmx_cpu_enable,
	.cpu_disable = vmx_cpu_disable,

	.vcpu_create = vmx_vcpu_create,
	.vcpu_destroy = vmx_vcpu_destroy,
	.vcpu_reset = vmx_vcpu_reset,
	.vcpu_load = vmx_vcpu_load,
	.vcpu_put = vmx_vcpu_put,
	.run = vmx_run,
	.take_irq = vmx_take_irq,

	.cache_regs = vmx_cache_regs,
	.get_seg = vmx_get_seg,
	.set_seg = vmx_set_seg,
	.seg_base = vmx_seg_base,
	.cs_attr = vmx_cs_attr,
	.get_cpl = vmx_get_cpl,
	.get_dt = vmx_get_dt,
	.set_dt = vmx_set_dt,
	.set_cr0 = vmx_set_cr0,
	.set_cr3 = vmx_set_cr3,
	.set_cr4 = vmx_set_cr4,
	.set_efer = vmx_set_efer,
	.update_debug = vmx_update_debug,
	.sync_debug = vmx_sync_debug,
	.get_msr = vmx_get_msr,
	.set_msr = vmx_set_msr,

	.inject = vmx_inject,
	.uninject = vmx_uninject,
	.intr_allowed = vmx_intr_allowed,
	.nmi_allowed = vmx_nmi_allowed,
	.enable_intr_window = vmx_enable_intr_window,
	.enable_nmi_window = vmx_enable_nmi_window,
	.get_nmi_mask = vmx_get_nmi_mask,
	.set_nmi_mask = vmx_set_nmi_mask,
	.get_shadow = vmx_get_shadow,
	.set_shadow = vmx_set_shadow,

	.flush_tlb = vmx_flush_tlb,
	.update_tsc = vmx_update_tsc,
	.update_apic = vmx_update_apic,
	.update_intercepts = vmx_update_intercepts,
	.exit_name = vmx_exit_name,
};
