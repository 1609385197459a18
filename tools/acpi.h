/* SPDX-License-Identifier: GPL-2.0 */
#ifndef RINGLET_ACPI_H
#define RINGLET_ACPI_H

/* Registers that the FADT names, and dsdt.asl's sleep type for S5. */
#define ACPI_PM1_EVENT		0x600	/* status, enable */
#define ACPI_PM1_EVENT_LEN	4
#define ACPI_PM1_CONTROL	0x604
#define ACPI_PM1_CONTROL_LEN	2
#define ACPI_SLEEP_TYPE_S5	5

#define RESET_PORT		0xcf9
#define RESET_VALUE		0x06	/* full reset */

#endif
