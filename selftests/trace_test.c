// SPDX-License-Identifier: GPL-2.0
/*
 * The tracepoints: each is there with its fields, says what happened, and is
 * silent when it is off. ringlet.ko's own: skipped on another hypervisor,
 * without root or tracefs.
 */
#include "lib.h"
#include "harness.h"
#include <sys/mount.h>
#include <sys/stat.h>

#define TRACING		"/sys/kernel/tracing"
#define INSTANCE	TRACING "/instances/ringlet_test"
#define PORT		0x4560
#define GPA		((u64)HOLE_GPA)
#define MSI_ADDR	0xfee00000u
#define IRQFD_GSI	700
#define VECTOR		0x51

static const char * const events[] = {
	"rl_entry", "rl_exit", "rl_inject", "rl_fault", "rl_spte",
	"rl_irqfd", "rl_kick", "rl_msi", "rl_pio", "rl_mmio",
};

static const char *not_for_us(void)
{
	if (strcmp(rl_dev_path(), "/dev/ringlet"))
		return "not ringlet";
	if (geteuid())
		return "not root";
	mkdir(TRACING, 0755);
	if (access(TRACING "/instances", F_OK) &&
	    mount("tracefs", TRACING, "tracefs", 0, NULL))
		return "no tracefs";
	return NULL;
}

static void put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_TRUNC);

	CHECK(NULL, fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", file);
	close(fd);
}

#define trace_on(on)	put(INSTANCE "/events/ringlet/enable", (on) ? "1" : "0")

/* The whole trace, or a file of an event. */
static char *slurp(const char *file)
{
	size_t size = 0, max = 1 << 20;
	char *text = malloc(max);
	int fd = open(file, O_RDONLY);
	ssize_t n;

	CHECK(NULL, fd >= 0 && text, "%s", file);
	while ((n = read(fd, text + size, max - size - 1)) > 0) {
		size += n;
		if (max - size < 2)
			text = realloc(text, max *= 2);
		CHECK(NULL, text, "memory");
	}
	close(fd);
	text[size] = '\0';
	return text;
}

static char *trace(void)
{
	return slurp(INSTANCE "/trace");
}

static bool __attribute__((format(printf, 1, 2))) has(const char *fmt, ...)
{
	char *text = trace(), line[200];
	va_list ap;
	bool found;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	found = strstr(text, line);
	free(text);
	return found;
}

#define EXPECT_TRACED(...) \
	EXPECT_TRUE(has(__VA_ARGS__)) { \
		TH_LOG(__VA_ARGS__); \
	}

FIXTURE(trace) {
	struct vm *vm;
	struct vcpu *v;
	u32 id;
	const char *skip;
};

FIXTURE_SETUP(trace)
{
	char *text, *line;

	self->skip = not_for_us();
	if (self->skip)
		return;
	rmdir(INSTANCE);
	CHECK(NULL, !mkdir(INSTANCE, 0700), "%s", INSTANCE);
	trace_on(true);
	self->vm = vm_puppet(1, VM_IRQCHIP);
	self->v = self->vm->vcpus[0];
	text = trace();
	line = strstr(text, "rl_entry: vm ");
	CHECK(NULL, line && sscanf(line, "rl_entry: vm %u vcpu 0 rip 0x", &self->id) == 1,
	      "no entry traced:\n%.500s", text);
	free(text);
	put(INSTANCE "/trace", "");
}

FIXTURE_TEARDOWN(trace)
{
	if (self->skip)
		return;
	vm_free(self->vm);
	trace_on(false);
	rmdir(INSTANCE);
}

TEST_F(trace, every_event_has_its_format)
{
	char file[200], *text;

	if (self->skip)
		SKIP(return, "%s", self->skip);
	for (u32 i = 0; i < ARRAY_SIZE(events); i++) {
		snprintf(file, sizeof(file), INSTANCE "/events/ringlet/%s/format", events[i]);
		text = slurp(file);
		EXPECT_NE(NULL, strstr(text, "field:u32 vm;"));
		/* names of the module's own are numbers for who reads the raw record */
		EXPECT_EQ(NULL, strstr(text, "RL_"));
		free(text);
	}
}

TEST_F(trace, exits)
{
	struct vcpu *v = self->v;
	u32 id = self->id;

	if (self->skip)
		SKIP(return, "%s", self->skip);
	puppet_do(v, PUPPET_CPUID, 0, 0, 0);
	EXPECT_TRACED("rl_exit: vm %u vcpu 0 cpuid rip 0x", id);
	EXPECT_TRACED("rl_entry: vm %u vcpu 0 rip 0x", id);
	EXPECT_FALSE(has("rl_exit: vm %u vcpu 0 msr", id));
	puppet_rdmsr(v, MSR_APIC_BASE);
	EXPECT_TRACED("rl_exit: vm %u vcpu 0 msr rip 0x", id);
}

static u64 guest_in(u64 port)
{
	return inb(port);
}

static u64 guest_out(u64 val)
{
	outw(PORT, val);
	return 0;
}

TEST_F(trace, ports_and_devices)
{
	struct vcpu *v = self->v;
	u32 id = self->id;

	if (self->skip)
		SKIP(return, "%s", self->skip);
	puppet_set(v, PUPPET_CALL, (u64)guest_out, 0, 0x1234);
	expect_out(v, PORT, 2, 0x1234);
	expect_sync(v, PUPPET_STAGE);
	EXPECT_TRACED("rl_exit: vm %u vcpu 0 io rip 0x", id);
	EXPECT_TRACED("rl_pio: vm %u vcpu 0 write port 0x%x size 2 count 1 val 0x1234", id, PORT);

	puppet_set(v, PUPPET_CALL, (u64)guest_in, 0, PORT);
	expect_in(v, PORT, 1);
	*(u8 *)run_io_data(v) = 0x56;
	expect_sync(v, PUPPET_STAGE);
	EXPECT_TRACED("rl_pio: vm %u vcpu 0 read port 0x%x size 1 count 1 val 0x56", id, PORT);
	/* a device in the kernel */
	puppet_call(v, guest_in, 0x21);
	EXPECT_TRACED("rl_pio: vm %u vcpu 0 read port 0x21 size 1 count 1 val 0x", id);

	puppet_set(v, PUPPET_WRITE, GPA + 8, 4, 0x789abcde);
	expect_mmio_write(v, GPA + 8, 4, 0x789abcde);
	expect_sync(v, PUPPET_STAGE);
	EXPECT_TRACED("rl_fault: vm %u vcpu 0 gpa 0x%lx write", id, GPA + 8);
	EXPECT_TRACED("rl_mmio: vm %u vcpu 0 write gpa 0x%lx size 4 val 0x789abcde", id,
		      GPA + 8);

	puppet_set(v, PUPPET_READ, GPA, 8, 0);
	expect_mmio_read(v, GPA, 8);
	memset(v->run->mmio.data, 0x11, 8);
	expect_sync(v, PUPPET_STAGE);
	EXPECT_TRACED("rl_mmio: vm %u vcpu 0 read gpa 0x%lx size 8 val 0x1111111111111111", id,
		      GPA);
}

TEST_F(trace, memory)
{
	u64 gpa = GPA, size = 0x10000;
	u32 id = self->id;

	if (self->skip)
		SKIP(return, "%s", self->skip);
	vm_add_mem(self->vm, 9, gpa, size, 0);
	puppet_write(self->v, gpa + 0x3000, 5);
	EXPECT_TRACED("rl_fault: vm %u vcpu 0 gpa 0x%lx write", id, gpa + 0x3000);
	EXPECT_TRACED("rl_spte: vm %u gfn 0x%lx level 1 old 0x0 new 0x", id, (gpa >> 12) + 3);
	put(INSTANCE "/trace", "");
	vm_set_region(self->vm, 9, gpa, 0, NULL, 0);
	EXPECT_TRACED("rl_spte: vm %u gfn 0x%lx level 1 old 0x", id, (gpa >> 12) + 3);
}

static u32 stop;

static u64 guest_wait_until_stop(u64 unused)
{
	while (!READ_ONCE(stop))
		guest_irq_wait(VECTOR);
	return 0;
}

static void *run_thread(void *arg)
{
	struct vcpu *v = arg;

	expect_sync(v, PUPPET_STAGE);
	return NULL;
}

TEST_F(trace, interrupts)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry e;
	} route = {
		.head.nr = 1,
		.e = { .gsi = IRQFD_GSI, .type = KVM_IRQ_ROUTING_MSI,
		       .u.msi = { MSI_ADDR, 0, VECTOR } },
	};
	struct kvm_irqfd irqfd = { .gsi = IRQFD_GSI, .fd = eventfd(0, EFD_NONBLOCK) };
	struct vcpu *v = self->v;
	u32 id = self->id;
	pthread_t thread;

	if (self->skip)
		SKIP(return, "%s", self->skip);
	kvm_do(self->vm->fd, KVM_SET_GSI_ROUTING, &route);
	kvm_do(self->vm->fd, KVM_IRQFD, &irqfd);
	puppet_call(v, guest_irq_setup, EOI_XAPIC);

	/* The vCPU sleeps more often than not when the signal comes. */
	puppet_set(v, PUPPET_CALL, (u64)guest_wait_until_stop, 0, 0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, run_thread, v));
	do {
		eventfd_write(irqfd.fd, 1);
		usleep(1000);
	} while (!has("rl_kick: vm %u vcpu 0 wake-up cpu ", id));
	G(self->vm, stop) = 1;
	eventfd_write(irqfd.fd, 1);
	pthread_join(thread, NULL);

	EXPECT_TRACED("rl_irqfd: vm %u gsi %u", id, IRQFD_GSI);
	EXPECT_TRACED("rl_msi: vm %u dest 0x0 physical fixed vector 0x%02x", id, VECTOR);
	EXPECT_TRACED("rl_exit: vm %u vcpu 0 hlt rip 0x", id);
	if (rl_host_is_amd())	/* a CPU may deliver it by itself elsewhere */
		EXPECT_TRACED("rl_inject: vm %u vcpu 0 interrupt vector 0x%02x no error", id,
			      VECTOR);
}

TEST_F(trace, an_exception_with_its_error_code)
{
	if (self->skip)
		SKIP(return, "%s", self->skip);
	puppet_do(self->v, PUPPET_RDMSR, 0x1234567, 0, 0);
	ASSERT_EQ(TRAP(13, 0), puppet(self->v)->trap);
	EXPECT_TRACED("rl_inject: vm %u vcpu 0 exception vector 0x0d error 0x0", self->id);
}

TEST_F(trace, off_is_silent)
{
	char *text;

	if (self->skip)
		SKIP(return, "%s", self->skip);
	trace_on(false);
	put(INSTANCE "/trace", "");
	puppet_do(self->v, PUPPET_CPUID, 0, 0, 0);
	text = trace();
	EXPECT_EQ(NULL, strstr(text, "rl_"));
	free(text);
	put(INSTANCE "/events/ringlet/rl_pio/enable", "1");
	puppet_do(self->v, PUPPET_CPUID, 0, 0, 0);
	EXPECT_TRACED("rl_pio: vm %u", self->id);
	EXPECT_FALSE(has("rl_exit: "));
}

TEST_HARNESS_MAIN
