// SPDX-License-Identifier: GPL-2.0
/*
 * One virtual machine: what is created for it, in which order, and its end.
 * A guest's reset ends one VM and creates the next.
 *
 * Owns:    struct vm and its descriptors.
 * Touches: every other part, through its create or start function.
 * Locks:   none: vm_stop() is atomic, all else happens without vCPUs running.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "virtio.h"

/* In this order; ranges that come first are found first. */
static const struct {
	const char *name;
	void (*start)(struct vm *vm);
} device_models[] = {
	{ "16550A serial port",		serial_start },
	{ "CMOS clock",			rtc_start },
	{ "keyboard controller",	i8042_start },
	{ "ACPI power management",	acpi_pm_start },
	{ "reset ports",		reset_start },
	{ "PCI bus",			pci_start },
	{ "virtio disks",		virtio_blk_start },
	{ "virtio networks",		virtio_net_start },
	{ "virtio entropy source",	virtio_rng_start },
	{ "virtio balloon",		virtio_balloon_start },
	{ "virtio console",		virtio_console_start },
};

static const struct {
	int cap;
	const char *name;
} required[] = {
	{ KVM_CAP_USER_MEMORY,		"KVM_CAP_USER_MEMORY" },
	{ KVM_CAP_IRQCHIP,		"KVM_CAP_IRQCHIP" },
	{ KVM_CAP_PIT2,			"KVM_CAP_PIT2" },
	{ KVM_CAP_EXT_CPUID,		"KVM_CAP_EXT_CPUID" },
	{ KVM_CAP_MP_STATE,		"KVM_CAP_MP_STATE" },
	{ KVM_CAP_IMMEDIATE_EXIT,	"KVM_CAP_IMMEDIATE_EXIT" },
};

/**
 * hypervisor_open() - Open the hypervisor's node and see that it is one
 *
 * Return: its file descriptor; dies when it is not to be used.
 */
int hypervisor_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int version;

	if (fd < 0) {
		const char *hint = "";

		if (errno == ENOENT)
			hint = " (is the module loaded?)";
		else if (errno == EACCES)
			hint = " (may you read and write it?)";
		die("%s: %s%s", path, strerror(errno), hint);
	}
	version = ioctl(fd, KVM_GET_API_VERSION, 0);
	if (version < 0)
		die("%s: not a hypervisor: %s", path, strerror(errno));
	if (version != KVM_API_VERSION)
		die("%s: has API version %d, not %d", path, version, KVM_API_VERSION);
	return fd;
}

static int create_fd(const struct vm_config *config)
{
	const char *hint = "";
	int fd;

	do {
		fd = ioctl(config->device_fd, KVM_CREATE_VM, 0);
	} while (fd < 0 && errno == EINTR);
	if (fd >= 0)
		return fd;
	if (errno == EBUSY)
		hint = " (another hypervisor uses the CPU's virtualization, see dmesg)";
	die("%s: cannot create a virtual machine: %s%s", config->device, strerror(errno), hint);
}

static void check_capabilities(struct vm *vm)
{
	const struct vm_config *config = vm->config;
	unsigned int bits = cpuid_physical_bits(vm->cpuid);
	int max;

	for (unsigned int i = 0; i < ARRAY_SIZE(required); i++)
		if (ioctl(config->device_fd, KVM_CHECK_EXTENSION, required[i].cap) <= 0)
			die("%s: does not offer %s", config->device, required[i].name);

	max = ioctl(config->device_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (max <= 0)
		max = ioctl(config->device_fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_VCPUS);
	if (max <= 0)
		max = 4;	/* what the API's description says to assume */
	if (config->cpus > (unsigned int)max)
		die("--cpus: %u is more than the %d that %s offers", config->cpus, max,
		    config->device);
	if (config->memory > (1ULL << bits) - (GPA_ABOVE_HOLE - GPA_HOLE))
		die("--memory: more than the %u physical address bits of this CPU can reach", bits);
}

/**
 * vm_ioctl() - An ioctl on the VM that only fails for want of memory or by mistake
 *
 * Return: its result, or -1 with errno set. Dies when it is not known at all.
 */
int vm_ioctl(struct vm *vm, unsigned long cmd, const char *name, void *arg)
{
	int ret;

	do {
		ret = ioctl(vm->fd, cmd, arg);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0 && errno == ENOTTY)
		die("%s: does not offer %s", vm->config->device, name);
	return ret;
}

static void must(int ret, const char *what)
{
	if (ret < 0)
		die("%s: %s", what, strerror(errno));
}

static void create_irqchip(struct vm *vm)
{
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	uint64_t identity_map = GPA_IDENTITY_MAP;

	/* Pages that VMX needs for real mode where the CPU cannot run it by itself. */
	if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0)
		must(vm_ioctl(vm, KVM_SET_TSS_ADDR, "KVM_SET_TSS_ADDR", (void *)GPA_TSS),
		     "KVM_SET_TSS_ADDR");
	if (ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_IDENTITY_MAP_ADDR) > 0)
		must(vm_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, "KVM_SET_IDENTITY_MAP_ADDR",
			      &identity_map), "KVM_SET_IDENTITY_MAP_ADDR");

	must(vm_ioctl(vm, KVM_CREATE_IRQCHIP, "KVM_CREATE_IRQCHIP", NULL), "KVM_CREATE_IRQCHIP");
	must(vm_ioctl(vm, KVM_CREATE_PIT2, "KVM_CREATE_PIT2", &pit), "KVM_CREATE_PIT2");
}

/**
 * vm_create() - A VM with memory, interrupt controllers, vCPUs and devices
 *
 * What is left is to load a kernel and to start the vCPUs.
 */
struct vm *vm_create(const struct vm_config *config)
{
	struct vm *vm = xcalloc(1, sizeof(*vm));
	int size;

	vm->config = config;
	vm->cpuid = cpuid_supported(config->device_fd);
	check_capabilities(vm);
	vm->fd = create_fd(config);
	vm->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	must(vm->stop_fd, "eventfd");

	create_irqchip(vm);
	memory_create(vm);

	size = ioctl(config->device_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	must(size, "KVM_GET_VCPU_MMAP_SIZE");
	vm->run_size = size;
	vm->vcpus = xcalloc(config->cpus, sizeof(*vm->vcpus));
	for (unsigned int i = 0; i < config->cpus; i++)
		vcpu_create(vm, i);

	for (unsigned int i = 0; i < ARRAY_SIZE(device_models); i++)
		device_models[i].start(vm);
	return vm;
}

/** vm_destroy() - Give everything back; no vCPU thread is left */
void vm_destroy(struct vm *vm)
{
	for (unsigned int i = 0; i < vm->nvirtio; i++)
		virtio_destroy(vm->virtio[i]);
	for (unsigned int i = 0; i < vm->nevents; i++)
		close(vm->events[i].fd);
	for (unsigned int i = 0; i < vm->nowned; i++)
		free(vm->owned[i]);
	for (unsigned int i = 0; i < vm->config->cpus; i++)
		vcpu_destroy(&vm->vcpus[i]);
	close(vm->fd);
	memory_destroy(vm);
	close(vm->stop_fd);
	free(vm->vcpus);
	free(vm->cpuid);
	free(vm);
}

/**
 * vm_stop() - Ask for the VM's end, from any thread
 * @why: kept, unless the VM is being stopped already; but the user's wish to end
 *       it outranks a reset, which would start it again
 */
void vm_stop(struct vm *vm, enum vm_stop why)
{
	int old = VM_RUNNING;

	while (!atomic_compare_exchange_strong(&vm->stop, &old, why))
		if (old != VM_RESET || why < VM_QUIT)
			return;
	eventfd_write(vm->stop_fd, 1);
}

/**
 * vm_given_up() - Has the user lost interest in what the guest still has to say?
 *
 * Once the VM has stopped nobody reads the signals that wait to be read.
 */
bool vm_given_up(struct vm *vm)
{
	enum vm_stop why = vm_stopped(vm);
	sigset_t set;

	if (why == VM_RUNNING || why >= VM_QUIT)
		return why != VM_RUNNING;
	sigpending(&set);
	return sigismember(&set, SIGTERM) || sigismember(&set, SIGINT) ||
	       sigismember(&set, SIGHUP) || sigismember(&set, SIGQUIT);
}

/** vm_irq_line() - Drive an interrupt line of the ISA bus */
void vm_irq_line(struct vm *vm, unsigned int irq, bool level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

/**
 * vm_add_event() - Have the main loop call a device when a descriptor is readable
 * @fd: belongs to the VM from now on
 */
void vm_add_event(struct vm *vm, int fd, void (*fn)(void *dev), void *dev)
{
	must(fd, "cannot create a device's event");
	if (vm->nevents == ARRAY_SIZE(vm->events))
		die("internal error: too many device events");
	vm->events[vm->nevents++] = (struct event){ fd, fn, dev };
}

/** vm_add_fd() - A descriptor that lives as long as the VM, and that nobody waits for */
void vm_add_fd(struct vm *vm, int fd)
{
	vm_add_event(vm, fd, NULL, NULL);
}

/** vm_alloc() - Zeroed memory that lives as long as the VM */
void *vm_alloc(struct vm *vm, size_t size)
{
	if (vm->nowned == ARRAY_SIZE(vm->owned))
		die("internal error: too many devices");
	return vm->owned[vm->nowned++] = xcalloc(1, size);
}

/** vm_add_virtio() - A virtio device ends before the memory that it serves */
void vm_add_virtio(struct vm *vm, struct virtio_dev *dev)
{
	if (vm->nvirtio == ARRAY_SIZE(vm->virtio))
		die("internal error: too many virtio devices");
	vm->virtio[vm->nvirtio++] = dev;
}
