/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_PCI_H
#define RINGLET_PCI_H

#include <linux/pci_regs.h>

#include "vm.h"

#define PCI_SLOTS	32
#define PCI_BARS	2
#define PCI_GSI_BASE	16	/* INTA of slot n is GSI 16 + n % 4: the DSDT's _PRT says so */
#define PCI_GSIS	4
#define MSIX_MAX	64
#define MSIX_NONE	0xffff	/* as virtio has it: no vector */

/* Where in BAR 0 the MSI-X structures are; the rest is the device's. */
#define MSIX_TABLE	0x1000
#define MSIX_PBA	0x1800
#define MSIX_END	0x2000

struct pci_bar {
	uint32_t size;		/* a power of two; 0: there is none */
	bool is_io;
	const struct io_ops *ops;	/* called with the device's lock held */
	uint64_t base;		/* [p] */
};

struct msix_vector {
	uint64_t address;
	uint32_t data;
	bool masked, pending;
};

/*
 * A device on bus 0, embedded in its model's struct.
 *
 * [c] set before the VM runs  [l] lock  [p] struct pci's lock  [i] irq_lock
 */
struct pci_dev {
	struct vm *vm;				/* [c] */
	unsigned int slot;			/* [c] */
	pthread_mutex_t lock;
	uint8_t config[PCI_CFG_SPACE_SIZE];	/* [l] */
	uint8_t writable[PCI_CFG_SPACE_SIZE];	/* [c] bits that the guest may change */
	unsigned int config_end;		/* [c] where the next capability goes */
	uint8_t *last_link;			/* [c] and what will point to it */
	struct pci_bar bar[PCI_BARS];

	/* Optional, called with @lock held: a BAR's place, a vector's message changed. */
	void (*moved)(struct pci_dev *dev);
	void (*vector_changed)(struct pci_dev *dev, unsigned int vector);

	pthread_mutex_t irq_lock;		/* inside @lock, or alone */
	uint8_t msix_cap;			/* [c] */
	uint8_t window;				/* [c] where struct virtio_pci_cfg_cap is, or 0 */
	unsigned int vectors;			/* [c] */
	bool msix_enabled, msix_masked;		/* [i] */
	bool intx;				/* [i] the level of INTA */
	struct msix_vector msix[MSIX_MAX];	/* [i] */
};

void pci_init(struct pci_dev *dev, uint16_t device, uint32_t class_revision, unsigned int vectors);
uint8_t *pci_add_capability(struct pci_dev *dev, uint8_t id, unsigned int size);
void pci_add(struct vm *vm, struct pci_dev *dev);
void pci_signal(struct pci_dev *dev, unsigned int vector);
void pci_set_intx(struct pci_dev *dev, bool level);
bool pci_uses_msix(struct pci_dev *dev);
bool pci_vector_get(struct pci_dev *dev, unsigned int vector, struct kvm_msi *msi);

/* Little-endian fields of configuration space. */
static inline void put_le16(uint8_t *p, uint16_t v)
{
	p[0] = v;
	p[1] = v >> 8;
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
	put_le16(p, v);
	put_le16(p + 2, v >> 16);
}

static inline uint16_t get_le16(const uint8_t *p)
{
	return p[0] | p[1] << 8;
}

static inline uint32_t get_le32(const uint8_t *p)
{
	return get_le16(p) | (uint32_t)get_le16(p + 2) << 16;
}

#endif
