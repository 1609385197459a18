// SPDX-License-Identifier: GPL-2.0
/*
 * ACPI tables: RSDP, XSDT, FADT, FACS, MADT and the DSDT compiled from dsdt.asl.
 *
 * Owns:    guest memory from GPA_ACPI to GPA_ACPI_END.
 * Touches: nothing else.
 * Locks:   none, no vCPU runs yet.
 * Manuals: ACPI Specification, "ACPI Software Programming Model".
 */
#include <assert.h>
#include <string.h>

#include "acpi.h"
#include "boot.h"
#include "dsdt.hex"

#define FADT_REVISION		4
#define FADT_BOOT_LEGACY	BIT(0)	/* ISA devices, the serial port among them */
#define FADT_BOOT_NO_VGA	BIT(2)
#define FADT_WBINVD		BIT(0)
#define FADT_C1			BIT(2)
#define FADT_NO_POWER_BUTTON	BIT(4)	/* in fixed hardware */
#define FADT_NO_SLEEP_BUTTON	BIT(5)
#define FADT_NO_FIXED_RTC	BIT(6)
#define FADT_RESET		BIT(10)
#define FADT_HEADLESS		BIT(12)
#define C2_NOT_SUPPORTED	101		/* latencies beyond what is usable */
#define C3_NOT_SUPPORTED	1001

#define MADT_PC_COMPATIBLE	BIT(0)	/* both 8259s are there */
#define MADT_ENABLED		BIT(0)
#define MADT_ALL_CPUS		0xff
#define MADT_LEVEL_HIGH		0x000d
#define MADT_CONFORMS		0

struct sdt {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __packed;

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} __packed;

struct address {
	uint8_t space, bit_width, bit_offset, access;
	uint64_t address;
} __packed;

struct fadt {
	struct sdt head;
	uint32_t facs, dsdt;
	uint8_t model, profile;
	uint16_t sci_int;
	uint32_t smi_cmd;
	uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
	uint32_t pm1a_evt, pm1b_evt, pm1a_cnt, pm1b_cnt, pm2_cnt, pm_tmr, gpe0, gpe1;
	uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_len, gpe1_len;
	uint8_t gpe1_base, cst_cnt;
	uint16_t c2_latency, c3_latency, flush_size, flush_stride;
	uint8_t duty_offset, duty_width, day_alarm, month_alarm, century;
	uint16_t boot_flags;
	uint8_t reserved;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value, reserved2[3];
	uint64_t x_facs, x_dsdt;
	struct address x_pm1a_evt, x_pm1b_evt, x_pm1a_cnt, x_pm1b_cnt, x_pm2_cnt, x_pm_tmr;
	struct address x_gpe0, x_gpe1;
} __packed;

struct facs {
	char signature[4];
	uint32_t length, hardware_signature, waking_vector, global_lock, flags;
	uint64_t x_waking_vector;
	uint8_t version, reserved[31];
} __packed;

struct madt {
	struct sdt head;
	uint32_t lapic, flags;
} __packed;

struct madt_lapic {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} __packed;

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __packed;

struct madt_override {
	uint8_t type, length, bus, irq;
	uint32_t gsi;
	uint16_t flags;
} __packed;

struct madt_lapic_nmi {
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
} __packed;

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4 };

static_assert(sizeof(struct rsdp) == 36, "RSDP of ACPI 2.0");
static_assert(sizeof(struct sdt) == 36, "table header");
static_assert(sizeof(struct fadt) == 244, "FADT of ACPI 4.0");
static_assert(sizeof(struct facs) == 64, "FACS");

/* Where the next table goes. */
struct cursor {
	struct vm *vm;
	uint64_t gpa;
};

static void *place(struct cursor *at, uint64_t size, uint64_t align, uint64_t *gpa)
{
	*gpa = ALIGN_UP(at->gpa, align);
	at->gpa = *gpa + size;
	if (at->gpa > GPA_ACPI_END)
		die("internal error: the ACPI tables do not fit");
	return boot_ptr(at->vm, *gpa, size);
}

static uint8_t checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len--)
		sum -= *p++;
	return sum;
}

static struct sdt header(const char *signature, uint32_t length, uint8_t revision)
{
	struct sdt head = {
		.length = length,
		.revision = revision,
		.oem_id = "RINGLT",
		.oem_table_id = "LAUNCHER",
		.oem_revision = 1,
		.creator_id = "RING",
		.creator_revision = 1,
	};

	memcpy(head.signature, signature, sizeof(head.signature));
	return head;
}

static void seal(struct sdt *table)
{
	table->checksum = 0;
	table->checksum = checksum(table, table->length);
}

static struct address port(uint16_t port, uint8_t bytes)
{
	return (struct address){ .space = 1, .bit_width = bytes * 8,
				 .access = bytes == 1 ? 1 : 2, .address = port };
}

static uint64_t write_dsdt(struct cursor *at)
{
	uint64_t gpa;

	memcpy(place(at, sizeof(dsdt_aml_code), 16, &gpa), dsdt_aml_code, sizeof(dsdt_aml_code));
	return gpa;
}

static uint64_t write_facs(struct cursor *at)
{
	uint64_t gpa;
	struct facs *facs = place(at, sizeof(*facs), 64, &gpa);

	*facs = (struct facs){ .signature = "FACS", .length = sizeof(*facs), .version = 2 };
	return gpa;
}

static uint64_t write_fadt(struct cursor *at, uint64_t dsdt, uint64_t facs)
{
	uint64_t gpa;
	struct fadt *fadt = place(at, sizeof(*fadt), 16, &gpa);

	*fadt = (struct fadt){
		.head = header("FACP", sizeof(*fadt), FADT_REVISION),
		.facs = facs,
		.dsdt = dsdt,
		.sci_int = IRQ_SCI,
		.pm1a_evt = ACPI_PM1_EVENT,
		.pm1_evt_len = ACPI_PM1_EVENT_LEN,
		.pm1a_cnt = ACPI_PM1_CONTROL,
		.pm1_cnt_len = ACPI_PM1_CONTROL_LEN,
		.c2_latency = C2_NOT_SUPPORTED,
		.c3_latency = C3_NOT_SUPPORTED,
		.century = 0x32,
		.boot_flags = FADT_BOOT_LEGACY | FADT_BOOT_NO_VGA,
		.flags = FADT_WBINVD | FADT_C1 | FADT_NO_POWER_BUTTON | FADT_NO_SLEEP_BUTTON |
			 FADT_NO_FIXED_RTC | FADT_RESET | FADT_HEADLESS,
		.reset = port(RESET_PORT, 1),
		.reset_value = RESET_VALUE,
		.x_dsdt = dsdt,
		.x_pm1a_evt = port(ACPI_PM1_EVENT, ACPI_PM1_EVENT_LEN),
		.x_pm1a_cnt = port(ACPI_PM1_CONTROL, ACPI_PM1_CONTROL_LEN),
	};
	seal(&fadt->head);
	return gpa;
}

static uint64_t write_madt(struct cursor *at)
{
	unsigned int cpus = at->vm->config->cpus;
	uint64_t size = sizeof(struct madt) + cpus * sizeof(struct madt_lapic) +
			sizeof(struct madt_ioapic) + sizeof(struct madt_override) +
			sizeof(struct madt_lapic_nmi);
	uint64_t gpa;
	struct madt *madt = place(at, size, 16, &gpa);
	struct madt_lapic *lapic = (struct madt_lapic *)(madt + 1);
	struct madt_ioapic *ioapic = (struct madt_ioapic *)(lapic + cpus);
	struct madt_override *override = (struct madt_override *)(ioapic + 1);
	struct madt_lapic_nmi *nmi = (struct madt_lapic_nmi *)(override + 1);

	*madt = (struct madt){
		.head = header("APIC", size, 3),
		.lapic = GPA_LAPIC,
		.flags = MADT_PC_COMPATIBLE,
	};
	for (unsigned int i = 0; i < cpus; i++)
		lapic[i] = (struct madt_lapic){ MADT_LAPIC, sizeof(*lapic), i, i, MADT_ENABLED };
	*ioapic = (struct madt_ioapic){ MADT_IOAPIC, sizeof(*ioapic), 0, 0, GPA_IOAPIC, 0 };
	/* The other ISA interrupts are edge-triggered and reach the pin of their number. */
	*override = (struct madt_override){ MADT_OVERRIDE, sizeof(*override), 0, IRQ_SCI, IRQ_SCI,
					    MADT_LEVEL_HIGH };
	*nmi = (struct madt_lapic_nmi){ MADT_LAPIC_NMI, sizeof(*nmi), MADT_ALL_CPUS,
					MADT_CONFORMS, 1 };
	seal(&madt->head);
	return gpa;
}

static uint64_t write_xsdt(struct cursor *at, const uint64_t *tables, unsigned int count)
{
	uint64_t size = sizeof(struct sdt) + count * sizeof(*tables);
	uint64_t gpa;
	struct sdt *xsdt = place(at, size, 16, &gpa);

	*xsdt = header("XSDT", size, 1);
	memcpy(xsdt + 1, tables, count * sizeof(*tables));
	seal(xsdt);
	return gpa;
}

/** acpi_write_tables() - Write all tables; returns the RSDP's address */
uint64_t acpi_write_tables(struct vm *vm)
{
	struct cursor at = { vm, GPA_ACPI };
	uint64_t gpa, dsdt, tables[2];
	struct rsdp *rsdp = place(&at, sizeof(*rsdp), 16, &gpa);

	dsdt = write_dsdt(&at);
	tables[0] = write_fadt(&at, dsdt, write_facs(&at));
	tables[1] = write_madt(&at);

	*rsdp = (struct rsdp){
		.signature = "RSD PTR ",
		.oem_id = "RINGLT",
		.revision = 2,
		.length = sizeof(*rsdp),
		.xsdt = write_xsdt(&at, tables, ARRAY_SIZE(tables)),
	};
	rsdp->checksum = checksum(rsdp, offsetof(struct rsdp, length));
	rsdp->extended_checksum = checksum(rsdp, sizeof(*rsdp));
	return gpa;
}
