// SPDX-License-Identifier: GPL-2.0
/*
 * ACPI fixed hardware: the PM1 event and control registers. Writing the sleep
 * type of S5 powers the VM off.
 *
 * Owns:    struct acpi_pm.
 * Touches: vm_stop().
 * Locks:   its own, taken by the bus.
 * Manuals: ACPI Specification, "ACPI Fixed Hardware Features and Registers".
 */
#include "acpi.h"
#include "vm.h"

#define PM1_SCI_ENABLED		BIT(0)	/* ACPI mode: there is no other here */
#define PM1_SLEEP_TYPE(cnt)	((cnt) >> 10 & 7)
#define PM1_SLEEP_ENABLE	BIT(13)	/* reads as 0 */
#define PM1_EVENT_ENABLES	0x0721u		/* timer, global lock, buttons, RTC */

struct acpi_pm {
	struct vm *vm;
	pthread_mutex_t lock;
	uint16_t enable, control;
};

static uint16_t *reg(struct acpi_pm *pm, uint64_t offset)
{
	static const uint64_t enable = ACPI_PM1_EVENT_LEN / 2;
	static const uint64_t control = ACPI_PM1_CONTROL - ACPI_PM1_EVENT;

	if ((offset & ~1ULL) == enable)
		return &pm->enable;
	return (offset & ~1ULL) == control ? &pm->control : NULL;
}

/* No event ever happens here, so the status register stays 0. */
static uint64_t pm_read(void *dev, uint64_t offset, unsigned int size)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < size; i++) {
		uint16_t *r = reg(dev, offset + i);

		if (r)
			value |= (*r >> 8 * ((offset + i) & 1) & 0xffULL) << 8 * i;
	}
	return value;
}

static void pm_write(void *dev, uint64_t offset, unsigned int size, uint64_t value)
{
	struct acpi_pm *pm = dev;
	bool sleep;

	for (unsigned int i = 0; i < size; i++, value >>= 8) {
		unsigned int shift = 8 * ((offset + i) & 1);
		uint16_t *r = reg(pm, offset + i);

		if (r)
			*r = (*r & ~(0xff << shift)) | (value & 0xff) << shift;
	}
	pm->enable &= PM1_EVENT_ENABLES;
	sleep = pm->control & PM1_SLEEP_ENABLE;
	pm->control = (pm->control & ~PM1_SLEEP_ENABLE) | PM1_SCI_ENABLED;
	if (sleep && PM1_SLEEP_TYPE(pm->control) == ACPI_SLEEP_TYPE_S5)
		vm_stop(pm->vm, VM_POWEROFF);
}

static const struct io_ops pm_ops = { pm_read, pm_write };

void acpi_pm_start(struct vm *vm)
{
	struct acpi_pm *pm = vm_alloc(vm, sizeof(*pm));

	pm->vm = vm;
	pm->control = PM1_SCI_ENABLED;
	pthread_mutex_init(&pm->lock, NULL);
	bus_add(&vm->pio, ACPI_PM1_EVENT,
		ACPI_PM1_CONTROL + ACPI_PM1_CONTROL_LEN - ACPI_PM1_EVENT, &pm_ops, &pm->lock, pm);
}
