// SPDX-License-Identifier: GPL-2.0
/*
 * A PCI bus: configuration access by ports 0xcf8 and 0xcfc, a host bridge, devices
 * with BARs that the guest may move, MSI-X and INTA.
 *
 * Owns:    struct pci; the headers and MSI-X tables of all devices.
 * Touches: interrupts 16-19, messages.
 * Locks:   pci->lock is for the table of devices' places and for interrupt lines,
 *          innermost. Each device's lock is taken here around its handlers, and
 *          its irq_lock around MSI-X state, so that a device's thread can
 *          interrupt while a vCPU is in the device.
 * Manuals: PCI Local Bus Specification 3.0, "Configuration Space" and "MSI-X
 *          Capability and Table Structure".
 */
#include <errno.h>
#include <linux/virtio_pci.h>
#include <string.h>
#include <sys/ioctl.h>

#include "pci.h"

#define ADDRESS_PORT	0xcf8
#define DATA_PORT	0xcfc
#define ADDRESS_ENABLE	BIT(31)
#define VENDOR_VIRTIO	0x1af4		/* Red Hat's, as virtio demands */
#define DEVICE_BRIDGE	0x1111
#define CLASS_BRIDGE	0x06000000u

#define IO_BASE		0x1000u		/* what the DSDT's _CRS offers */
#define IO_END		0x10000u

struct pci {
	struct vm *vm;
	pthread_mutex_t lock, address_lock;
	uint32_t address;		/* last written to ADDRESS_PORT */
	struct pci_dev *dev[PCI_SLOTS];
	unsigned int count, next_io;
	uint64_t next_mem;
	unsigned int raised[PCI_GSIS];	/* devices that pull on a line */
	struct pci_dev bridge;
};

static uint16_t command(const struct pci_dev *dev)
{
	return get_le16(dev->config + PCI_COMMAND);
}

/* Find the device and BAR that decode an address. */
static struct pci_dev *decode(struct pci *pci, bool is_io, uint64_t addr, unsigned int size,
			      struct pci_bar **bar, uint64_t *offset)
{
	struct pci_dev *found = NULL;

	pthread_mutex_lock(&pci->lock);
	for (unsigned int i = 0; i < pci->count && !found; i++) {
		for (unsigned int b = 0; b < PCI_BARS; b++) {
			struct pci_bar *r = &pci->dev[i]->bar[b];

			if (!r->base || r->is_io != is_io || addr < r->base ||
			    addr - r->base >= r->size || size > r->size - (addr - r->base))
				continue;
			*bar = r;
			*offset = addr - r->base;
			found = pci->dev[i];
			break;
		}
	}
	pthread_mutex_unlock(&pci->lock);
	return found;
}

/* Where a BAR answers now: nowhere while the command register has its kind off. */
static void place_bars(struct pci_dev *dev)
{
	struct pci *pci = dev->vm->pci;
	bool moved = false;

	pthread_mutex_lock(&pci->lock);
	for (unsigned int b = 0; b < PCI_BARS; b++) {
		struct pci_bar *bar = &dev->bar[b];
		uint16_t bit = bar->is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
		uint64_t base = get_le32(dev->config + PCI_BASE_ADDRESS_0 + 4 * b) & ~0xfULL;

		if (bar->is_io)
			base = get_le32(dev->config + PCI_BASE_ADDRESS_0 + 4 * b) & ~3ULL;
		if (!bar->size)
			continue;
		if (!(command(dev) & bit))
			base = 0;
		moved |= base != bar->base;
		bar->base = base;
	}
	pthread_mutex_unlock(&pci->lock);
	if (moved && dev->moved)
		dev->moved(dev);
}

static void send(struct pci_dev *dev, struct msix_vector *v)
{
	struct kvm_msi msi = {
		.address_lo = v->address,
		.address_hi = v->address >> 32,
		.data = v->data,
	};

	v->pending = false;
	ioctl(dev->vm->fd, KVM_SIGNAL_MSI, &msi);
}

static void send_pending(struct pci_dev *dev)
{
	if (!dev->msix_enabled || dev->msix_masked)
		return;
	for (unsigned int i = 0; i < dev->vectors; i++)
		if (dev->msix[i].pending && !dev->msix[i].masked)
			send(dev, &dev->msix[i]);
}

/* Drive the wire, which is shared by the devices of every fourth slot. */
static void drive_line(struct pci_dev *dev, bool level)
{
	struct pci *pci = dev->vm->pci;
	unsigned int line = dev->slot % PCI_GSIS;

	pthread_mutex_lock(&pci->lock);
	pci->raised[line] += level ? 1 : -1;
	if (pci->raised[line] == (level ? 1 : 0))
		vm_irq_line(dev->vm, PCI_GSI_BASE + line, level);
	pthread_mutex_unlock(&pci->lock);
}

static void set_intx(struct pci_dev *dev, bool level)
{
	if (dev->msix_enabled || (command(dev) & PCI_COMMAND_INTX_DISABLE))
		level = false;
	if (level != dev->intx)
		drive_line(dev, level);
	dev->intx = level;
}

/**
 * pci_set_intx() - Raise or lower INTA
 *
 * For devices whose guest uses no MSI-X; @level is ignored when it does.
 */
void pci_set_intx(struct pci_dev *dev, bool level)
{
	pthread_mutex_lock(&dev->irq_lock);
	set_intx(dev, level);
	pthread_mutex_unlock(&dev->irq_lock);
}

/**
 * pci_signal() - Interrupt the guest
 * @vector: of MSI-X; without MSI-X INTA is raised, until pci_set_intx() lowers it
 *
 * From any thread, with or without the device's lock.
 */
void pci_signal(struct pci_dev *dev, unsigned int vector)
{
	pthread_mutex_lock(&dev->irq_lock);
	if (!dev->msix_enabled) {
		set_intx(dev, true);
	} else if (vector < dev->vectors) {
		struct msix_vector *v = &dev->msix[vector];

		if (dev->msix_masked || v->masked)
			v->pending = true;
		else
			send(dev, v);
	}
	pthread_mutex_unlock(&dev->irq_lock);
}

bool pci_uses_msix(struct pci_dev *dev)
{
	bool enabled;

	pthread_mutex_lock(&dev->irq_lock);
	enabled = dev->msix_enabled;
	pthread_mutex_unlock(&dev->irq_lock);
	return enabled;
}

/**
 * pci_vector_get() - The message of a vector
 *
 * Return: false when none can be sent now.
 */
bool pci_vector_get(struct pci_dev *dev, unsigned int vector, struct kvm_msi *msi)
{
	bool usable = false;

	pthread_mutex_lock(&dev->irq_lock);
	if (vector < dev->vectors && dev->msix_enabled) {
		struct msix_vector *v = &dev->msix[vector];

		usable = !dev->msix_masked && !v->masked;
		*msi = (struct kvm_msi){
			.address_lo = v->address,
			.address_hi = v->address >> 32,
			.data = v->data,
		};
	}
	pthread_mutex_unlock(&dev->irq_lock);
	return usable;
}

static uint64_t msix_read(struct pci_dev *dev, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	pthread_mutex_lock(&dev->irq_lock);
	if (offset < MSIX_PBA) {
		unsigned int i = (offset - MSIX_TABLE) / PCI_MSIX_ENTRY_SIZE;

		if (i < dev->vectors) {
			const struct msix_vector *v = &dev->msix[i];
			uint64_t words[2] = { v->address, v->data | (uint64_t)v->masked << 32 };
			uint64_t at = offset % PCI_MSIX_ENTRY_SIZE;

			value = words[at / 8] >> 8 * (at % 8);
		}
	} else if (offset < MSIX_PBA + 8) {
		for (unsigned int i = 0; i < dev->vectors; i++)
			value |= (uint64_t)dev->msix[i].pending << i;
		value >>= 8 * (offset - MSIX_PBA);
	}
	pthread_mutex_unlock(&dev->irq_lock);
	return value;
}

static void msix_write_word(struct pci_dev *dev, struct msix_vector *v, unsigned int at,
			    uint32_t value)
{
	switch (at) {
	case PCI_MSIX_ENTRY_LOWER_ADDR:
		v->address = (v->address & ~0xffffffffULL) | value;
		break;
	case PCI_MSIX_ENTRY_UPPER_ADDR:
		v->address = (uint32_t)v->address | (uint64_t)value << 32;
		break;
	case PCI_MSIX_ENTRY_DATA:
		v->data = value;
		break;
	case PCI_MSIX_ENTRY_VECTOR_CTRL:
		v->masked = value & PCI_MSIX_ENTRY_CTRL_MASKBIT;
		break;
	}
}

/* Whole words or pairs of them: nothing else is defined. */
static void msix_write(struct pci_dev *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	unsigned int i = (offset - MSIX_TABLE) / PCI_MSIX_ENTRY_SIZE;

	if (offset >= MSIX_PBA || i >= dev->vectors || size < 4 || offset % size)
		return;
	pthread_mutex_lock(&dev->irq_lock);
	for (unsigned int done = 0; done < size; done += 4, value >>= 32)
		msix_write_word(dev, &dev->msix[i], (offset + done) % PCI_MSIX_ENTRY_SIZE, value);
	send_pending(dev);
	pthread_mutex_unlock(&dev->irq_lock);
	if (dev->vector_changed)
		dev->vector_changed(dev, i);
}

/* @dev's lock held. */
static bool is_msix(const struct pci_dev *dev, const struct pci_bar *bar, uint64_t offset)
{
	return bar == &dev->bar[0] && dev->vectors && offset >= MSIX_TABLE && offset < MSIX_END;
}

static uint64_t read_bar(struct pci_dev *dev, const struct pci_bar *bar, uint64_t offset,
			 unsigned int size)
{
	return is_msix(dev, bar, offset) ? msix_read(dev, offset, size) :
					   bar->ops->read(dev, offset, size);
}

static void write_bar(struct pci_dev *dev, const struct pci_bar *bar, uint64_t offset,
		      unsigned int size, uint64_t value)
{
	if (is_msix(dev, bar, offset))
		msix_write(dev, offset, size, value);
	else
		bar->ops->write(dev, offset, size, value);
}

static uint64_t bus_to_bar_read(struct pci *pci, bool is_io, uint64_t addr, unsigned int size)
{
	struct pci_bar *bar;
	uint64_t offset, value;
	struct pci_dev *dev = decode(pci, is_io, addr, size, &bar, &offset);

	if (!dev)
		return ~0ULL;
	pthread_mutex_lock(&dev->lock);
	value = read_bar(dev, bar, offset, size);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void bus_to_bar_write(struct pci *pci, bool is_io, uint64_t addr, unsigned int size,
			     uint64_t value)
{
	struct pci_bar *bar;
	uint64_t offset;
	struct pci_dev *dev = decode(pci, is_io, addr, size, &bar, &offset);

	if (!dev)
		return;
	pthread_mutex_lock(&dev->lock);
	write_bar(dev, bar, offset, size, value);
	pthread_mutex_unlock(&dev->lock);
}

/*
 * The window of a virtio device: its last four bytes stand for what BAR, offset and
 * length in it name. The other values that a driver may write there do nothing.
 */
static const struct pci_bar *window(const struct pci_dev *dev, unsigned int reg,
				    uint32_t *offset, uint32_t *len)
{
	const uint8_t *cap = dev->config + dev->window;
	unsigned int bar = cap[offsetof(struct virtio_pci_cap, bar)];

	if (!dev->window || reg != dev->window + sizeof(struct virtio_pci_cap) ||
	    bar >= PCI_BARS)
		return NULL;
	*offset = get_le32(cap + offsetof(struct virtio_pci_cap, offset));
	*len = get_le32(cap + offsetof(struct virtio_pci_cap, length));
	if ((*len != 1 && *len != 2 && *len != 4) || *offset % *len ||
	    *offset >= dev->bar[bar].size)
		return NULL;
	return &dev->bar[bar];
}

static uint64_t mem_read(void *pci, uint64_t offset, unsigned int size)
{
	return bus_to_bar_read(pci, false, GPA_PCI + offset, size);
}

static void mem_write(void *pci, uint64_t offset, unsigned int size, uint64_t value)
{
	bus_to_bar_write(pci, false, GPA_PCI + offset, size, value);
}

static uint64_t io_read(void *pci, uint64_t offset, unsigned int size)
{
	return bus_to_bar_read(pci, true, IO_BASE + offset, size);
}

static void io_write(void *pci, uint64_t offset, unsigned int size, uint64_t value)
{
	bus_to_bar_write(pci, true, IO_BASE + offset, size, value);
}

/* What follows from a write to the MSI-X capability or the command register. */
static void update_interrupts(struct pci_dev *dev)
{
	uint16_t flags = dev->msix_cap ? get_le16(dev->config + dev->msix_cap + PCI_MSIX_FLAGS) : 0;
	bool changed;

	pthread_mutex_lock(&dev->irq_lock);
	changed = dev->msix_enabled != !!(flags & PCI_MSIX_FLAGS_ENABLE) ||
		  dev->msix_masked != !!(flags & PCI_MSIX_FLAGS_MASKALL);
	dev->msix_enabled = flags & PCI_MSIX_FLAGS_ENABLE;
	dev->msix_masked = flags & PCI_MSIX_FLAGS_MASKALL;
	set_intx(dev, dev->intx);
	send_pending(dev);
	pthread_mutex_unlock(&dev->irq_lock);
	if (!changed || !dev->vector_changed)
		return;
	for (unsigned int i = 0; i < dev->vectors; i++)
		dev->vector_changed(dev, i);
}

static struct pci_dev *addressed(struct pci *pci, unsigned int *reg)
{
	uint32_t address;

	pthread_mutex_lock(&pci->address_lock);
	address = pci->address;
	pthread_mutex_unlock(&pci->address_lock);
	*reg = address & 0xfc;
	/* Bus 0 and function 0 are all there is. */
	if (!(address & ADDRESS_ENABLE) || (address & 0x00ff0700) ||
	    (address >> 11 & 31) >= pci->count)
		return NULL;
	return pci->dev[address >> 11 & 31];
}

static uint64_t config_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci *pci = opaque;
	unsigned int reg;
	struct pci_dev *dev = addressed(pci, &reg);
	const struct pci_bar *bar;
	uint32_t at, len;
	uint64_t value;

	if (!dev)
		return ~0ULL;
	pthread_mutex_lock(&dev->lock);
	bar = window(dev, reg, &at, &len);
	if (bar) {
		value = read_bar(dev, bar, at, len);
		for (unsigned int i = 0; i < len; i++, value >>= 8)
			dev->config[reg + i] = value;
	}
	value = get_le32(dev->config + reg) >> 8 * offset;
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void config_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci *pci = opaque;
	unsigned int reg;
	struct pci_dev *dev = addressed(pci, &reg);
	const struct pci_bar *bar;
	uint32_t at, len;

	if (!dev)
		return;
	pthread_mutex_lock(&dev->lock);
	for (unsigned int i = reg + offset; size--; i++, value >>= 8)
		dev->config[i] = (dev->config[i] & ~dev->writable[i]) |
				 (value & dev->writable[i]);
	bar = window(dev, reg, &at, &len);
	if (bar)
		write_bar(dev, bar, at, len, get_le32(dev->config + reg));
	place_bars(dev);
	update_interrupts(dev);
	pthread_mutex_unlock(&dev->lock);
}

static uint64_t address_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct pci *pci = opaque;
	uint64_t value;

	pthread_mutex_lock(&pci->address_lock);
	value = pci->address >> 8 * offset;
	pthread_mutex_unlock(&pci->address_lock);
	return value;
}

static void address_write(void *opaque, uint64_t offset, unsigned int size, uint64_t value)
{
	struct pci *pci = opaque;

	if (size != 4)
		return;		/* the register is written as a whole */
	pthread_mutex_lock(&pci->address_lock);
	pci->address = value;
	pthread_mutex_unlock(&pci->address_lock);
}

static const struct io_ops mem_ops = { mem_read, mem_write };
static const struct io_ops io_ops = { io_read, io_write };
static const struct io_ops address_ops = { address_read, address_write };
static const struct io_ops data_ops = { config_read, config_write };

/**
 * pci_add_capability() - Append a capability
 * @size: of all of it, with its two-byte head
 *
 * Return: where it is; all of it but the head is zero.
 */
uint8_t *pci_add_capability(struct pci_dev *dev, uint8_t id, unsigned int size)
{
	unsigned int at = dev->config_end;

	if (at + size > PCI_CFG_SPACE_SIZE)
		die("internal error: PCI capabilities do not fit");
	*dev->last_link = at;
	dev->last_link = &dev->config[at + PCI_CAP_LIST_NEXT];
	dev->config[at + PCI_CAP_LIST_ID] = id;
	dev->config_end = ALIGN_UP(at + size, 4);
	put_le16(dev->config + PCI_STATUS, PCI_STATUS_CAP_LIST);
	return dev->config + at;
}

static void add_msix(struct pci_dev *dev)
{
	uint8_t *cap = pci_add_capability(dev, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);

	dev->msix_cap = cap - dev->config;
	put_le16(cap + PCI_MSIX_FLAGS, dev->vectors - 1);
	put_le32(cap + PCI_MSIX_TABLE, MSIX_TABLE);	/* both in BAR 0 */
	put_le32(cap + PCI_MSIX_PBA, MSIX_PBA);
	put_le16(dev->writable + dev->msix_cap + PCI_MSIX_FLAGS,
		 PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned int i = 0; i < dev->vectors; i++)
		dev->msix[i].masked = true;
}

/**
 * pci_init() - A device's header
 * @vectors: of MSI-X, 0 for none
 *
 * Then come its capabilities and BARs, and pci_add().
 */
void pci_init(struct pci_dev *dev, uint16_t device, uint32_t class_revision, unsigned int vectors)
{
	pthread_mutex_init(&dev->lock, NULL);
	pthread_mutex_init(&dev->irq_lock, NULL);
	put_le16(dev->config + PCI_VENDOR_ID, VENDOR_VIRTIO);
	put_le16(dev->config + PCI_DEVICE_ID, device);
	put_le32(dev->config + PCI_CLASS_REVISION, class_revision);
	put_le16(dev->config + PCI_SUBSYSTEM_VENDOR_ID, VENDOR_VIRTIO);
	put_le16(dev->config + PCI_SUBSYSTEM_ID, device);
	put_le16(dev->writable + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY |
		 PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	dev->writable[PCI_INTERRUPT_LINE] = 0xff;
	dev->last_link = &dev->config[PCI_CAPABILITY_LIST];
	dev->config_end = PCI_STD_HEADER_SIZEOF;
	dev->vectors = vectors;
	if (vectors)
		add_msix(dev);
}

/* There is no firmware: a device comes up with its place in the windows of _CRS. */
static void assign(struct pci *pci, struct pci_dev *dev, unsigned int b)
{
	struct pci_bar *bar = &dev->bar[b];
	unsigned int reg = PCI_BASE_ADDRESS_0 + 4 * b;

	if (!bar->size)
		return;
	if (bar->is_io) {
		pci->next_io = ALIGN_UP(pci->next_io, bar->size);
		put_le32(dev->config + reg, pci->next_io | PCI_BASE_ADDRESS_SPACE_IO);
		put_le32(dev->writable + reg, ~(bar->size - 1));
		pci->next_io += bar->size;
		put_le16(dev->config + PCI_COMMAND, command(dev) | PCI_COMMAND_IO);
	} else {
		pci->next_mem = ALIGN_UP(pci->next_mem, bar->size);
		put_le32(dev->config + reg, pci->next_mem);
		put_le32(dev->writable + reg, ~(bar->size - 1));
		pci->next_mem += bar->size;
		put_le16(dev->config + PCI_COMMAND, command(dev) | PCI_COMMAND_MEMORY);
	}
}

/** pci_add() - Put a device into the next slot */
void pci_add(struct vm *vm, struct pci_dev *dev)
{
	struct pci *pci = vm->pci;

	if (pci->count == PCI_SLOTS)
		die("more than the %u devices that the PCI bus holds", PCI_SLOTS - 1);
	dev->vm = vm;
	dev->slot = pci->count;
	if (dev->slot) {
		dev->config[PCI_INTERRUPT_PIN] = 1;
		dev->config[PCI_INTERRUPT_LINE] = PCI_GSI_BASE + dev->slot % PCI_GSIS;
	}
	pci->dev[pci->count++] = dev;
	for (unsigned int b = 0; b < PCI_BARS; b++)
		assign(pci, dev, b);
	place_bars(dev);
}

/** pci_start() - The bus with its host bridge; before all that is plugged into it */
void pci_start(struct vm *vm)
{
	struct pci *pci = vm_alloc(vm, sizeof(*pci));

	pci->vm = vm;
	pci->next_io = IO_BASE;
	pci->next_mem = GPA_PCI;
	pthread_mutex_init(&pci->lock, NULL);
	pthread_mutex_init(&pci->address_lock, NULL);
	vm->pci = pci;
	/* These take the locks they need: a device must not hold up the others. */
	bus_add(&vm->pio, ADDRESS_PORT, 4, &address_ops, NULL, pci);
	bus_add(&vm->pio, DATA_PORT, 4, &data_ops, NULL, pci);
	bus_add(&vm->pio, IO_BASE, IO_END - IO_BASE, &io_ops, NULL, pci);
	bus_add(&vm->mmio, GPA_PCI, GPA_PCI_END - GPA_PCI, &mem_ops, NULL, pci);
	pci_init(&pci->bridge, DEVICE_BRIDGE, CLASS_BRIDGE, 0);
	pci_add(vm, &pci->bridge);
}
