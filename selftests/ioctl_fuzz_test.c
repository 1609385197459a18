// SPDX-License-Identifier: GPL-2.0
/*
 * Random ioctls on every kind of descriptor, valid, nearly valid and absurd, with vCPUs that run
 * in between. Whatever they are, each answers within its time with an errno that user space can
 * know, writes no byte outside its argument, and leaves a host that says nothing in its log and
 * makes a working VM afterwards.
 *
 * The calls follow from a seed, so a failure is repeated with what it prints: the seed and the
 * least number of calls that fail. To find it, the round is made again with fewer and fewer.
 *
 *	SEED=N		the first round's seed, others count on from it (default 1)
 *	CALLS=N		how many calls in all (default 100000)
 *	VERBOSE=1	print each call before it is made
 */
#define _GNU_SOURCE
#include "fuzz/fuzz.h"
#include "harness.h"
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>

#define ROUND_CALLS	2500u		/* of one process; its end tears everything down */
#define HANG_SECONDS	60
#define NOTHING_BEHIND	(512ul << 20)

struct fuzz s;

static const char * const kind_names[KINDS] = {
	"system", "VM", "vCPU", "device", "statistics", "virtio",
};

static bool may_answer(int err)
{
	switch (err) {
	case 0: case EPERM: case ENOENT: case ESRCH: case EINTR: case ENXIO: case E2BIG: case EBADF:
	case EAGAIN: case ENOMEM: case EACCES: case EFAULT: case EBUSY: case EEXIST: case ENODEV:
	case EINVAL: case EMFILE: case ENOTTY: case EFBIG: case ENOSPC: case ENOEXEC:
	case EOPNOTSUPP:
		return true;
	}
	return false;	/* EIO among them: that VM was given up */
}

static void __attribute__((noreturn)) child_fails(const char *why)
{
	printf("# %s\n", why);
	fflush(stdout);
	_exit(1);
}

/* The first complaint of the kernel since the last look at @kmsg, or NULL. */
static const char *complaint(int kmsg)
{
	static const char * const bad[] = {
		"WARNING:", "BUG:", "kernel BUG", "Oops", "KASAN", "UBSAN", "INFO: ", "refcount_t",
		"suspicious RCU", "unchecked MSR", "general protection", "sleeping function",
	};
	static char line[1024];
	ssize_t n;

	while (kmsg >= 0 && (n = read(kmsg, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		for (u32 i = 0; i < ARRAY_SIZE(bad); i++)
			if (strstr(line, bad[i])) {
				line[strcspn(line, "\n")] = 0;
				return line;
			}
	}
	return NULL;
}

static void look_at_log(void)
{
	const char *line = complaint(s.kmsg);

	if (line)
		child_fails(line);
}

static int open_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

static void add_object(enum kind k, int fd, int vm)
{
	struct obj *o;

	if (s.nr[k] < MAX_FDS) {
		o = &s.objs[k][s.nr[k]++];
	} else {
		o = &s.objs[k][rnd(MAX_FDS)];
		if (o->run)
			munmap(o->run, s.run_size);
		close(o->fd);
	}
	*o = (struct obj) { .fd = fd, .vm = vm };
	if (k == VCPU) {
		o->run = mmap(NULL, s.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (o->run == MAP_FAILED)
			child_fails("no mmap of a vCPU");
	}
}

/* Descriptors end at any time, too, and eventfds are signalled. */
static void something_else(void)
{
	enum kind k = rnd(KINDS);
	struct obj *o;

	switch (rnd(7)) {
	case 0:
		if (s.nr[k] > (k < DEV)) {
			o = &s.objs[k][rnd(s.nr[k])];
			if (o->run)
				munmap(o->run, s.run_size);
			close(o->fd);
			*o = s.objs[k][--s.nr[k]];
		}
		break;
	case 1:
		madvise(s.arena + PAGE * rnd(ARENA_PAGES / 2), PAGE * rnd(ARENA_PAGES / 2),
			MADV_DONTNEED);
		break;
	case 2:
		scribble(s.arena + PAGE * rnd(ARENA_PAGES), PAGE);
		break;
	case 3:
		if (s.nr[VCPU]) {
			/* the shared page is user space's to spoil */
			o = &s.objs[VCPU][rnd(s.nr[VCPU])];
			flip((u8 *)o->run, sizeof(*o->run));
		}
		break;
	case 4:
		if (s.nr[STATS] &&
		    pread(s.objs[STATS][rnd(s.nr[STATS])].fd, s.arena + rnd(PAGE), rnd(4 * PAGE),
			  one_in(4) ? odd_number() : 0) < 0 && errno != EINVAL)
			child_fails("statistics cannot be read");
		break;
	default:
		eventfd_write(s.events[rnd(ARRAY_SIZE(s.events))], 1);
	}
}

/*
 * QEMU's emulator loses the host's CR0 when it leaves a guest with EFER.LME set and CR4.PAE
 * clear (its cpu_x86_update_cr0() looks at the guest's CR4), and the host is no more.
 */
static bool emulator_survives(int fd)
{
	struct kvm_sregs sregs;

	return !s.tcg || (!ioctl(fd, KVM_GET_SREGS, &sregs) &&
			  (!(sregs.efer & EFER_LME) || sregs.cr4 & X86_CR4_PAE));
}

static void prepare_run(struct obj *o)
{
	o->run->immediate_exit = !s.may_enter || one_in(8) || !emulator_survives(o->fd);
	o->run->request_interrupt_window = one_in(4);
	if (one_in(3))
		o->run->cr8 = rnd(16);
}

static u32 weight(const struct call *c, enum kind k)
{
	return c->kinds & ON(k) ? c->weight ?: 1 : 0;
}

static const struct call *pick(enum kind k)
{
	static u32 total[KINDS];
	u32 at, i;

	if (!total[k])
		for (i = 0; i < nr_calls; i++)
			total[k] += weight(&calls[i], k);
	at = rnd(total[k]);
	for (i = 0; at >= weight(&calls[i], k); i++)
		at -= weight(&calls[i], k);
	return &calls[i];
}

/* Mostly the vCPU's, as it has most; now and then one that belongs to another kind. */
static const struct call *choose(enum kind *k)
{
	static const enum kind kinds[] = { SYS, VM, VM, VM, VCPU, VCPU, VCPU, VCPU, VCPU, DEV, VDEV,
					   VDEV };

	*k = kinds[rnd(ARRAY_SIZE(kinds))];
	while (!s.nr[*k])
		*k = *k >= DEV ? VCPU : *k - 1;
	return one_in(30) ? &calls[rnd(nr_calls)] : pick(*k);
}

static u64 make_number(const struct call *c)
{
	if (c->cmd == KVM_CREATE_VM || c->cmd == (u32)KVM_RUN || c->cmd == KVM_CREATE_IRQCHIP)
		return one_in(20) ? odd_number() : 0;
	if (c->cmd == KVM_CREATE_VCPU)
		return one_in(8) ? odd_number() : rnd(6);
	if (c->cmd == RINGLET_DEV_KICK)
		return one_in(8) ? odd_number() : rnd(3);
	return odd_number();
}

#define GUARD	64			/* bytes that no call may touch */

/* At the end of the page, so that one byte too far is a fault; in front a guard. */
static u8 *make_argument(const struct call *c, const struct obj *o, enum kind k, size_t *size)
{
	static u8 tmp[0x4000];
	u8 *at;

	if (c->make) {
		*size = c->make(tmp);
	} else {
		*size = _IOC_SIZE(c->cmd);
		if (c->get && !one_in(4) && s.nr[k]) {
			scribble(tmp, 16);		/* which chip */
			*(u32 *)tmp %= 3;
			ioctl(o->fd, c->get, tmp);
			flip(tmp, *size);
		} else {
			scribble(tmp, *size);
		}
		if (c->cmd == (u32)KVM_IRQ_LINE || c->cmd == (u32)KVM_IRQ_LINE_STATUS)
			*(u32 *)tmp = rnd(30);
		if (c->cmd == (u32)KVM_SET_MP_STATE && !one_in(8))
			*(u32 *)tmp = one_in(3) ? rnd(10) : KVM_MP_STATE_RUNNABLE;
	}
	at = s.page + 4 * PAGE - *size;
	memcpy(at, tmp, *size);
	memset(at - GUARD, 0xa5, GUARD);
	return at;
}

/* KVM_SET_SIGNAL_MASK through a bad pointer fails; through none it is harmless. */
static u64 spoil(u64 arg)
{
	switch (rnd(4)) {
	case 0:
		return 0;
	case 1:
		return (u64)s.page + 4 * PAGE - rnd(8);		/* it ends too early */
	case 2:
		return odd_number();
	default:
		return arg + rnd(8);
	}
}

/*
 * Alarms end what may have no end, and nothing else: a call that fails for a signal makes the
 * next ones different.
 */
static long call(int fd, u32 cmd, u64 arg)
{
	bool endless = cmd == KVM_RUN || cmd == RINGLET_DEV_WORK;
	sigset_t alarm;
	long ret;
	int err;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	if (endless)
		sigprocmask(SIG_UNBLOCK, &alarm, NULL);
	ret = ioctl(fd, cmd, arg);
	err = errno;
	sigprocmask(SIG_BLOCK, &alarm, NULL);
	errno = err;
	return ret;
}

static void one_call(u32 nr)
{
	struct progress *p = s.progress;
	const struct call *c;
	struct obj *o;
	u8 *at = NULL;
	enum kind k;
	size_t size;
	u64 arg;
	long ret;

	if (one_in(10))
		something_else();
	c = choose(&k);
	o = &s.objs[k][rnd(s.nr[k])];
	if (c->make || _IOC_SIZE(c->cmd)) {
		at = make_argument(c, o, k, &size);
		arg = one_in(20) ? spoil((u64)at) : (u64)at;
	} else {
		arg = make_number(c);
	}
	if (c->cmd == (u32)KVM_RUN && o->run)
		prepare_run(o);
	snprintf(p->trace[nr % TRACE], sizeof(p->trace[0]), "call %u: %s fd %d: %s(%#lx)", nr + 1,
		 kind_names[k], o->fd, c->name, arg);
	/* the next slot is for what comes after the last call */
	p->trace[(nr + 1) % TRACE][0] = 0;
	p->calls = nr + 1;
	if (getenv("VERBOSE"))
		printf("# %s\n", p->trace[nr % TRACE]);
	ret = call(o->fd, c->cmd, arg);
	if (ret < 0 && !may_answer(errno)) {
		printf("# %s: errno %d (%s)\n", c->name, errno, strerror(errno));
		child_fails("not an answer that user space can expect");
	}
	look_at_log();
	for (int i = 0; at && arg == (u64)at && i < GUARD; i++)
		if (at[i - GUARD] != 0xa5)
			child_fails("bytes in front of the argument have changed");
	if (ret < 0)
		return;
	if (k == SYS && c->cmd == KVM_CREATE_VM)
		add_object(VM, ret, -1);
	else if (k == VM && c->cmd == KVM_CREATE_VCPU)
		add_object(VCPU, ret, o - s.objs[VM]);
	else if (k == VM && c->cmd == (u32)KVM_CREATE_DEVICE && arg == (u64)at)
		add_object(DEV, ((struct kvm_create_device *)at)->fd, o - s.objs[VM]);
	else if (c->cmd == KVM_GET_STATS_FD && (k == VM || k == VCPU))
		add_object(STATS, ret, -1);
	else if (k == VM && c->cmd == (u32)RINGLET_CREATE_DEVICE)
		add_object(VDEV, ret, o - s.objs[VM]);
}

GUEST16(healthy, "mov $0x5a, %al; out %al, $0x10; hlt\n");

/* Another VM is as good as the first one ever. */
static void host_is_healthy(void)
{
	struct vm *vm = VM_BLOB(healthy, 0);

	if (s.may_enter) {
		expect_out(vm->vcpus[0], 0x10, 1, 0x5a);
		expect_exit(vm->vcpus[0], KVM_EXIT_HLT);
	}
	vm_free(vm);
}

static void tick(int sig)
{
}

static int open_tap(void)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC), hdr = 12;

	if (fd >= 0 && !ioctl(fd, TUNSETIFF, &ifr) && !ioctl(fd, TUNSETVNETHDRSZ, &hdr))
		return fd;
	close(fd);
	return -1;
}

static void set_up(u64 seed)
{
	struct sigaction sa = { .sa_handler = tick };
	struct itimerval every = { { 0, 5000 }, { 0, 5000 } };
	const char *host = getenv("TESTHOST") ?: "";

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	s.rng = (seed + 1) * 0x9e3779b97f4a7c15;
	/* Bochs does not come back from a guest that spins with interrupts off. */
	s.tcg = rl_host_is_tcg();
	s.may_enter = strcmp(host, "intel") && strcmp(host, "amd-full");
	s.kmsg = open_log();
	for (u32 i = 0; i < ARRAY_SIZE(s.events); i++)
		s.events[i] = eventfd(0, EFD_NONBLOCK);
	s.backends[0] = memfd_create("disk", MFD_CLOEXEC);
	if (ftruncate(s.backends[0], 1 << 20))
		child_fails("no memory for a disk");
	s.backends[1] = open_tap();
	/* A dirty bitmap may be larger than the arena: then there is nothing behind it. */
	s.arena = mmap(NULL, NOTHING_BEHIND, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(s.arena, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE);
	s.page = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(s.page + 4 * PAGE, PAGE, PROT_NONE);
	for (u32 i = 0; i < ARENA_PAGES; i += 1 + rnd(8))
		scribble(s.arena + i * PAGE, 256);
	add_object(SYS, rl_dev_open(), -1);
	s.run_size = kvm_do(s.objs[SYS][0].fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	s.cpuid = rl_supported_cpuid(s.objs[SYS][0].fd);
	sigaction(SIGALRM, &sa, NULL);
	sigprocmask(SIG_BLOCK, &(sigset_t){ { 1ul << (SIGALRM - 1) } }, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void child(u64 seed, u32 nr_calls)
{
	struct itimerval off = {};

	set_up(seed);
	for (u32 i = 0; i < nr_calls; i++)
		one_call(i);
	setitimer(ITIMER_REAL, &off, NULL);
	snprintf(s.progress->trace[nr_calls % TRACE], sizeof(s.progress->trace[0]),
		 "after the last call: another VM");
	host_is_healthy();
	look_at_log();
	_exit(0);		/* and with it goes all that is open */
}

static void show(const char *path)
{
	char line[200];
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		printf("#   %s", line);
	if (f)
		fclose(f);
}

/* True when the child ended well; a hang shows where and is killed. */
static bool child_ends(pid_t pid, struct progress *p)
{
	u32 seen = ~0u, quiet = 0;
	char path[40];
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (p->calls != seen)
			seen = p->calls, quiet = 0;
		if (++quiet > HANG_SECONDS * 1000) {
			printf("# no call ended for %u s\n", HANG_SECONDS);
			snprintf(path, sizeof(path), "/proc/%d/stack", pid);
			show(path);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return false;
		}
		usleep(1000);
	}
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	return !status;
}

/* A round of @n calls in a process of its own. What goes wrong at its end counts as well. */
static bool round_ends_well(u64 seed, u32 n, bool quiet)
{
	int kmsg = open_log(), null;
	const char *line;
	bool ok;
	pid_t pid;

	memset(s.progress, 0, sizeof(*s.progress));
	/* What the kernel has said once it says again. */
	null = open("/sys/kernel/debug/clear_warn_once", O_WRONLY);
	if (null >= 0 && write(null, "1", 1) != 1)
		printf("# clear_warn_once: %s\n", strerror(errno));
	close(null);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		null = quiet ? open("/dev/null", O_WRONLY) : -1;
		if (null >= 0)
			dup2(null, 1);
		child(seed, n);
	}
	ok = child_ends(pid, s.progress);
	line = complaint(kmsg);
	if (line && ok && !quiet)
		printf("# at the end of the process: %s\n", line);
	close(kmsg);
	return ok && !line;
}

/* Of a round that failed within @most calls, how many of them are enough; 0: not every time. */
static u32 shorten(u64 seed, u32 most)
{
	u32 good = 0;

	if (round_ends_well(seed, most, true))
		return 0;
	while (most - good > 1) {
		u32 n = (good + most) / 2;

		if (round_ends_well(seed, n, true))
			good = n;
		else
			most = n;
	}
	/* the last word is the failure's, with what led to it */
	return round_ends_well(seed, most, false) ? 0 : most;
}

static void report(u64 seed, u32 calls)
{
	const struct progress *p = s.progress;
	u32 enough = shorten(seed, calls);

	for (u32 i = 1; i <= TRACE && enough; i++)
		if (p->trace[(p->calls + i) % TRACE][0])
			printf("# %s\n", p->trace[(p->calls + i) % TRACE]);
	if (enough)
		printf("# SEED=%lu CALLS=%u repeats it\n", seed, enough);
	else
		printf("# SEED=%lu CALLS=%u may repeat it, but not every time\n", seed, calls);
	fflush(stdout);
}

static u64 from_env(const char *name, u64 otherwise)
{
	return getenv(name) ? strtoull(getenv(name), NULL, 0) : otherwise;
}

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	86400	/* CALLS= may be many; check has a bound of its own */

TEST(random_ioctls)
{
	u64 seed = from_env("SEED", 1), left = from_env("CALLS", 100000);

	s.progress = mmap(NULL, sizeof(*s.progress), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, s.progress);
	for (; left; seed++) {
		u32 n = left < ROUND_CALLS ? left : ROUND_CALLS;

		if (!round_ends_well(seed, n, false)) {
			report(seed, s.progress->calls);
			ASSERT_TRUE(false);
		}
		left -= n;
	}
}

TEST_HARNESS_MAIN
