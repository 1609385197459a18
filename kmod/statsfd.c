// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_GET_STATS_FD: the counters of stats.h as a file that describes itself.
 *
 * Owns:    the two tables of what is shown, under KVM's names where it has the
 *          same thing.
 * Touches: vm->stat, vcpu->stat, read without a lock: they only ever count.
 *          Documentation/virt/kvm/api.rst, "KVM_GET_STATS_FD".
 *
 * The file is made anew for every read: header, name, descriptors, values.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "ioctl.h"
#include "vcpu.h"
#include "vm.h"

#define NAME_SIZE	48

struct stat_row {
	char name[NAME_SIZE];
	u32 flags;
	u16 offset, n;		/* first u64 in the structure of counters, how many to add up */
};

#define VM(member, label)							\
	{ label, KVM_STATS_TYPE_INSTANT, offsetof(struct rl_vm_stats, member), 1 }
#define VCPU(member, label)							\
	{ label, KVM_STATS_TYPE_CUMULATIVE, offsetof(struct rl_vcpu_stats, member),	\
	  sizeof_field(struct rl_vcpu_stats, member) / sizeof(u64) }
#define EXIT(kind, label)	VCPU(exits[RL_EXIT_##kind], label)

static const struct stat_row vm_rows[] = {
	VM(mapped_4k, "pages_4k"),
	VM(mapped_2m, "pages_2m"),
	VM(mapped_1g, "pages_1g"),
	{ "pf_taken", KVM_STATS_TYPE_CUMULATIVE, offsetof(struct rl_vm_stats, faults), 1 },
};

static const struct stat_row vcpu_rows[] = {
	VCPU(exits, "exits"),
	EXIT(INTR, "irq_exits"),
	EXIT(CPUID, "cpuid_exits"),
	EXIT(HLT, "halt_exits"),
	EXIT(IO, "io_exits"),
	EXIT(MSR, "msr_exits"),
	EXIT(CR, "cr_exits"),
	EXIT(FAULT, "pf_taken"),
	EXIT(INTR_WINDOW, "irq_window_exits"),
	EXIT(NMI_WINDOW, "nmi_window_exits"),
	EXIT(HYPERCALL, "hypercalls"),
	EXIT(PAUSE, "pause_exits"),
	VCPU(emulated, "insn_emulation"),
	VCPU(tlb_flushes, "tlb_flush"),
	VCPU(injected_irqs, "irq_injections"),
	VCPU(injected_nmis, "nmi_injections"),
	VCPU(injected_exceptions, "exception_injections"),
	VCPU(kicks, "kicks"),
	VCPU(halts, "halt_blocks"),
	VCPU(halt_polls, "halt_successful_poll"),
	VCPU(halt_wakeups, "halt_wakeup"),
};

/* [c] all of it; the VM keeps its vCPUs, the file keeps the VM */
struct stats_file {
	struct rl_vm *vm;
	const void *stat;
	const struct stat_row *rows;
	int nr;
	char id[NAME_SIZE];
};

static u64 value(const struct stats_file *sf, const struct stat_row *row)
{
	const u64 *counter = sf->stat + row->offset;
	u64 sum = 0;
	int i;

	for (i = 0; i < row->n; i++)
		sum += READ_ONCE(counter[i]);
	return sum;
}

static ssize_t stats_read(struct file *filp, char __user *buf, size_t count, loff_t *pos)
{
	const size_t desc_size = sizeof(struct kvm_stats_desc) + NAME_SIZE;
	const struct stats_file *sf = filp->private_data;
	struct kvm_stats_header head = {
		.name_size = NAME_SIZE,
		.num_desc = sf->nr,
		.id_offset = sizeof(head),
		.desc_offset = sizeof(head) + NAME_SIZE,
		.data_offset = sizeof(head) + NAME_SIZE + sf->nr * desc_size,
	};
	size_t size = head.data_offset + sf->nr * sizeof(u64);
	struct kvm_stats_desc *desc;
	u8 *image;
	ssize_t r;
	int i;

	image = kzalloc(size, GFP_KERNEL_ACCOUNT);
	if (!image)
		return -ENOMEM;
	memcpy(image, &head, sizeof(head));
	memcpy(image + head.id_offset, sf->id, NAME_SIZE);
	for (i = 0; i < sf->nr; i++) {
		desc = (void *)(image + head.desc_offset + i * desc_size);
		desc->flags = sf->rows[i].flags;
		desc->size = 1;
		desc->offset = i * sizeof(u64);
		memcpy(desc->name, sf->rows[i].name, NAME_SIZE);
		((u64 *)(image + head.data_offset))[i] = value(sf, &sf->rows[i]);
	}
	r = simple_read_from_buffer(buf, count, pos, image, size);
	kfree(image);
	return r;
}

static int stats_release(struct inode *inode, struct file *filp)
{
	struct stats_file *sf = filp->private_data;

	rl_vm_put(sf->vm);
	kfree(sf);
	return 0;
}

static const struct file_operations stats_fops = {
	.owner = THIS_MODULE,
	.read = stats_read,
	.release = stats_release,
	.llseek = noop_llseek,
};

/* Takes @sf over. */
static int stats_open(struct stats_file *sf, const char *name)
{
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		goto err_free;
	file = anon_inode_getfile(name, &stats_fops, sf, O_RDONLY);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		fd = PTR_ERR(file);
		goto err_free;
	}
	rl_vm_get(sf->vm);
	file->f_mode |= FMODE_PREAD;
	fd_install(fd, file);
	return fd;

err_free:
	kfree(sf);
	return fd;
}

/* KVM_GET_STATS_FD of a VM: a new descriptor, -ENOMEM, -EMFILE. */
int rl_vm_stats_fd(struct rl_vm *vm)
{
	struct stats_file *sf = kzalloc(sizeof(*sf), GFP_KERNEL_ACCOUNT);

	if (!sf)
		return -ENOMEM;
	sf->vm = vm;
	sf->stat = &vm->stat;
	sf->rows = vm_rows;
	sf->nr = ARRAY_SIZE(vm_rows);
	snprintf(sf->id, sizeof(sf->id), "kvm-%d", pid_nr(vm->owner.pid));
	return stats_open(sf, "ringlet-vm-stats");
}

int rl_vcpu_stats_fd(struct rl_vcpu *vcpu)
{
	struct stats_file *sf = kzalloc(sizeof(*sf), GFP_KERNEL_ACCOUNT);

	if (!sf)
		return -ENOMEM;
	sf->vm = vcpu->vm;
	sf->stat = &vcpu->stat;
	sf->rows = vcpu_rows;
	sf->nr = ARRAY_SIZE(vcpu_rows);
	snprintf(sf->id, sizeof(sf->id), "kvm-%d/vcpu-%u", pid_nr(vcpu->vm->owner.pid), vcpu->id);
	return stats_open(sf, "ringlet-vcpu-stats");
}
