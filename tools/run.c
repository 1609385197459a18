// SPDX-License-Identifier: GPL-2.0
/*
 * ringlet run: one virtual machine from its options to its end, with a main loop
 * that serves the console, signals and the devices' events beside the vCPUs.
 *
 * Owns:    the configuration, signals, privileges.
 * Touches: all parts of a VM, through vm.h and boot.h.
 * Locks:   none: runs in the main thread.
 */
#include <errno.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "boot.h"
#include "commands.h"
#include "console.h"
#include "disk.h"
#include "linux/ringlet.h"
#include "net.h"
#include "options.h"
#include "serial.h"
#include "virtio.h"

#define DEFAULT_CMDLINE	"console=ttyS0"
#define VIRTIO_CMDLINE	"console=hvc0"
#define MAX_DISK_QUEUES	32
#define MAX_DISK_THREADS VKERNEL_THREADS
#define DISK_THREADS	4
#define MEMORY_MIN	(4 * MiB)
#define BUSY_RETRY_MS	10

struct run_config {
	struct vm_config vm;
	struct boot_config boot;
	const char *kernel, *initrd, *user_cmdline;
	bool user_models, kernel_models;	/* asked for */
	char cmdline[CMDLINE_MAX + sizeof(DEFAULT_CMDLINE)];
};

static void set_hugepages(void *config, const char *value)
{
	((struct run_config *)config)->vm.hugepages = true;
}

static unsigned int to_number(const char *option, const char *value, unsigned int max)
{
	uint64_t n;

	if (!parse_number(value, &n))
		die_usage("%s: '%s' is not a number", option, value);
	if (!n)
		die("%s: at least 1 is needed", option);
	if (n > max)
		die("%s: %s is more than %u, the most this version supports", option, value, max);
	return n;
}

static void set_cpus(void *config, const char *value)
{
	((struct run_config *)config)->vm.cpus = to_number("--cpus", value, MAX_CPUS);
}

static void set_memory(void *config, const char *value)
{
	uint64_t bytes;

	if (!parse_size(value, &bytes))
		die_usage("--memory: '%s' is not a size (use 256M, 2G)", value);
	if (bytes % PAGE_SIZE)
		die("--memory: %s is not a multiple of 4K", value);
	if (bytes < MEMORY_MIN)
		die("--memory: %s is too small for any kernel", value);
	((struct run_config *)config)->vm.memory = bytes;
}

static void set_disk(void *config, const char *value)
{
	struct vm_config *vm = &((struct run_config *)config)->vm;
	struct disk_config *disk = &vm->disks[vm->ndisks];
	struct suboption sub;

	if (!suboption_next("--disk", &value, &sub) || !sub.name[0])
		die_usage("--disk: FILE is missing");
	if (vm->ndisks++ == MAX_DISKS)
		die("--disk: more than the %d disks of this version", MAX_DISKS);
	*disk = (struct disk_config){ .threads = DISK_THREADS };
	strcpy(disk->path, sub.text);
	while (suboption_next("--disk", &value, &sub)) {
		if (!strcmp(sub.name, "queues") && sub.has_value)
			disk->queues = to_number("--disk: queues", sub.value, MAX_DISK_QUEUES);
		else if (!strcmp(sub.name, "threads") && sub.has_value)
			disk->threads = to_number("--disk: threads", sub.value, MAX_DISK_THREADS);
		else if (!strcmp(sub.name, "ro") && !sub.has_value)
			disk->readonly = true;
		else if (!strcmp(sub.name, "direct") && !sub.has_value)
			disk->direct = true;
		else
			die_usage("--disk: '%s' is not one of ro, direct, queues=N, threads=N", sub.name);
	}
}

static void parse_mac(const char *value, uint8_t *mac)
{
	char end;

	if (sscanf(value, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%c", &mac[0], &mac[1], &mac[2],
		   &mac[3], &mac[4], &mac[5], &end) != 6 || mac[0] & 1)
		die_usage("--net: '%s' is not a unicast MAC address", value);
}

static void set_interface(char *name, const char *value)
{
	if (strlen(value) >= sizeof(((struct net_config *)0)->tap) || strpbrk(value, "/ "))
		die("--net: '%s' cannot be an interface's name", value);
	strcpy(name, value);
}

static void set_net(void *config, const char *value)
{
	struct vm_config *vm = &((struct run_config *)config)->vm;
	struct net_config *net = &vm->nets[vm->nnets];
	unsigned int backends = 0;
	struct suboption sub;

	if (vm->nnets++ == MAX_NETS)
		die("--net: more than the %d interfaces of this version", MAX_NETS);
	*net = (struct net_config){ .queues = 1 };
	while (suboption_next("--net", &value, &sub)) {
		if (!strcmp(sub.name, "mac") && sub.has_value)
			parse_mac(sub.value, net->mac);
		else if (!strcmp(sub.name, "queues") && sub.has_value)
			net->queues = to_number("--net: queues", sub.value, ARRAY_SIZE(net->fd));
		else if (!strcmp(sub.name, "tap") && sub.value[0] && ++backends)
			set_interface(net->tap, sub.value);
		else if (!strcmp(sub.name, "bridge") && sub.value[0] && ++backends)
			set_interface(net->bridge, sub.value);
		else if (strcmp(sub.name, "user") || sub.has_value || !++backends)
			die_usage("--net: '%s' is not one of %s", sub.name,
				  "tap=NAME, bridge=NAME, user, mac=MAC, queues=N");
	}
	if (backends != 1)
		die_usage("--net: one of tap=NAME, bridge=NAME, user is needed");
	if (net_is_user(net) && net->queues > 1)
		die("--net: user: queues=N is for a tap or bridge");
}

static void set_rng(void *config, const char *value)
{
	((struct run_config *)config)->vm.rng = true;
}

static void set_balloon(void *config, const char *value)
{
	struct vm_config *vm = &((struct run_config *)config)->vm;

	vm->balloon = true;
	if (strcmp(value, "0") && !parse_size(value, &vm->balloon_size))
		die_usage("--balloon: '%s' is not a size (use 0, 64M, 1G)", value);
}

static void set_console(void *config, const char *value)
{
	struct vm_config *vm = &((struct run_config *)config)->vm;

	vm->virtio_console = !strcmp(value, "virtio");
	if (!vm->virtio_console && strcmp(value, "serial"))
		die_usage("--console: '%s' is neither serial nor virtio", value);
}

static void set_device_model(void *config, const char *value)
{
	if (strcmp(value, "kernel") && strcmp(value, "user"))
		die_usage("--device-model: '%s' is neither kernel nor user", value);
	((struct run_config *)config)->user_models = !strcmp(value, "user");
	((struct run_config *)config)->kernel_models = !strcmp(value, "kernel");
}

static const struct option_row run_options[] = {
	{ "--kernel", "FILE", "bzImage, or ELF vmlinux with a PVH entry; always needed",
	  NULL, offsetof(struct run_config, kernel) },
	{ "--initrd", "FILE", "initial RAM disk", NULL, offsetof(struct run_config, initrd) },
	{ "--cmdline", "STRING", "kernel command line; '" DEFAULT_CMDLINE "' comes before it,\n"
	  "unless it names a console itself", NULL, offsetof(struct run_config, user_cmdline) },
	{ "--cpus", "N", "virtual CPUs (1)", set_cpus, 0 },
	{ "--memory", "SIZE", "guest memory, like 256M or 2G (256M)", set_memory, 0 },
	{ "--hugepages", NULL, "take guest memory from the host's reserved huge pages",
	  set_hugepages, 0 },
	{ "--disk", "FILE[,ro][,direct][,queues=N][,threads=N]",
	  "disk: a raw image or block device; read-only; past the\n"
	  "host's page cache; queues, else one for each vCPU; threads\n"
	  "for the module, each for one request that has to wait (4).\n"
	  "May be given several times", set_disk, 0 },
	{ "--net", "tap=NAME|bridge=NAME|user[,mac=MAC][,queues=N]",
	  "network interface: a tap or macvtap, made if there is\n"
	  "none; a new tap on a bridge, made likewise; or 10.0.2.0/24\n"
	  "with the host as 10.0.2.2, which needs no rights. May be\n"
	  "given several times", set_net, 0 },
	{ "--device-model", "kernel|user",
	  "who serves disks, taps and bridges: the module (kernel,\n"
	  "where it can) or this program", set_device_model, 0 },
	{ "--rng", NULL, "give the guest the host's random numbers", set_rng, 0 },
	{ "--balloon", "SIZE", "take so much of its memory back from the guest, and what it\n"
	  "reports to be free (0: only that)", set_balloon, 0 },
	{ "--console", "serial|virtio", "what this terminal is to the guest (serial)",
	  set_console, 0 },
	{ "--device", "PATH", "the hypervisor's node (" DEFAULT_DEVICE ")",
	  NULL, offsetof(struct run_config, vm.device) },
	{ NULL },
};

static void run_help(void)
{
	printf("Usage: ringlet run --kernel FILE [OPTION]...\n"
	       "Run a virtual machine with its serial console on this terminal.\n\n");
	options_print(run_options);
	printf("\nOn a terminal, Ctrl-A x ends the virtual machine and Ctrl-A h lists what else\n"
	       "Ctrl-A does. Other input is handed to the guest as it asks for it, and its end\n"
	       "does not end the guest. When the guest powers off the exit status is 0; when it\n"
	       "resets it is started again.\n\n"
	       "Example: ringlet run --kernel /boot/vmlinuz --initrd initrd.img --memory 512M\n");
}

static void build_cmdline(struct run_config *config)
{
	const char *user = config->user_cmdline ?: "";
	bool named = !strncmp(user, "console=", 8) || strstr(user, " console=");

	if (strlen(user) >= CMDLINE_MAX)
		die("--cmdline: %zu characters are too long", strlen(user));
	snprintf(config->cmdline, sizeof(config->cmdline), "%s%s%s",
		 named ? "" : config->vm.virtio_console ? VIRTIO_CMDLINE : DEFAULT_CMDLINE,
		 named || !user[0] ? "" : " ", user);
	config->boot.cmdline = config->cmdline;
}

/*
 * From here on nothing needs more than what is open. A guest that breaks out of
 * the device models finds no capability and no set-uid program to use.
 */
static void drop_privileges(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2] = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_capset, &head, none))
		die("cannot drop privileges: %s", strerror(errno));
}

/* Signals are read by the main loop; vCPU threads inherit the mask, and take kicks. */
static int open_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGQUIT);
	sigaddset(&set, SIGCONT);
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		die("signalfd: %s", strerror(errno));
	return fd;
}

static void handle_signal(struct vm *vm, int signal_fd)
{
	struct signalfd_siginfo info;

	if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCONT) {
		console_resume();
		return;
	}
	if (info.ssi_signo == SIGWINCH) {
		if (vm->console)
			virtio_console_resized(vm->console);
		return;
	}
	atomic_store(&vm->signal, info.ssi_signo);
	vm_stop(vm, VM_SIGNAL);
}

/* What the user typed and the guest has not taken yet; a reset does not lose it. */
struct input {
	uint8_t data[256];
	int len;
	bool brk;
};

static void read_input(struct vm *vm, struct input *in)
{
	enum console_key key;

	in->len += console_read(in->data + in->len, sizeof(in->data) - in->len, &key);
	if (key == CONSOLE_BREAK)
		in->brk = true;
	if (key == CONSOLE_QUIT)
		vm_stop(vm, VM_QUIT);
	if (console_input_ended())
		vm_stop(vm, VM_SIGNAL);
}

/* Returns whether to try again soon, because the port was busy. */
static bool feed(struct vm *vm, struct input *in)
{
	int taken = 0;

	if (in->len && vm->console)
		taken = virtio_console_feed(vm->console, in->data, in->len);
	else if (in->len)
		taken = serial_feed(vm->serial, in->data, in->len);
	if (taken > 0) {
		in->len -= taken;
		memmove(in->data, in->data + taken, in->len);
	}
	if (in->brk)
		in->brk = !serial_break(vm->serial);
	return taken < 0 || in->brk;
}

/* Serve console, signals and devices until the VM stops. */
static void main_loop(struct vm *vm, struct input *in, int signal_fd)
{
	enum { SIGNALS, STOP, INPUT, EVENTS };
	struct pollfd fds[EVENTS + ARRAY_SIZE(vm->events)];

	fds[SIGNALS] = (struct pollfd){ .fd = signal_fd, .events = POLLIN };
	fds[STOP] = (struct pollfd){ .fd = vm->stop_fd, .events = POLLIN };
	for (unsigned int i = 0; i < vm->nevents; i++)
		fds[EVENTS + i] = (struct pollfd){ .fd = vm->events[i].fn ? vm->events[i].fd : -1,
						   .events = POLLIN };

	while (vm_stopped(vm) == VM_RUNNING) {
		bool busy = feed(vm, in);
		/* The escape key works even if the guest takes nothing; a file waits. */
		bool room = in->len < (int)sizeof(in->data) || console_is_raw();

		fds[INPUT] = (struct pollfd){ .fd = room ? console_input_fd() : -1,
					      .events = POLLIN };
		if (poll(fds, EVENTS + vm->nevents, busy ? BUSY_RETRY_MS : -1) < 0)
			continue;
		if (fds[SIGNALS].revents)
			handle_signal(vm, signal_fd);
		if (fds[INPUT].revents)
			read_input(vm, in);
		for (unsigned int i = 0; i < vm->nevents; i++)
			if (fds[EVENTS + i].revents)
				vm->events[i].fn(vm->events[i].dev);
	}
}

/* One life of the guest, from power-on to poweroff or reset. */
static enum vm_stop run_once(struct run_config *config, struct input *in, int signal_fd,
			     int *signal)
{
	struct vm *vm = vm_create(&config->vm);
	enum vm_stop why;

	boot_load(vm, &config->boot);
	for (unsigned int i = 0; i < config->vm.cpus; i++)
		vcpu_start(&vm->vcpus[i]);
	main_loop(vm, in, signal_fd);
	for (unsigned int i = 0; i < config->vm.cpus; i++)
		vcpu_join(&vm->vcpus[i]);
	serial_flush(vm->serial);
	why = vm_stopped(vm);
	*signal = atomic_load(&vm->signal);
	vm_destroy(vm);
	return why;
}

/* The module's data planes, unless the user or what the hypervisor is says otherwise. */
static void choose_models(struct run_config *config)
{
	struct ringlet_caps caps;

	uint32_t needed = 0;

	if (!config->user_models && vkernel_caps(config->vm.device_fd, &caps))
		config->vm.kernel_types = caps.types;
	if (config->vm.ndisks)
		needed |= BIT(RINGLET_DEVICE_BLK);
	for (unsigned int i = 0; i < config->vm.nnets; i++)
		if (!net_is_user(&config->vm.nets[i]))
			needed |= BIT(RINGLET_DEVICE_NET);
	if (config->kernel_models && (needed & ~config->vm.kernel_types))
		die("--device-model: %s cannot serve %s: use user", config->vm.device,
		    needed & ~config->vm.kernel_types & BIT(RINGLET_DEVICE_BLK) ? "disks" :
										"networks");
}

static void open_net(struct net_config *net)
{
	static const uint8_t none[sizeof(net->mac)];

	if (!net_is_user(net))
		net_tap_open(net);
	if (!memcmp(net->mac, none, sizeof(none)))
		net_random_mac(net->mac);
}

static void open_files(struct run_config *config)
{
	if (!config->kernel)
		die_usage("--kernel is missing (see ringlet run --help)");
	build_cmdline(config);
	image_open(&config->boot.kernel, "--kernel", config->kernel);
	if (config->initrd)
		image_open(&config->boot.initrd, "--initrd", config->initrd);
	boot_check(&config->boot, config->vm.memory);
	if (config->vm.balloon_size >= config->vm.memory)
		die("--balloon: %lluM is not less than the guest's memory",
		    (unsigned long long)config->vm.balloon_size / MiB);
	for (unsigned int i = 0; i < config->vm.ndisks; i++)
		disk_open(&config->vm.disks[i]);
	config->vm.device_fd = hypervisor_open(config->vm.device);
	choose_models(config);
	/* One for each vCPU, so that none waits for another; --disk may name its own number. */
	for (unsigned int i = 0; i < config->vm.ndisks; i++)
		if (!config->vm.disks[i].queues)
			config->vm.disks[i].queues = config->vm.cpus < MAX_DISK_QUEUES ?
						     config->vm.cpus : MAX_DISK_QUEUES;
	for (unsigned int i = 0; i < config->vm.nnets; i++)
		open_net(&config->vm.nets[i]);
}

/** cmd_run() - The run command */
int cmd_run(int argc, char **argv)
{
	static struct run_config config = {
		.vm = { .device = DEFAULT_DEVICE, .cpus = 1, .memory = 256 * MiB },
	};
	struct input in = { 0 };
	int signal_fd, signal = 0;
	enum vm_stop why;

	options_parse("run", run_options, &config, argc, argv, run_help);
	open_files(&config);
	drop_privileges();
	signal_fd = open_signals();
	for (unsigned int i = 0; i < config.vm.nnets; i++)
		if (net_is_user(&config.vm.nets[i]))
			net_user_start(&config.vm.nets[i]);
	console_open();
	do {
		why = run_once(&config, &in, signal_fd, &signal);
	} while (why == VM_RESET);
	console_restore();

	if (why == VM_SIGNAL)
		return STATUS_SIGNAL + (signal ?: SIGHUP);
	return why == VM_ERROR ? STATUS_ERROR : STATUS_OK;
}
