// SPDX-License-Identifier: GPL-2.0
/*
 * What a hypervisor costs its host, in instructions and in memory: one program
 * that speaks the KVM ABI, for kvm.ko and ringlet.ko alike, in a host whose TSC
 * counts instructions. It prints lines "NAME NUMBER".
 *
 *	bench DEVICE [CASE]...		instructions per operation, all cases
 *	bench DEVICE steady CASE...	the cases in turn for ever, for a tracer
 *	bench DEVICE memory N		KiB of kernel memory per idle VM, of N
 *	bench floor			what the host does without a hypervisor
 *	bench boot TEXT COMMAND...	millions of instructions until a command's
 *					output holds the text
 *
 * Owns:    the tiny guests and user space's loop behind them.
 * Touches: nothing that the project shares; reads /proc.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPS		200
#define RUNS		3
#define STEADY_OPS	10		/* short rounds make a short trace */
#define CODE		0x1000		/* a case's code tells which it is: */
#define CODE_STEP	0x100		/* see trace.pl */
#define DONE_PORT	0xf1		/* the guest's result in EAX */
#define USER_PORT	0xe0
#define EVENT_PORT	0xe2
#define MMIO		0xb8000		/* no memory there */
#define TOUCH		0x1000000
#define TOUCH_SIZE	(4 * OPS * 4096ul)

#define STR_(x)	#x
#define STR(x)	STR_(x)

/*
 * The frame around an operation: ESI counts down, EBP holds the start, EAX brings
 * the result. CPUID and RDMSR may use the rest.
 */
#define GUEST(name, setup, op)						\
	asm(".pushsection .rodata\n\t.code16\n"				\
	    #name "_begin:\n\t" setup					\
	    "\n\trdtsc\n\tmov %eax, %ebp"				\
	    "\n0:\t" op "\n\tdec %esi\n\tjnz 0b"			\
	    "\n\trdtsc\n\tsub %ebp, %eax"				\
	    "\n\tmov $" STR(DONE_PORT) ", %dx\n\tout %eax, %dx"		\
	    "\n" #name "_end:\n\t.code64\n\t.popsection");		\
	extern const char name##_begin[], name##_end[]

GUEST(guest_empty, "", "");
GUEST(guest_cpuid, "", "xor %eax, %eax\n\tcpuid");
GUEST(guest_rdmsr, "", "mov $0x1b, %ecx\n\trdmsr");
GUEST(guest_out_event, "mov $" STR(EVENT_PORT) ", %dx", "mov $" STR(EVENT_PORT) ", %dx\n\tout %al, %dx");
GUEST(guest_out_user, "", "mov $" STR(USER_PORT) ", %dx\n\tout %al, %dx");
GUEST(guest_mmio_event, "mov $0xb800, %ax\n\tmov %ax, %ds", "mov %eax, (0)");
GUEST(guest_mmio_user, "mov $0xb800, %ax\n\tmov %ax, %ds", "mov %eax, (0x100)");

/* The same frame in 32-bit protected mode, with segments set by user space. */
asm(".pushsection .rodata\n\t.code32\n"
    "guest_touch_begin:\n\t"
    "rdtsc\n\tmov %eax, %ebp\n"
    "0:\tmov %eax, (%edi)\n\tadd $4096, %edi\n\tdec %esi\n\tjnz 0b\n\t"
    "rdtsc\n\tsub %ebp, %eax\n\tmov $" STR(DONE_PORT) ", %dx\n\tout %eax, %dx\n"
    "guest_touch_end:\n\t.code64\n\t.popsection");
extern const char guest_touch_begin[], guest_touch_end[];

struct vm {
	int fd, vcpu;
	struct kvm_run *run;
	uint8_t *low, *touch;
};

static int xioctl(int fd, unsigned long cmd, unsigned long arg, const char *what)
{
	int r = ioctl(fd, cmd, arg);

	if (r < 0)
		err(1, "%s", what);
	return r;
}

static void *memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	/* One page at a time is what is counted; no kernel without THP minds. */
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

static void add_slot(struct vm *vm, int slot, uint64_t gpa, void *host, size_t size)
{
	struct kvm_userspace_memory_region mem = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	xioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, (unsigned long)&mem, "memory region");
}

static void add_event(struct vm *vm, uint64_t addr, int len, int flags)
{
	struct kvm_ioeventfd ev = {
		.addr = addr,
		.len = len,
		.fd = eventfd(0, EFD_NONBLOCK),
		.flags = flags,
	};

	if (ev.fd < 0)
		err(1, "eventfd");
	xioctl(vm->fd, KVM_IOEVENTFD, (unsigned long)&ev, "ioeventfd");
}

static void create(struct vm *vm, int dev)
{
	int size = xioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0, "vCPU mmap size");

	vm->fd = xioctl(dev, KVM_CREATE_VM, 0, "create VM");
	vm->low = memory(0x10000);
	vm->touch = memory(TOUCH_SIZE);
	add_slot(vm, 0, 0, vm->low, 0x10000);
	add_slot(vm, 1, TOUCH, vm->touch, TOUCH_SIZE);
	xioctl(vm->fd, KVM_CREATE_IRQCHIP, 0, "irqchip");
	add_event(vm, EVENT_PORT, 1, KVM_IOEVENTFD_FLAG_PIO);
	add_event(vm, MMIO, 4, 0);
	vm->vcpu = xioctl(vm->fd, KVM_CREATE_VCPU, 0, "create vCPU");
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED)
		err(1, "mmap of the vCPU");
}

static const struct bench_case {
	const char *name, *begin, *end;
	bool protected;
} cases[] = {
	{ "cpuid", guest_cpuid_begin, guest_cpuid_end, false },
	{ "rdmsr", guest_rdmsr_begin, guest_rdmsr_end, false },
	{ "out-ioeventfd", guest_out_event_begin, guest_out_event_end, false },
	{ "out-user", guest_out_user_begin, guest_out_user_end, false },
	{ "mmio-ioeventfd", guest_mmio_event_begin, guest_mmio_event_end, false },
	{ "mmio-user", guest_mmio_user_begin, guest_mmio_user_end, false },
	{ "touch-4k", guest_touch_begin, guest_touch_end, true },
	{ "empty", guest_empty_begin, guest_empty_end, false },
};

#define CASES	(sizeof(cases) / sizeof(cases[0]))

/* Makes the vCPU begin a case; the first touch is at @page pages of its memory. */
static void set_up(struct vm *vm, unsigned int i, int ops, int page)
{
	const struct bench_case *c = &cases[i];
	uint32_t code = CODE + i * CODE_STEP;
	struct kvm_regs regs = {
		.rip = code, .rsp = 0x8000, .rflags = 2, .rsi = ops,
		.rdi = TOUCH + page * 4096ul,
	};
	struct kvm_segment flat = { .limit = 0xffffffff, .selector = 8, .type = 3, .present = 1,
				    .s = 1, .db = 1, .g = 1 };
	struct kvm_segment real = { .limit = 0xffff, .type = 3, .present = 1, .s = 1 };
	struct kvm_sregs sregs;

	memcpy(vm->low + code, c->begin, c->end - c->begin);
	xioctl(vm->vcpu, KVM_GET_SREGS, (unsigned long)&sregs, "get sregs");
	sregs.cr0 = c->protected ? sregs.cr0 | 1 : sregs.cr0 & ~1ull;
	sregs.ds = sregs.es = sregs.ss = sregs.cs = c->protected ? flat : real;
	sregs.cs.type = 11;
	xioctl(vm->vcpu, KVM_SET_SREGS, (unsigned long)&sregs, "set sregs");
	xioctl(vm->vcpu, KVM_SET_REGS, (unsigned long)&regs, "set regs");
}

/* Runs the guest until it says what it counted. */
static uint32_t run_guest(struct vm *vm)
{
	struct kvm_run *run = vm->run;
	uint32_t result;

	for (;;) {
		if (ioctl(vm->vcpu, KVM_RUN, 0) < 0)
			err(1, "KVM_RUN");
		if (run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write)
			continue;
		if (run->exit_reason != KVM_EXIT_IO)
			errx(1, "unexpected exit %u", run->exit_reason);
		if (run->io.port == USER_PORT)
			continue;
		memcpy(&result, (char *)run + run->io.data_offset, sizeof(result));
		return result;
	}
}

static void measure(int dev, unsigned int i)
{
	uint32_t count, least = UINT32_MAX;
	struct vm vm;
	int run;

	create(&vm, dev);
	for (run = 0; run < RUNS; run++) {
		set_up(&vm, i, OPS, run * OPS);
		count = run_guest(&vm);
		if (count < least)
			least = count;
	}
	printf("%s %u\n", cases[i].name, least / OPS);
}

/* Every case in turn, in one VM, until somebody ends the process or the host. */
static void steady(int dev, const bool *wanted)
{
	struct vm vm;
	unsigned int i;
	int run;

	create(&vm, dev);
	for (run = 0;; run++) {
		for (i = 0; i < CASES; i++) {
			if (!wanted[i])
				continue;
			set_up(&vm, i, STEADY_OPS, 0);
			run_guest(&vm);
		}
		/* The pages touched are new ones again. */
		if (madvise(vm.touch, TOUCH_SIZE, MADV_DONTNEED))
			err(1, "madvise");
		if (run == 10) {
			printf("steady\n");
			fflush(stdout);
		}
	}
}

/* Adds up the numbers that follow a word in a file of /proc. */
static long sum(const char *path, const char *word)
{
	FILE *f = fopen(path, "r");
	char line[256];
	long total = 0, val;
	char *p;

	if (!f)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), f)) {
		p = line + strspn(line, " ");
		if (!strncmp(p, word, strlen(word)) && sscanf(p + strlen(word), "%ld", &val) == 1)
			total += val;
	}
	fclose(f);
	return total;
}

/*
 * Pages that the kernel holds for itself: all but the free ones, those on per-CPU
 * lists included, and those that hold a process's or a file's data.
 */
static long kernel_pages(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY);

	if (fd < 0 || write(fd, "3", 1) != 1)
		err(1, "drop_caches");
	close(fd);
	usleep(200000);			/* what RCU frees */
	fd = open("/proc/sys/vm/stat_refresh", O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		err(1, "stat_refresh");
	close(fd);
	return -(sum("/proc/vmstat", "nr_free_pages ") + sum("/proc/zoneinfo", "count:") +
		 sum("/proc/vmstat", "nr_anon_pages ") + sum("/proc/vmstat", "nr_file_pages "));
}

/* A VM as a small VMM would leave it: memory, irqchip, timer, one vCPU that has run. */
static void create_idle(int dev, uint8_t *low)
{
	struct kvm_pit_config pit = {};
	struct vm vm = { .low = low };
	int size = xioctl(dev, KVM_GET_VCPU_MMAP_SIZE, 0, "vCPU mmap size");

	vm.fd = xioctl(dev, KVM_CREATE_VM, 0, "create VM");
	add_slot(&vm, 0, 0, low, 0x10000);
	xioctl(vm.fd, KVM_CREATE_IRQCHIP, 0, "irqchip");
	xioctl(vm.fd, KVM_CREATE_PIT2, (unsigned long)&pit, "PIT");
	vm.vcpu = xioctl(vm.fd, KVM_CREATE_VCPU, 0, "create vCPU");
	vm.run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm.vcpu, 0);
	if (vm.run == MAP_FAILED)
		err(1, "mmap of the vCPU");
	set_up(&vm, CASES - 1, 1, 0);
	run_guest(&vm);
}

static void measure_memory(int dev, int n)
{
	uint8_t *low = memory(0x10000);
	long before, after;
	int i;

	create_idle(dev, low);		/* the first one pays for what all share */
	before = kernel_pages();
	for (i = 0; i < n; i++)
		create_idle(dev, low);
	after = kernel_pages();
	printf("memory %ld\n", (after - before) * 4 / n);
}

static uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

static void measure_floor(void)
{
	uint64_t start, least_ioctl = UINT64_MAX, least_touch = UINT64_MAX;
	int fd = open("/dev/null", O_RDWR), i, run;
	volatile uint8_t *p = memory(RUNS * OPS * 4096);

	for (run = 0; run < RUNS; run++) {
		start = tsc();
		for (i = 0; i < OPS; i++)
			ioctl(fd, 0, 0);
		start = tsc() - start;
		if (start < least_ioctl)
			least_ioctl = start;

		start = tsc();
		for (i = 0; i < OPS; i++, p += 4096)
			*p = 1;
		start = tsc() - start;
		if (start < least_touch)
			least_touch = start;
	}
	printf("null-ioctl %lu\nhost-touch-4k %lu\n", least_ioctl / OPS, least_touch / OPS);
}

/* Until the command's output, its input held open, contains the text. */
static void measure_boot(const char *text, char **argv)
{
	static char seen[1 << 20];
	uint64_t start = tsc(), count;
	size_t len = 0;
	int in[2], out[2];
	ssize_t got;
	pid_t pid;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		err(1, "pipe");
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execvp(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	close(in[0]);
	close(out[1]);
	do {
		if (len == sizeof(seen) - 1)
			errx(1, "much output and no \"%s\"", text);
		got = read(out[0], seen + len, sizeof(seen) - 1 - len);
		if (got <= 0)
			errx(1, "%s ended without \"%s\": %s", argv[0], text, seen);
		len += got;
	} while (!memmem(seen, len, text, strlen(text)));
	count = tsc() - start;
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	printf("boot %lu\n", count / 1000000);
}

static unsigned int find_case(const char *name)
{
	unsigned int i;

	for (i = 0; i < CASES; i++)
		if (!strcmp(name, cases[i].name))
			return i;
	errx(2, "no case '%s'", name);
}

int main(int argc, char **argv)
{
	bool wanted[CASES] = {};
	bool forever = argc > 3 && !strcmp(argv[2], "steady");
	int dev, arg;
	unsigned int i;

	if (argc == 2 && !strcmp(argv[1], "floor")) {
		measure_floor();
		return 0;
	}
	if (argc > 3 && !strcmp(argv[1], "boot")) {
		measure_boot(argv[2], argv + 3);
		return 0;
	}
	if (argc < 2)
		errx(2, "usage: bench DEVICE [[steady] CASE...] | DEVICE memory N |"
			" floor | boot TEXT COMMAND...");
	dev = open(argv[1], O_RDWR | O_CLOEXEC);
	if (dev < 0)
		err(1, "%s", argv[1]);
	if (argc == 4 && !strcmp(argv[2], "memory") && atoi(argv[3]) > 0) {
		measure_memory(dev, atoi(argv[3]));
		return 0;
	}
	for (arg = forever ? 3 : 2; arg < argc; arg++)
		wanted[find_case(argv[arg])] = true;
	if (forever)
		steady(dev, wanted);
	for (i = 0; i < CASES; i++)
		if (argc == 2 || wanted[i])
			measure(dev, i);
	return 0;
}
