// SPDX-License-Identifier: GPL-2.0
//
// What the guest cannot find by probing: how to power off, and the ISA devices
// that the launcher models, and where PCI is. Interrupt and register numbers match serial.c,
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

		// One bus with 31 devices, each on INTA; pci.c knows these numbers too.
		Device (PCI0)
		{
			Name (_HID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_BBN, 0)
			Name (_CRS, ResourceTemplate () {
				WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode,
					0, 0, 0, 0, 1)
				IO (Decode16, 0xCF8, 0xCF8, 1, 8)
				WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange,
					0, 0x1000, 0xFFFF, 0, 0xF000)
				DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed,
					NonCacheable, ReadWrite,
					0, 0xC0000000, 0xDFFFFFFF, 0, 0x20000000)
			})
			Name (_PRT, Package () {
				Package () { 0x0001FFFF, 0, 0, 17 },
				Package () { 0x0002FFFF, 0, 0, 18 },
				Package () { 0x0003FFFF, 0, 0, 19 },
				Package () { 0x0004FFFF, 0, 0, 16 },
				Package () { 0x0005FFFF, 0, 0, 17 },
				Package () { 0x0006FFFF, 0, 0, 18 },
				Package () { 0x0007FFFF, 0, 0, 19 },
				Package () { 0x0008FFFF, 0, 0, 16 },
				Package () { 0x0009FFFF, 0, 0, 17 },
				Package () { 0x000AFFFF, 0, 0, 18 },
				Package () { 0x000BFFFF, 0, 0, 19 },
				Package () { 0x000CFFFF, 0, 0, 16 },
				Package () { 0x000DFFFF, 0, 0, 17 },
				Package () { 0x000EFFFF, 0, 0, 18 },
				Package () { 0x000FFFFF, 0, 0, 19 },
				Package () { 0x0010FFFF, 0, 0, 16 },
				Package () { 0x0011FFFF, 0, 0, 17 },
				Package () { 0x0012FFFF, 0, 0, 18 },
				Package () { 0x0013FFFF, 0, 0, 19 },
				Package () { 0x0014FFFF, 0, 0, 16 },
				Package () { 0x0015FFFF, 0, 0, 17 },
				Package () { 0x0016FFFF, 0, 0, 18 },
				Package () { 0x0017FFFF, 0, 0, 19 },
				Package () { 0x0018FFFF, 0, 0, 16 },
				Package () { 0x0019FFFF, 0, 0, 17 },
				Package () { 0x001AFFFF, 0, 0, 18 },
				Package () { 0x001BFFFF, 0, 0, 19 },
				Package () { 0x001CFFFF, 0, 0, 16 },
				Package () { 0x001DFFFF, 0, 0, 17 },
				Package () { 0x001EFFFF, 0, 0, 18 },
				Package () { 0x001FFFFF, 0, 0, 19 }
			})
		}
	}
}
