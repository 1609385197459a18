// SPDX-License-Identifier: GPL-2.0
/*
 * The launcher's PCI bus and virtio registers, with the test as the guest and no
 * hypervisor: what the specifications promise, and accesses of any kind.
 */
#include <linux/virtio_blk.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio.h"
#include "console.h"
#include "unit.h"
#include "../lib/virtq.h"

#define RAM		(8 * MiB)
#define DISK_BYTES	(1 * MiB)
#define BAR0		0		/* registers */
#define COMMON(field)	offsetof(struct virtio_pci_common_cfg, field)

/* What the launcher has elsewhere. */

static struct vm *vm;
static struct vm_config config;
static unsigned int warnings;
static pthread_mutex_t lines_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t lines_changed = PTHREAD_COND_INITIALIZER;
static bool lines[24];

void warn(const char *fmt, ...)
{
	__atomic_fetch_add(&warnings, 1, __ATOMIC_RELAXED);
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	abort();
}

void *xcalloc(size_t n, size_t size)
{
	return calloc(n, size);
}

void *vm_alloc(struct vm *v, size_t size)
{
	return v->owned[v->nowned++] = calloc(1, size);
}

void vm_add_virtio(struct vm *v, struct virtio_dev *dev)
{
	v->virtio[v->nvirtio++] = dev;
}

void vm_stop(struct vm *v, enum vm_stop why)
{
}

int vm_ioctl(struct vm *v, unsigned long cmd, const char *name, void *arg)
{
	return 0;
}

void vm_irq_line(struct vm *v, unsigned int irq, bool level)
{
	pthread_mutex_lock(&lines_lock);
	lines[irq] = level;
	pthread_cond_broadcast(&lines_changed);
	pthread_mutex_unlock(&lines_lock);
}

int console_open_output(void)
{
	return memfd_create("output", MFD_CLOEXEC);
}

/* A VM with one device of each kind; slots in the order of their start. */
enum { BRIDGE, DISK, DISK_RO, RNG, BALLOON, CONSOLE, SLOTS };

static void setup(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (ftruncate(fd, DISK_BYTES))
		abort();
	config = (struct vm_config){
		.device_fd = -1, .memory = RAM, .cpus = 1, .rng = true, .balloon = true,
		.virtio_console = true, .ndisks = 2,
		.disks = { { .queues = 4, .fd = fd }, { .queues = 1, .fd = fd, .readonly = true } },
	};
	memset(lines, 0, sizeof(lines));
	vm = calloc(1, sizeof(*vm));
	vm->config = &config;
	vm->fd = -1;
	memory_create(vm);
	pci_start(vm);
	virtio_blk_start(vm);
	virtio_rng_start(vm);
	virtio_balloon_start(vm);
	virtio_console_start(vm);
}

static void teardown(void)
{
	for (unsigned int i = 0; i < vm->nvirtio; i++)
		virtio_destroy(vm->virtio[i]);
	for (unsigned int i = 0; i < vm->nowned; i++)
		free(vm->owned[i]);
	memory_destroy(vm);
	close(config.disks[0].fd);
	free(vm);
}

/* The guest's accesses */

static uint64_t in(uint16_t port, unsigned int size)
{
	uint64_t value = 0;

	bus_read(&vm->pio, port, &value, size);
	return value;
}

static void out(uint16_t port, unsigned int size, uint64_t value)
{
	bus_write(&vm->pio, port, &value, size);
}

static uint64_t load(uint64_t gpa, unsigned int size)
{
	uint64_t value = 0;

	bus_read(&vm->mmio, gpa, &value, size);
	return value;
}

static void store(uint64_t gpa, unsigned int size, uint64_t value)
{
	bus_write(&vm->mmio, gpa, &value, size);
}

static uint32_t cfg(unsigned int slot, unsigned int reg, unsigned int size)
{
	out(0xcf8, 4, 0x80000000 | slot << 11 | (reg & 0xfc));
	return in(0xcfc + (reg & 3), size);
}

static void cfg_set(unsigned int slot, unsigned int reg, unsigned int size, uint32_t value)
{
	out(0xcf8, 4, 0x80000000 | slot << 11 | (reg & 0xfc));
	out(0xcfc + (reg & 3), size, value);
}

/* Where a capability is: of virtio if @type is not 0. */
static unsigned int find_cap(unsigned int slot, uint8_t id, uint8_t type)
{
	unsigned int at = cfg(slot, PCI_CAPABILITY_LIST, 1), n = 0;

	for (; at && n < 16; at = cfg(slot, at + PCI_CAP_LIST_NEXT, 1), n++)
		if (cfg(slot, at, 1) == id &&
		    (!type || cfg(slot, at + offsetof(struct virtio_pci_cap, cfg_type), 1) == type))
			return at;
	EXPECT(n < 16);
	return 0;
}

static uint64_t regs(unsigned int slot)
{
	return cfg(slot, PCI_BASE_ADDRESS_0, 4) & ~0xfu;
}

static uint16_t ports(unsigned int slot)
{
	return cfg(slot, PCI_BASE_ADDRESS_1, 4) & ~3u;
}

TEST(header)
{
	setup();
	EXPECT_EQ(cfg(BRIDGE, 0, 4), 0x11111af4);
	EXPECT_EQ(cfg(BRIDGE, PCI_CLASS_DEVICE, 2), 0x0600);
	EXPECT_EQ(cfg(DISK, 0, 4), 0x10421af4);
	EXPECT_EQ(cfg(RNG, 0, 4), 0x10441af4);
	EXPECT_EQ(cfg(BALLOON, 0, 4), 0x10451af4);
	EXPECT_EQ(cfg(CONSOLE, 0, 4), 0x10431af4);
	EXPECT_EQ(cfg(SLOTS, 0, 4), 0xffffffff);
	EXPECT_EQ(cfg(31, 0, 2), 0xffff);
	for (unsigned int reg = 0; reg < 256; reg++) {
		uint32_t word = cfg(DISK, reg & ~3u, 4);

		if (reg == find_cap(DISK, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG) + 16)
			continue;
		EXPECT_EQ(cfg(DISK, reg, 1), word >> 8 * (reg & 3) & 0xff);
		if (!(reg & 1))
			EXPECT_EQ(cfg(DISK, reg, 2), word >> 8 * (reg & 2) & 0xffff);
	}
	/* another bus, another function, disabled, the address in pieces */
	for (unsigned int bit = 8; bit < 24; bit++) {
		if (bit >= 11 && bit < 16)
			continue;
		out(0xcf8, 4, 0x80000000 | DISK << 11 | 1 << bit);
		EXPECT_EQ(in(0xcfc, 4), 0xffffffff);
	}
	out(0xcf8, 4, DISK << 11);
	EXPECT_EQ(in(0xcfc, 4), 0xffffffff);
	out(0xcf8, 4, 0x80000000 | DISK << 11);
	out(0xcf8, 1, 0x40);
	EXPECT_EQ(in(0xcf8, 4), 0x80000000 | DISK << 11);
	EXPECT_EQ(in(0xcfb, 1), 0x80);
	/* across the end of the data register: not a cycle of this kind */
	EXPECT_EQ(in(0xcff, 2), 0xffff);
	teardown();
}

TEST(capabilities)
{
	static const struct { uint8_t type, bar; uint32_t len; } want[] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, 0, sizeof(struct virtio_pci_common_cfg) },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, 1, 4 * VIRTIO_NOTIFY_STEP },
		{ VIRTIO_PCI_CAP_ISR_CFG, 0, 1 },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, 0, offsetof(struct virtio_blk_config,
							 max_secure_erase_sectors) },
		{ VIRTIO_PCI_CAP_PCI_CFG, 0, 0 },
	};

	setup();
	EXPECT(cfg(DISK, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	for (unsigned int i = 0; i < ARRAY_SIZE(want); i++) {
		unsigned int at = find_cap(DISK, PCI_CAP_ID_VNDR, want[i].type);

		EXPECT(at);
		EXPECT_EQ(cfg(DISK, at + 4, 1), want[i].bar);
		EXPECT_EQ(cfg(DISK, at + 12, 4), want[i].len);
	}
	EXPECT(find_cap(DISK, PCI_CAP_ID_MSIX, 0));
	EXPECT_EQ(cfg(DISK, find_cap(DISK, PCI_CAP_ID_MSIX, 0) + PCI_MSIX_FLAGS, 2), 4);
	teardown();
}

TEST(bars)
{
	uint64_t old;
	uint16_t port;

	setup();
	old = regs(DISK);
	port = ports(DISK);
	EXPECT_EQ(old, GPA_PCI);
	EXPECT_EQ(load(old + COMMON(num_queues), 2), 4);
	/* sizing, with decoding off as the specification wants it */
	cfg_set(DISK, PCI_COMMAND, 2, 0);
	EXPECT_EQ(load(old + COMMON(num_queues), 2), 0xffff);
	cfg_set(DISK, PCI_BASE_ADDRESS_0, 4, 0xffffffff);
	cfg_set(DISK, PCI_BASE_ADDRESS_1, 4, 0xffffffff);
	cfg_set(DISK, PCI_BASE_ADDRESS_2, 4, 0xffffffff);
	cfg_set(DISK, PCI_ROM_ADDRESS, 4, 0xffffffff);
	EXPECT_EQ(cfg(DISK, PCI_BASE_ADDRESS_0, 4), 0xffffe000);
	EXPECT_EQ(cfg(DISK, PCI_BASE_ADDRESS_1, 4), 0xfffffff9);
	EXPECT_EQ(cfg(DISK, PCI_BASE_ADDRESS_2, 4), 0);
	EXPECT_EQ(cfg(DISK, PCI_ROM_ADDRESS, 4), 0);
	cfg_set(DISK, PCI_BASE_ADDRESS_0, 4, GPA_PCI + 0x100000);
	cfg_set(DISK, PCI_BASE_ADDRESS_1, 4, 0xc000);
	cfg_set(DISK, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	EXPECT_EQ(load(old + COMMON(num_queues), 2), 0xffff);
	EXPECT_EQ(load(GPA_PCI + 0x100000 + COMMON(num_queues), 2), 4);
	EXPECT_EQ(in(port, 2), 0xffff);
	EXPECT_EQ(in(0xc000, 2), 0);
	/* to where another one is: that must not upset anything */
	cfg_set(DISK, PCI_BASE_ADDRESS_0, 4, regs(RNG));
	load(regs(RNG), 8);
	teardown();
}

/* Everything through the window in configuration space, as a driver without mappings has it. */
static unsigned int window_at;

static void window(unsigned int slot, uint8_t bar, uint32_t offset, uint32_t len)
{
	window_at = find_cap(slot, PCI_CAP_ID_VNDR, VIRTIO_PCI_CAP_PCI_CFG);
	cfg_set(slot, window_at + offsetof(struct virtio_pci_cap, bar), 1, bar);
	cfg_set(slot, window_at + offsetof(struct virtio_pci_cap, offset), 4, offset);
	cfg_set(slot, window_at + offsetof(struct virtio_pci_cap, length), 4, len);
}

static uint32_t through(unsigned int slot, uint32_t offset, uint32_t len)
{
	window(slot, 0, offset, len);
	return cfg(slot, window_at + 16, len);
}

static void through_set(unsigned int slot, uint32_t offset, uint32_t len, uint32_t value)
{
	window(slot, 0, offset, len);
	cfg_set(slot, window_at + 16, len, value);
}

TEST(configuration_window)
{
	static const uint32_t bad[][3] = {	/* BAR, offset, length */
		{ 0, 0, 0 }, { 0, 0, 3 }, { 0, 0, 8 }, { 0, 0, ~0u }, { 0, 2, 4 }, { 0, 1, 2 },
		{ 0, 0x2000, 1 }, { 0, ~3u, 4 }, { 1, 8, 1 }, { 2, 0, 4 }, { 5, 0, 4 },
		{ 255, 0, 4 },
	};

	setup();
	cfg_set(DISK, PCI_COMMAND, 2, 0);	/* works all the same */
	EXPECT_EQ(through(DISK, COMMON(num_queues), 2), 4);
	EXPECT_EQ(through(DISK, 0x200, 4), DISK_BYTES / 512);
	through_set(DISK, COMMON(device_status), 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	EXPECT_EQ(through(DISK, COMMON(device_status), 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	through_set(DISK, COMMON(queue_select), 2, 3);
	EXPECT_EQ(through(DISK, COMMON(queue_notify_off), 2), 3);
	through_set(DISK, MSIX_TABLE + 24, 4, 0x1234);
	EXPECT_EQ(through(DISK, MSIX_TABLE + 24, 4), 0x1234);
	through_set(DISK, MSIX_TABLE + 24, 2, 0);	/* whole words or nothing */
	EXPECT_EQ(through(DISK, MSIX_TABLE + 24, 4), 0x1234);

	/* What names nothing does nothing: the bytes stay what was written there. */
	for (unsigned int i = 0; i < ARRAY_SIZE(bad); i++) {
		window(DISK, bad[i][0], bad[i][1], bad[i][2]);
		cfg_set(DISK, window_at + 16, 4, 0xa5a5a5a5);
		EXPECT_EQ(cfg(DISK, window_at + 16, 4), 0xa5a5a5a5);
	}
	EXPECT_EQ(through(DISK, COMMON(device_status), 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	teardown();
}

TEST(negotiation)
{
	uint64_t r;

	setup();
	r = regs(RNG);
	EXPECT_EQ(load(r + COMMON(device_status), 1), 0);
	store(r + COMMON(device_status), 1, 3);
	/* not without VIRTIO_F_VERSION_1, nor with what was not offered */
	store(r + COMMON(device_status), 1, 11);
	EXPECT_EQ(load(r + COMMON(device_status), 1), 3);
	store(r + COMMON(guest_feature_select), 4, 1);
	store(r + COMMON(guest_feature), 4, ~0u);
	store(r + COMMON(device_status), 1, 15);
	EXPECT_EQ(load(r + COMMON(device_status), 1), 3);
	store(r + COMMON(guest_feature), 4, 1);
	store(r + COMMON(device_status), 1, 11);
	EXPECT_EQ(load(r + COMMON(device_status), 1), 11);
	/* settled now */
	store(r + COMMON(guest_feature), 4, 0);
	EXPECT_EQ(load(r + COMMON(guest_feature), 4), 1);
	/* a queue of an impossible size, and one that there is not */
	for (unsigned int size = 0; size < 0x10000; size += 3) {
		store(r + COMMON(queue_size), 2, size);
		EXPECT(!(load(r + COMMON(queue_size), 2) & (load(r + COMMON(queue_size), 2) - 1)));
	}
	store(r + COMMON(queue_select), 2, 1);
	EXPECT_EQ(load(r + COMMON(queue_size), 2), 0);
	store(r + COMMON(queue_enable), 2, 1);
	EXPECT_EQ(load(r + COMMON(queue_enable), 2), 0);
	/* rings outside of memory */
	store(r + COMMON(queue_select), 2, 0);
	store(r + COMMON(queue_desc_hi), 4, ~0u);
	store(r + COMMON(queue_enable), 2, 1);
	store(r + COMMON(device_status), 1, 15);
	EXPECT_EQ(load(r + COMMON(device_status), 1), 15 | VIRTIO_CONFIG_S_NEEDS_RESET);
	store(r + COMMON(device_status), 1, 0);
	EXPECT_EQ(load(r + COMMON(device_status), 1), 0);
	EXPECT_EQ(load(r + COMMON(queue_enable), 2), 0);
	teardown();
}

static void begin(unsigned int slot, struct virtq *q, unsigned int n)
{
	uint64_t r = regs(slot);

	virtq_init(q, vm->ram, 0x10000 + n * VIRTQ_BYTES, 16, 0, 0);
	store(r + COMMON(guest_feature_select), 4, 1);
	store(r + COMMON(guest_feature), 4, 1);
	store(r + COMMON(device_status), 1, 11);
	store(r + COMMON(queue_select), 2, n);
	store(r + COMMON(queue_size), 2, 16);
	store(r + COMMON(queue_desc_lo), 4, q->desc);
	store(r + COMMON(queue_avail_lo), 4, q->driver);
	store(r + COMMON(queue_used_lo), 4, q->device);
	store(r + COMMON(queue_enable), 2, 1);
	store(r + COMMON(device_status), 1, 15);
}

/* INTA of slot n is GSI 16 + n % 4, up until the ISR register is read. */
TEST(intx)
{
	unsigned int line = 16 + RNG % 4;
	struct virtq_buf b = { 0x100000, 64 };
	struct virtq q;
	uint64_t r;
	u32 len;

	setup();
	r = regs(RNG);
	begin(RNG, &q, 0);
	EXPECT_EQ(cfg(RNG, PCI_INTERRUPT_PIN, 1), 1);
	for (int i = 0; i < 40; i++) {
		EXPECT_EQ(lines[line], false);
		virtq_add(&q, &b, 0, 1, 0);
		virtq_publish(&q);
		out(ports(RNG), 2, 0);
		pthread_mutex_lock(&lines_lock);
		while (!lines[line])
			pthread_cond_wait(&lines_changed, &lines_lock);
		pthread_mutex_unlock(&lines_lock);
		EXPECT(virtq_used(&q, &len) >= 0 && len == 64);
		EXPECT_EQ(load(r + 0x100, 1), 1);
		EXPECT_EQ(load(r + 0x100, 1), 0);
	}
	/* pulled, and switched off by the command register, or by MSI-X */
	pci_signal(&vm->virtio[RNG - 1]->pci, 0);
	EXPECT_EQ(lines[line], true);
	cfg_set(RNG, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	EXPECT_EQ(lines[line], false);
	teardown();
}

TEST(requests)
{
	struct virtio_blk_outhdr *hdr;
	struct virtq_buf b[3] = { { 0x100000, sizeof(*hdr) }, { 0x101000, 512 }, { 0x102000, 1 } };
	struct virtq q;
	uint8_t data[512];
	u32 len;
	int id;

	setup();
	hdr = (void *)(vm->ram + 0x100000);
	begin(DISK, &q, 2);
	for (unsigned int i = 0; i < 20; i++) {
		bool bad = i % 5 == 4;

		*hdr = (struct virtio_blk_outhdr){ .type = VIRTIO_BLK_T_OUT,
						   .sector = bad ? DISK_BYTES / 512 : i };
		memset(vm->ram + 0x101000, i + 1, 512);
		id = virtq_add(&q, b, 2, 1, 0);
		virtq_publish(&q);
		out(ports(DISK) + 2 * VIRTIO_NOTIFY_STEP, 2, 2);
		while (!virtq_pending(&q))
			usleep(100);
		EXPECT_EQ(virtq_used(&q, &len), id);
		EXPECT_EQ(vm->ram[0x102000], bad ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
		if (!bad)
			EXPECT(pread(config.disks[0].fd, data, 512, i * 512) == 512 &&
			       data[0] == i + 1 && data[511] == i + 1);
	}
	/* a chain without a header: the device gives up, the others do not */
	virtq_add(&q, b + 1, 0, 1, 0);
	virtq_publish(&q);
	out(ports(DISK) + 2 * VIRTIO_NOTIFY_STEP, 2, 2);
	while (!(load(regs(DISK) + COMMON(device_status), 1) & VIRTIO_CONFIG_S_NEEDS_RESET))
		usleep(100);
	EXPECT_EQ(load(regs(DISK_RO) + COMMON(device_status), 1), 0);
	teardown();
}

/* Accesses of any kind, with a bias to what means something. */

static uint64_t state = 88172645463325252ULL;

static uint64_t rnd(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static uint64_t value(void)
{
	switch (rnd(5)) {
	case 0:
		return rnd(2) ? 0 : ~0ULL;
	case 1:
		return 1ULL << rnd(64);
	case 2:
		return rnd(16);
	case 3:
		return rnd(RAM) & ~0xfULL;
	default:
		return state;
	}
}

static void any_one(void)
{
	unsigned int size = 1 << rnd(4), slot = rnd(SLOTS + 1);
	uint64_t r;

	switch (rnd(8)) {
	case 0:			/* configuration space, with any address, too */
		if (!rnd(20))
			out(0xcf8, 4, value());
		else if (rnd(2))
			cfg(slot, rnd(256), size & 7 ?: 4);
		else
			cfg_set(slot, rnd(256), size & 7 ?: 4, value());
		break;
	case 1:			/* what the window shows */
		if (slot >= DISK && slot < SLOTS && find_cap(slot, PCI_CAP_ID_VNDR, 5)) {
			window(slot, rnd(3), rnd(4) ? rnd(0x400) : value(), rnd(6));
			if (rnd(2))
				cfg(slot, window_at + 16 + rnd(4), 1);
			else
				cfg_set(slot, window_at + 16, 4, value());
		}
		break;
	case 2:
		out(0x1000 + rnd(0x100), size & 7 ?: 4, value());
		in(0x1000 + rnd(0x100), size & 7 ?: 4);
		break;
	case 3:			/* a device that runs, on whatever is in its rings */
		if (slot >= DISK && slot < SLOTS && !rnd(4)) {
			r = GPA_PCI + 0x2000 * (slot - 1);
			store(r + COMMON(device_status), 1, 0);
			store(r + COMMON(guest_feature_select), 4, 1);
			store(r + COMMON(guest_feature), 4, rnd(2) ? 1 : 5);
			store(r + COMMON(device_status), 1, 11);
			for (unsigned int n = 0; n < 4; n++) {
				store(r + COMMON(queue_select), 2, n);
				store(r + COMMON(queue_desc_lo), 4, rnd(RAM) & ~0xfu);
				store(r + COMMON(queue_avail_lo), 4, rnd(RAM) & ~0xfu);
				store(r + COMMON(queue_used_lo), 4, rnd(RAM) & ~0xfu);
				store(r + COMMON(queue_enable), 2, rnd(2));
			}
			store(r + COMMON(device_status), 1, 15);
		}
		break;
	case 4:			/* and what is in them */
		for (uint64_t at = rnd(RAM - 4096), i = 0; i < 512; i++)
			__atomic_store_n((uint64_t *)(vm->ram + (at & ~7ULL)) + i, value(),
					 __ATOMIC_RELAXED);
		break;
	default:
		r = GPA_PCI + 0x2000 * rnd(SLOTS) + (rnd(2) ? rnd(0x40) : rnd(0x2000));
		if (rnd(2))
			load(r, size);
		else
			store(r, size, value());
	}
}

TEST(any_access)
{
	setup();
	for (int i = 0; i < 100000; i++) {
		any_one();
		/* Back to where they can be reached, now and then. */
		if (i % 64 == 63)
			for (unsigned int slot = DISK; slot < SLOTS; slot++) {
				cfg_set(slot, PCI_BASE_ADDRESS_0, 4, GPA_PCI + 0x2000 * (slot - 1));
				cfg_set(slot, PCI_BASE_ADDRESS_1, 4, 0x1000 + 0x10 * slot);
				cfg_set(slot, PCI_COMMAND, 2, 3);
			}
	}
	/* Still there, and as it should be after a reset. */
	for (unsigned int slot = DISK; slot < SLOTS; slot++) {
		cfg_set(slot, PCI_BASE_ADDRESS_0, 4, GPA_PCI + 0x2000 * (slot - 1));
		cfg_set(slot, PCI_COMMAND, 2, 3);
		store(regs(slot) + COMMON(device_status), 1, 0);
		EXPECT_EQ(load(regs(slot) + COMMON(device_status), 1), 0);
		EXPECT_EQ(cfg(slot, 0, 2), 0x1af4);
	}
	teardown();
}
