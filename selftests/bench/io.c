// SPDX-License-Identifier: GPL-2.0
/*
 * What a virtual disk and a virtual network cost, in instructions of guest and host
 * together: one program for both sides, in a host with one CPU whose TSC counts
 * instructions. Lines "NAME NUMBER" are instructions per request, packet or 64 KiB.
 *
 *	io host DISK		the same work without a guest: the disk, loopback
 *	io vm COMMAND...	runs a VMM whose guest runs `io guest`
 *	io guest [CASE...]	on /dev/vda, and with the host's servers at 10.77.0.1
 *
 * The side that asks for the work reads the TSC; a guest's differs from the host's
 * by a constant. When nothing can run, emulated time jumps to the next timer: what
 * the host was idle, as /proc/timer_list has it, is taken off by `io vm`.
 *
 * Owns:    the work, its clients and servers.
 * Touches: the disk that it is given: what is there is overwritten.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK		4096
#define MIB		(1 << 20)
#define DEPTH		32
#define REQUESTS	2000
#define MIBS		60
#define PACKETS		4096
#define WINDOW		256		/* packets sent and not acknowledged */
#define STREAM		(16 * MIB)
#define CHUNK		65536

#define SINK_PORT	7001		/* takes packets, acknowledges */
#define SOURCE_PORT	7002		/* sends them when asked */
#define STREAM_PORT	7003		/* TCP, both ways */

static const char *server = "10.77.0.1", *disk = "/dev/vda";
static uint8_t *buffers;		/* DEPTH MiB, aligned */

static uint64_t tsc(void)
{
	return __builtin_ia32_rdtsc();
}

/* Blocks */

static off_t random_block(void)
{
	static uint64_t x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return (off_t)(x % (512 * MIB / BLOCK)) * BLOCK;
}

static void one_by_one(int fd, bool write, unsigned int n)
{
	while (n--) {
		off_t at = random_block();

		if ((write ? pwrite(fd, buffers, BLOCK, at) : pread(fd, buffers, BLOCK, at)) != BLOCK)
			err(1, "%s", disk);
	}
}

/* DEPTH requests under way all the time, as far as the system lets them. */
static void many(int fd, bool write, unsigned int n)
{
	struct io_event done[DEPTH];
	struct iocb cbs[DEPTH], *list[DEPTH];
	unsigned int sent = 0, ended = 0, i;
	static aio_context_t ctx;
	long got;

	if (!ctx && syscall(SYS_io_setup, DEPTH, &ctx))
		err(1, "io_setup");
	for (i = 0; i < DEPTH; i++) {
		cbs[i] = (struct iocb){
			.aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
			.aio_fildes = fd,
			.aio_buf = (uintptr_t)buffers + i * BLOCK,
			.aio_nbytes = BLOCK,
		};
		list[i] = &cbs[i];
	}
	for (got = DEPTH; ended < n; ended += got) {
		unsigned int more = (unsigned int)got < n - sent ? (unsigned int)got : n - sent;

		for (i = 0; i < more; i++)
			list[i]->aio_offset = random_block();
		if (more && syscall(SYS_io_submit, ctx, more, list) != (long)more)
			err(1, "io_submit");
		sent += more;
		got = syscall(SYS_io_getevents, ctx, 1, DEPTH, done, NULL);
		if (got <= 0)
			err(1, "io_getevents");
		for (i = 0; i < got; i++) {
			if (done[i].res != BLOCK)
				errx(1, "%s: %lld", disk, done[i].res);
			list[i] = (struct iocb *)(uintptr_t)done[i].obj;
		}
	}
}

static void mebibytes(int fd, bool write, unsigned int n)
{
	off_t at = 0;

	for (; n--; at += MIB)
		if ((write ? pwrite(fd, buffers, MIB, at) : pread(fd, buffers, MIB, at)) != MIB)
			err(1, "%s", disk);
}

/* Packets and streams */

static struct sockaddr_in address(const char *name, int port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_aton(name, &sa.sin_addr);
	return sa;
}

static int make_socket(int type, const char *peer, int port)
{
	struct sockaddr_in sa = address(peer ?: "0.0.0.0", port);
	int fd = socket(AF_INET, type, 0), size = 8 * MIB, on = 1;
	struct timeval bound = { .tv_sec = 20 };

	if (fd < 0)
		err(1, "socket");
	if (type == SOCK_DGRAM)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (peer)	/* a lost packet ends the run */
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
	if (peer ? connect(fd, (struct sockaddr *)&sa, sizeof(sa)) :
		   bind(fd, (struct sockaddr *)&sa, sizeof(sa)))
		err(1, "port %d", port);
	return fd;
}

static void say(int fd, const void *data, size_t len)
{
	if (send(fd, data, len, 0) != (ssize_t)len)
		err(1, "send");
}

static void hear(int fd, void *data, size_t len)
{
	if (recv(fd, data, len, 0) < 0)
		err(1, "recv");
}

/* Sends @n packets, never more than WINDOW ahead of what the other side has said it has. */
static void send_packets(int fd, unsigned int n, unsigned int size)
{
	unsigned int sent, acked = 0;
	char data[1500] = "";

	for (sent = 0; sent < n; sent++) {
		if (sent - acked == WINDOW) {
			hear(fd, data, sizeof(data));
			acked += WINDOW / 2;
		}
		say(fd, data, size);
	}
	for (; acked < n; acked += WINDOW / 2)
		hear(fd, data, sizeof(data));
}

static void take_packets(int fd, unsigned int n)
{
	char data[1500];
	unsigned int got;

	for (got = 1; got <= n; got++) {
		hear(fd, data, sizeof(data));
		if (got % (WINDOW / 2) == 0)
			say(fd, "", 1);
	}
}

struct order {
	uint32_t packets, size;
};

/* Whoever sends first is the one to serve, for ever. */
static void packet_server(int fd, bool takes)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof(peer);
	struct order order;

	recvfrom(fd, &order, sizeof(order), MSG_PEEK, (struct sockaddr *)&peer, &len);
	connect(fd, (struct sockaddr *)&peer, len);
	for (;;) {
		hear(fd, &order, sizeof(order));
		if (takes)
			take_packets(fd, order.packets);
		else
			send_packets(fd, order.packets, order.size);
	}
}

static void send_stream(int fd, size_t bytes)
{
	for (; bytes; bytes -= CHUNK)
		say(fd, buffers, CHUNK);
}

static void take_stream(int fd, size_t bytes)
{
	ssize_t n;

	for (; bytes; bytes -= n) {
		n = recv(fd, buffers, bytes < CHUNK ? bytes : CHUNK, 0);
		if (n <= 0)
			err(1, "recv");
	}
}

static void stream_server(int listening)
{
	int fd = accept(listening, NULL, NULL);
	struct order order;

	while (recv(fd, &order, sizeof(order), MSG_WAITALL) == sizeof(order)) {
		if (order.size) {
			send_stream(fd, order.packets);
		} else {
			take_stream(fd, order.packets);
			say(fd, "", 1);
		}
	}
	exit(0);
}

/* They listen when this returns. */
static void start_servers(void)
{
	static const int ports[] = { SINK_PORT, SOURCE_PORT, STREAM_PORT };
	int i, fd;
	pid_t pid;

	for (i = 0; i < 3; i++) {
		fd = make_socket(i < 2 ? SOCK_DGRAM : SOCK_STREAM, NULL, ports[i]);
		if (i == 2 && listen(fd, 1))
			err(1, "listen");
		pid = fork();
		if (pid < 0)
			err(1, "fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (i == 2)
				stream_server(fd);
			packet_server(fd, i == 0);
		}
		close(fd);
	}
}

static void packets_out(int fd, bool big, unsigned int n)
{
	struct order order = { n, big ? 1400 : 64 };

	say(fd, &order, sizeof(order));
	send_packets(fd, n, order.size);
}

static void packets_in(int fd, bool big, unsigned int n)
{
	struct order order = { n, big ? 1400 : 64 };

	say(fd, &order, sizeof(order));
	take_packets(fd, n);
}

static void stream(int fd, bool in, unsigned int n)
{
	struct order order = { n * CHUNK, in };
	char byte;

	say(fd, &order, sizeof(order));
	if (in) {
		take_stream(fd, order.packets);
	} else {
		send_stream(fd, order.packets);
		hear(fd, &byte, 1);
	}
}

/* Cases */

static const struct io_case {
	const char *name;
	void (*work)(int fd, bool flag, unsigned int n);
	bool flag;
	unsigned int n;
	int port;			/* 0: the disk */
} cases[] = {
	{ "read-4k-1",		one_by_one,	false,	REQUESTS,	0 },
	{ "write-4k-1",		one_by_one,	true,	REQUESTS,	0 },
	{ "read-4k-32",		many,		false,	REQUESTS,	0 },
	{ "write-4k-32",	many,		true,	REQUESTS,	0 },
	{ "read-1m",		mebibytes,	false,	MIBS,		0 },
	{ "none-read-4k-1",	one_by_one,	false,	REQUESTS,	0 },
	{ "none-write-4k-1",	one_by_one,	true,	REQUESTS,	0 },
	{ "none-read-4k-32",	many,		false,	REQUESTS,	0 },
	{ "none-write-4k-32",	many,		true,	REQUESTS,	0 },
	{ "udp-out-64",		packets_out,	false,	PACKETS,	SINK_PORT },
	{ "udp-out-1400",	packets_out,	true,	PACKETS,	SINK_PORT },
	{ "udp-in-64",		packets_in,	false,	PACKETS,	SOURCE_PORT },
	{ "udp-in-1400",	packets_in,	true,	PACKETS,	SOURCE_PORT },
	{ "tcp-out",		stream,		false,	STREAM / CHUNK,	STREAM_PORT },
	{ "tcp-in",		stream,		true,	STREAM / CHUNK,	STREAM_PORT },
};

#define CASES	(sizeof(cases) / sizeof(cases[0]))

/* Opened once: a server does not notice when a socket's owner changes. */
static int case_fd(const struct io_case *c)
{
	static int fds[1 + STREAM_PORT - SINK_PORT + 1];
	int *fd = &fds[c->port ? 1 + c->port - SINK_PORT : 0];

	if (*fd)
		return *fd;
	*fd = c->port ? make_socket(c->port == STREAM_PORT ? SOCK_STREAM : SOCK_DGRAM, server,
				    c->port) : open(disk, O_RDWR | O_DIRECT);
	if (*fd < 0)
		err(1, "%s", disk);
	return *fd;
}

static void set_up(void)
{
	buffers = mmap(NULL, DEPTH * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (buffers == MAP_FAILED)
		err(1, "mmap");
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static bool wanted(const char *name, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strncmp(name, *names, strlen(*names)))
			return true;
	return false;
}

/* Linux gives a disk with one queue the scheduler mq-deadline, and one with more none. */
static void no_scheduler(void)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/scheduler", strrchr(disk, '/') + 1);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, "none", 4) != 4)
		err(1, "%s", path);
	close(fd);
}

/* A round to warm up, then the one that counts. */
static uint64_t run_case(const struct io_case *c)
{
	uint64_t start;
	int fd = case_fd(c);

	c->work(fd, c->flag, c->n / 4);
	printf("io: begin\n");
	start = tsc();
	c->work(fd, c->flag, c->n);
	return tsc() - start;
}

static void run_cases(char **names)
{
	unsigned int i, ran = 0;

	for (i = 0; i < CASES; i++) {
		uint64_t count;

		if (!wanted(cases[i].name, names))
			continue;
		ran++;
		if (!strncmp(cases[i].name, "none-", 5))
			no_scheduler();
		count = run_case(&cases[i]);
		printf("io: %s %lu %u\n", cases[i].name, count, cases[i].n);
	}
	if (!ran)
		errx(1, "no such case");
	printf("io: end\n");
}

/* The VMM */

/* ns, which are instructions: what the host's CPU slept. */
static uint64_t idle(void)
{
	FILE *f = fopen("/proc/timer_list", "r");
	unsigned long long val = 0, total = 0;
	char line[256];

	if (!f)
		err(1, "/proc/timer_list");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, " .idle_sleeptime : %llu", &val) == 1)
			total += val;
	fclose(f);
	return total;
}

/* What the work says, and figures of it. True: it went to its end. */
static bool listen_to(FILE *out)
{
	uint64_t slept = 0, count;
	char line[1024], name[64];
	unsigned int n;
	char *at;

	while (fgets(line, sizeof(line), out)) {
		at = strstr(line, "io: ");
		if (!at) {
			fputs(line, stderr);
			/* A guest that has stopped would be waited for in vain. */
			if (strstr(line, "Kernel panic"))
				return false;
		} else if (!strncmp(at, "io: begin", 9)) {
			slept = idle();
			fputs("#begin\n", stderr);
		} else if (!strncmp(at, "io: end", 7)) {
			return true;
		} else if (sscanf(at, "io: %63s %lu %u", name, &count, &n) == 3) {
			slept = idle() - slept;
			printf("%s %lu\n", name, (count - slept) / n);
			fprintf(stderr, "# %s: %lu instructions for %u, %lu more slept\n", name,
				count - slept, n, slept);
		}
	}
	return false;
}

static int run_vmm(char **argv)
{
	int in[2], out[2];
	bool good;
	pid_t pid;

	start_servers();
	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		err(1, "pipe");
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		execvp(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	close(in[0]);
	close(out[1]);
	good = listen_to(fdopen(out[0], "r"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!good)
		warnx("%s ended before its guest's work did", argv[0]);
	return !good;
}

/* No idle time here: whatever waits waits for another process. */
static int run_host(char **argv)
{
	int out[2];
	pid_t pid;

	server = "127.0.0.1";
	disk = *argv++;
	start_servers();
	if (pipe(out))
		err(1, "pipe");
	pid = fork();
	if (!pid) {
		dup2(out[1], 1);
		run_cases(argv);
		exit(0);
	}
	close(out[1]);
	return !listen_to(fdopen(out[0], "r"));
}

int main(int argc, char **argv)
{
	set_up();
	if (argc > 2 && !strcmp(argv[1], "vm"))
		return run_vmm(argv + 2);
	if (argc > 2 && !strcmp(argv[1], "host"))
		return run_host(argv + 2);
	if (argc < 2 || strcmp(argv[1], "guest"))
		errx(2, "usage: io host DISK [CASE...] | io vm COMMAND... | io guest [CASE...]");
	run_cases(argv + 2);
	return 0;
}
