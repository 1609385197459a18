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
#include "options.h"
#include "serial.h"
#include "vm.h"

#define DEFAULT_CMDLINE	"console=ttyS0"
#define MEMORY_MIN	(4 * MiB)
#define BUSY_RETRY_MS	10

struct run_config {
	struct vm_config vm;
	struct boot_config boot;
	const char *kernel, *initrd, *user_cmdline;
	bool disk, net;			/* asked for */
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
	struct suboption sub;

	if (!suboption_next("--disk", &value, &sub) || !sub.name[0] || sub.has_value)
		die_usage("--disk: FILE is missing");
	while (suboption_next("--disk", &value, &sub)) {
		if (!strcmp(sub.name, "queues") && sub.has_value)
			to_number("--disk: queues", sub.value, 256);
		else if ((strcmp(sub.name, "ro") && strcmp(sub.name, "direct")) || sub.has_value)
			die_usage("--disk: '%s' is not one of ro, direct, queues=N", sub.name);
	}
	((struct run_config *)config)->disk = true;
}

static void check_mac(const char *value)
{
	unsigned int mac[6];
	char end;

	if (sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%c", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4],
		   &mac[5], &end) != 6 || mac[0] & 1)
		die_usage("--net: '%s' is not a unicast MAC address", value);
}

static void set_net(void *config, const char *value)
{
	unsigned int backends = 0;
	struct suboption sub;

	while (suboption_next("--net", &value, &sub)) {
		bool named = !strcmp(sub.name, "tap") || !strcmp(sub.name, "bridge");

		if (!strcmp(sub.name, "mac") && sub.has_value)
			check_mac(sub.value);
		else if (named ? sub.value[0] : !strcmp(sub.name, "user") && !sub.has_value)
			backends++;
		else
			die_usage("--net: '%s' is not one of tap=NAME, bridge=NAME, user, mac=MAC",
				  sub.name);
	}
	if (backends != 1)
		die_usage("--net: one of tap=NAME, bridge=NAME, user is needed");
	((struct run_config *)config)->net = true;
}

static void set_device_model(void *config, const char *value)
{
	if (strcmp(value, "kernel") && strcmp(value, "user"))
		die_usage("--device-model: '%s' is neither kernel nor user", value);
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
	{ "--disk", "FILE[,ro][,direct][,queues=N]",
	  "disk (not supported by this version)", set_disk, 0 },
	{ "--net", "tap=NAME|bridge=NAME|user[,mac=MAC]",
	  "network interface (not supported by this version)", set_net, 0 },
	{ "--device-model", "kernel|user",
	  "who serves disks and network: the module (kernel) or\n"
	  "this program", set_device_model, 0 },
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
	snprintf(config->cmdline, sizeof(config->cmdline), "%s%s%s", named ? "" : DEFAULT_CMDLINE,
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
	int taken = in->len ? serial_feed(vm->serial, in->data, in->len) : 0;

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

static void open_files(struct run_config *config)
{
	if (!config->kernel)
		die_usage("--kernel is missing (see ringlet run --help)");
	if (config->disk)
		die("--disk: not supported by this version");
	if (config->net)
		die("--net: not supported by this version");
	build_cmdline(config);
	image_open(&config->boot.kernel, "--kernel", config->kernel);
	if (config->initrd)
		image_open(&config->boot.initrd, "--initrd", config->initrd);
	boot_check(&config->boot, config->vm.memory);
	config->vm.device_fd = hypervisor_open(config->vm.device);
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
	console_open();
	do {
		why = run_once(&config, &in, signal_fd, &signal);
	} while (why == VM_RESET);
	console_restore();

	if (why == VM_SIGNAL)
		return STATUS_SIGNAL + (signal ?: SIGHUP);
	return why == VM_ERROR ? STATUS_ERROR : STATUS_OK;
}
