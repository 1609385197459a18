// SPDX-License-Identifier: GPL-2.0-only
/*
 * The two entry encodings, and what the CPU's second stage can do.
 *
 * Owns:    rl_npt_fmt, rl_ept_fmt, rl_tdp_caps.
 * Manuals: APM Vol 2, "Nested Paging": an NPT entry is a host page-table
 *          entry, and every guest access counts as a user access, so US is set
 *          everywhere. SDM Vol 3C, "The Extended Page Table Mechanism (EPT)".
 */
#include <linux/build_bug.h>
#include <linux/cpu.h>
#include <asm/cpufeature.h>

#include "../exit.h"
#include "mm.h"
#include "tdp_fmt.h"

#define NPT_PRESENT	BIT_ULL(0)
#define NPT_WRITE	BIT_ULL(1)
#define NPT_USER	BIT_ULL(2)
#define NPT_ACCESSED	BIT_ULL(5)
#define NPT_DIRTY	BIT_ULL(6)
#define NPT_HUGE	BIT_ULL(7)
#define NPT_NX		BIT_ULL(63)

/*
 * PWT, PCD and PAT stay clear: PAT entry 0, write-back in Linux. Combined with
 * the guest's own type and the host's MTRRs, which know device memory.
 */
const struct rl_tdp_fmt rl_npt_fmt = {
	.name		= "npt",
	.present	= NPT_PRESENT,
	.table		= NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_ACCESSED,
	.leaf		= NPT_PRESENT | NPT_USER,
	.write		= NPT_WRITE,
	.nx		= NPT_NX,
	.huge		= NPT_HUGE,
	.accessed	= NPT_ACCESSED,
	.dirty		= NPT_DIRTY,
};

#define EPT_READ	BIT_ULL(0)
#define EPT_WRITE	BIT_ULL(1)
#define EPT_EXEC	BIT_ULL(2)
#define EPT_TYPE_UC	(0ULL << 3)
#define EPT_TYPE_WB	(6ULL << 3)
#define EPT_IGNORE_PAT	BIT_ULL(6)
#define EPT_HUGE	BIT_ULL(7)
#define EPT_ACCESSED	BIT_ULL(8)
#define EPT_DIRTY	BIT_ULL(9)

/* Accessed and dirty are ignored by a CPU without them: software's to use. */
const struct rl_tdp_fmt rl_ept_fmt = {
	.name		= "ept",
	.present	= EPT_READ | EPT_WRITE | EPT_EXEC,
	.table		= EPT_READ | EPT_WRITE | EPT_EXEC | EPT_ACCESSED,
	.leaf		= EPT_READ,
	.ram		= EPT_TYPE_WB | EPT_IGNORE_PAT,
	.mmio		= EPT_TYPE_UC,
	.write		= EPT_WRITE,
	.exec		= EPT_EXEC,
	.huge		= EPT_HUGE,
	.accessed	= EPT_ACCESSED,
	.dirty		= EPT_DIRTY,
};

#define NPT_ALL	(NPT_PRESENT | NPT_WRITE | NPT_USER | NPT_ACCESSED | NPT_DIRTY | NPT_HUGE | NPT_NX)
#define EPT_ALL	(EPT_READ | EPT_WRITE | EPT_EXEC | EPT_TYPE_WB | EPT_IGNORE_PAT |	\
		 EPT_HUGE | EPT_ACCESSED | EPT_DIRTY)
static_assert(!(NPT_ALL & (RL_SPTE_SOFT | RL_SPTE_ADDR)));
static_assert(!(EPT_ALL & (RL_SPTE_SOFT | RL_SPTE_ADDR)));
static_assert(!(RL_SPTE_SOFT & RL_SPTE_ADDR));
/* Bits that EPT gives a meaning when a feature is on: SSS, #VE, SPP and so on. */
static_assert(!(RL_SPTE_SOFT & GENMASK_ULL(63, 57)));
static_assert(hweight64(NPT_ALL) == 7 && hweight64(EPT_ALL) == 9);

struct rl_tdp_caps rl_tdp_caps;

/*
 * Documentation/admin-guide/hw-vuln/multihit.rst: on some CPUs with EPT a guest
 * that breaks up a large code page under a cached translation hangs the host.
 */
void rl_tdp_init(void)
{
	rl_tdp_caps.nx_huge = rl_tdp_fmt->exec && boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT) &&
			      !cpu_mitigations_off();
}

/**
 * rl_spte_allows() - Would the CPU let @access through this leaf?
 * @spte: a leaf, or an entry that is not present
 * @access: RL_ACC_READ, _WRITE, _FETCH
 */
bool rl_spte_allows(u64 spte, u32 access)
{
	const struct rl_tdp_fmt *fmt = rl_tdp_fmt;

	if (!(spte & fmt->present))
		return false;
	if ((access & RL_ACC_WRITE) && !(spte & fmt->write))
		return false;
	if ((access & RL_ACC_FETCH) && ((spte & fmt->nx) || (spte & fmt->exec) != fmt->exec))
		return false;
	return true;
}
