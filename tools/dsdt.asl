// SPDX-License-Identifier: GPL-2.0
//
// What the guest cannot find by probing: how to power off, and the ISA devices
// that the launcher models. Interrupt and register numbers match serial.c,
// rtc.c and acpi_pm.c; the FADT and MADT are written by acpi_tables.c.

DefinitionBlock ("", "DSDT", 2, "RINGLT", "LAUNCHER", 1)
{
	Name (\_S5, Package () { 5, 5, 0, 0 })

	Scope (\_SB)
	{
		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, 0x3F8, 0x3F8, 1, 8)
				IRQNoFlags () {4}
			})
		}
		Device (RTC0)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate () {
				IO (Decode16, 0x70, 0x70, 1, 2)
				IRQNoFlags () {8}
			})
		}
	}
}
