/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_VM_H
#define RINGLET_VM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "util.h"

/*
 * Guest physical address space. RAM fills it from the bottom up to the hole
 * below 4 GiB, which holds the APICs and is free for devices, and goes on at 4 GiB.
 */
#define GPA_EBDA	0x9fc00ULL	/* end of conventional memory */
#define GPA_ACPI	0xe0000ULL	/* where BIOSes put it, and where Linux looks */
#define GPA_ACPI_END	0x100000ULL
#define GPA_HIGH_MEMORY	0x100000ULL
#define GPA_HOLE	(3 * GiB)
#define GPA_PCI		GPA_HOLE	/* the window of the DSDT's _CRS */
#define GPA_PCI_END	0xe0000000ULL
#define GPA_IOAPIC	0xfec00000ULL
#define GPA_LAPIC	0xfee00000ULL
#define GPA_IDENTITY_MAP 0xfffbc000ULL	/* for CPUs without unrestricted guest */
#define GPA_TSS		0xfffbd000ULL	/* likewise, three pages */
#define GPA_ABOVE_HOLE	(4 * GiB)

/* APIC IDs are the vCPU numbers, and 255 is broadcast. */
#define MAX_CPUS	255

enum { IRQ_SERIAL = 4, IRQ_RTC = 8, IRQ_SCI = 9 };

/* Why a VM ended. From VM_QUIT on it is not the guest's doing. */
enum vm_stop {
	VM_RUNNING,
	VM_POWEROFF,		/* by the guest */
	VM_RESET,		/* by the guest */
	VM_QUIT,		/* by the escape key */
	VM_SIGNAL,		/* signal in vm->signal, or the terminal went away */
	VM_ERROR,		/* reported already */
};

#define MAX_DISKS	16
#define MAX_NETS	8

struct disk_config {
	char path[256];
	bool readonly, direct;
	unsigned int queues;
	unsigned int threads;		/* lent to the module */
	int fd;
};

struct net_config {
	char tap[16], bridge[16];	/* which of them is set; none: user */
	uint8_t mac[6];
	unsigned int queues;		/* pairs */
	int fd[16];			/* of the tap */
};

struct vm_config {
	const char *device;	/* hypervisor node */
	int device_fd;
	unsigned int cpus;
	uint64_t memory;
	bool hugepages;
	uint32_t kernel_types;	/* bit n: the module serves devices of type n */
	bool rng, virtio_console;
	bool balloon;
	uint64_t balloon_size;	/* to take from the guest */
	struct disk_config disks[MAX_DISKS];
	struct net_config nets[MAX_NETS];
	unsigned int ndisks, nnets;
};

struct vm;
struct virtio_dev;

/*
 * A device model answers on ranges of the port or memory space. @offset counts
 * from the start of the range; @size is 1, 2, 4 or, for memory, 8. The bus holds
 * the device's lock, if it gave one, around each call, and reads all ones where
 * nobody answers.
 */
struct io_ops {
	uint64_t (*read)(void *dev, uint64_t offset, unsigned int size);
	void (*write)(void *dev, uint64_t offset, unsigned int size, uint64_t value);
};

struct io_range {
	uint64_t base, len;
	const struct io_ops *ops;
	pthread_mutex_t *lock;
	void *dev;
};

struct bus {
	struct io_range range[24];
	unsigned int count;
};

/* Something the main loop waits for: calls @fn, if any, when @fd is readable. */
struct event {
	int fd;
	void (*fn)(void *dev);
	void *dev;
};

struct vcpu {
	struct vm *vm;
	unsigned int id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
};

/*
 * [c] set at creation, before any thread starts
 * [a] atomic
 */
struct vm {
	const struct vm_config *config;	/* [c] */
	int fd;				/* [c] */
	int stop_fd;			/* [c] eventfd, readable once stopped */
	size_t run_size;		/* [c] of each vCPU's shared page */

	uint8_t *ram;			/* [c] all of it, in one piece */
	uint64_t ram_low;		/* [c] bytes below the hole, the rest is above 4 GiB */

	struct kvm_cpuid2 *cpuid;	/* [c] what the hypervisor supports */
	struct vcpu *vcpus;		/* [c] */
	struct bus pio, mmio;		/* [c] */
	struct event events[8];		/* [c] */
	unsigned int nevents;		/* [c] */
	void *owned[64];		/* [c] devices' state, freed with the VM */
	unsigned int nowned;		/* [c] */
	struct serial *serial;		/* [c] */
	struct pci *pci;		/* [c] */
	struct virtio_dev *virtio[32];	/* [c] */
	unsigned int nvirtio;		/* [c] */
	struct virtio_dev *console;	/* [c] that takes what the user types, or NULL */

	atomic_int stop;		/* [a] enum vm_stop */
	atomic_int signal;		/* [a] */
};

/* vm.c */
int hypervisor_open(const char *path);
struct vm *vm_create(const struct vm_config *config);
void vm_destroy(struct vm *vm);
void vm_stop(struct vm *vm, enum vm_stop why);
bool vm_given_up(struct vm *vm);
void vm_irq_line(struct vm *vm, unsigned int irq, bool level);
void vm_add_event(struct vm *vm, int fd, void (*fn)(void *dev), void *dev);
void vm_add_fd(struct vm *vm, int fd);
void *vm_alloc(struct vm *vm, size_t size);
void vm_add_virtio(struct vm *vm, struct virtio_dev *dev);
int vm_ioctl(struct vm *vm, unsigned long cmd, const char *name, void *arg);
static inline enum vm_stop vm_stopped(struct vm *vm)
{
	return atomic_load_explicit(&vm->stop, memory_order_acquire);
}

/* memory.c */
void memory_create(struct vm *vm);
void memory_destroy(struct vm *vm);
void memory_discard(struct vm *vm, void *p, uint64_t len);
void *guest_ptr(struct vm *vm, uint64_t gpa, uint64_t len);

/* vcpu.c */
void vcpu_create(struct vm *vm, unsigned int id);
void vcpu_start(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);
void vcpu_destroy(struct vcpu *vcpu);

/* cpuid.c */
struct kvm_cpuid2 *cpuid_supported(int device_fd);
const struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *table, uint32_t function);
unsigned int cpuid_physical_bits(const struct kvm_cpuid2 *table);
struct kvm_cpuid2 *cpuid_for_vcpu(struct vm *vm, unsigned int id);

/* bus.c */
void bus_add(struct bus *bus, uint64_t base, uint64_t len, const struct io_ops *ops,
	     pthread_mutex_t *lock, void *dev);
void bus_read(struct bus *bus, uint64_t addr, void *data, unsigned int size);
void bus_write(struct bus *bus, uint64_t addr, const void *data, unsigned int size);

/* Device models: one file each, started in the order of the table in vm.c. */
void serial_start(struct vm *vm);
void rtc_start(struct vm *vm);
void i8042_start(struct vm *vm);
void acpi_pm_start(struct vm *vm);
void reset_start(struct vm *vm);
void pci_start(struct vm *vm);
void virtio_blk_start(struct vm *vm);
void virtio_net_start(struct vm *vm);
void virtio_rng_start(struct vm *vm);
void virtio_balloon_start(struct vm *vm);
void virtio_console_start(struct vm *vm);

#endif
