// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Finds and maps the memory of regions
 *
 * | memory                               | found by                          |
 * |--------------------------------------|-----------------------------------|
 * | a PCI device ivshmem, its BAR 2      | 1af4:1110                         |
 * | reserved memory of the device tree   | compatible = "shmr,region"        |
 * | an address                           | an argument of kmattach           |
 * | a file of the host, on sandbox       | an argument of kmattach           |
 */

#include <common.h>
#include <dm.h>
#include <init.h>
#include <mapmem.h>
#include <os.h>
#include <pci.h>
#include <asm/global_data.h>
#include <asm/io.h>
#include <dm/ofnode.h>
#include <linux/sizes.h>
#include "kmon.h"

DECLARE_GLOBAL_DATA_PTR;

#define IVSHMEM_VENDOR	0x1af4
#define IVSHMEM_DEVICE	0x1110
#define COMPATIBLE	"shmr,region"

/* Bytes below the stack pointer that U-Boot began with. */
#define STACK		SZ_1M

static void set_name(struct km_memory *memory, const char *name)
{
	strlcpy(memory->name, name, sizeof(memory->name));
}

/* Returns the size of a 64-bit memory BAR, by the address bits that can be set. */
static u64 bar_size(struct udevice *dev, int bar)
{
	u32 low, high, low_mask, high_mask;
	u16 command;

	dm_pci_read_config16(dev, PCI_COMMAND, &command);
	dm_pci_write_config16(dev, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
	dm_pci_read_config32(dev, bar, &low);
	dm_pci_read_config32(dev, bar + 4, &high);
	dm_pci_write_config32(dev, bar, ~0);
	dm_pci_write_config32(dev, bar + 4, ~0);
	dm_pci_read_config32(dev, bar, &low_mask);
	dm_pci_read_config32(dev, bar + 4, &high_mask);
	dm_pci_write_config32(dev, bar, low);
	dm_pci_write_config32(dev, bar + 4, high);
	dm_pci_write_config16(dev, PCI_COMMAND, command | PCI_COMMAND_MEMORY);
	if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) !=
	    PCI_BASE_ADDRESS_MEM_TYPE_64)
		high_mask = ~0;

	return ~((u64)high_mask << 32 | (low_mask & ~0xfU)) + 1;
}

static int map_bar(struct udevice *dev, int bar, struct km_memory *memory)
{
	u32 low, high = 0;

	memset(memory, 0, sizeof(*memory));
	memory->place = KM_PLACE_PCI;
	set_name(memory, dev->name);
	memory->len = bar_size(dev, bar);
	dm_pci_read_config32(dev, bar, &low);
	if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) ==
	    PCI_BASE_ADDRESS_MEM_TYPE_64)
		dm_pci_read_config32(dev, bar + 4, &high);
	memory->address = (u64)high << 32 | (low & ~0xfU);
	if (memory->address)
		memory->base = dm_pci_bus_to_virt(dev, memory->address,
						  memory->len, PCI_REGION_TYPE,
						  PCI_REGION_MEM, MAP_NOCACHE);
	if (!memory->base) {
		printf("kmattach: %s: its memory has no address: the PCI window is too small for 0x%llx bytes\n",
		       dev->name, memory->len);
		return -ENOSPC;
	}

	return 0;
}

static int find_pci(km_memory_handler handle, void *context)
{
	struct km_memory memory;
	struct udevice *dev;
	int i, found = 0;

	pci_init();
	for (i = 0; i < KM_INSTANCES; i++) {
		if (dm_pci_find_device(IVSHMEM_VENDOR, IVSHMEM_DEVICE, i, &dev))
			break;
		if (!map_bar(dev, PCI_BASE_ADDRESS_2, &memory))
			found += handle(&memory, context);
		else
			found++;
	}

	return found;
}

static int find_reserved(km_memory_handler handle, void *context)
{
	struct km_memory memory;
	fdt_size_t size;
	int found = 0;
	ofnode node;

	ofnode_for_each_subnode(node, ofnode_path("/reserved-memory")) {
		if (!ofnode_device_is_compatible(node, COMPATIBLE) ||
		    !ofnode_is_enabled(node))
			continue;
		memset(&memory, 0, sizeof(memory));
		memory.place = KM_PLACE_RESERVED;
		set_name(&memory, ofnode_get_name(node));
		memory.address = ofnode_get_addr_size(node, "reg", &size);
		memory.len = size;
		if (memory.address == FDT_ADDR_T_NONE) {
			printf("kmattach: %s: has no address, give it a reg\n",
			       memory.name);
			found++;
			continue;
		}
		memory.base = map_sysmem(memory.address, memory.len);
		found += handle(&memory, context);
	}

	return found;
}

/**
 * km_find_memory() - find the memory of devices and of the device tree
 * @handle:  gets each, in order
 * @context: passed to it
 *
 * Return: the sum of what @handle returned, plus 1 for each that cannot be used
 */
int km_find_memory(km_memory_handler handle, void *context)
{
	int found = 0;

	if (CONFIG_IS_ENABLED(PCI))
		found += find_pci(handle, context);
	if (CONFIG_IS_ENABLED(OF_CONTROL))
		found += find_reserved(handle, context);

	return found;
}

/* Returns the physical address of an address in a variable of U-Boot. */
static u64 physical(ulong address)
{
	if (IS_ENABLED(CONFIG_MIPS))
		return virt_to_phys((void *)address);

	return address;
}

static bool overlaps(u64 address, u64 len, u64 from, u64 to)
{
	return address < to && from < address + len;
}

/* Returns true if all of it is main memory. */
static bool is_memory(u64 address, u64 len)
{
	u64 start = physical(gd->ram_base), size = gd->ram_size;
	int i;

	if (address >= start && address - start < size &&
	    len <= size - (address - start))
		return true;
	if (IS_ENABLED(CONFIG_SANDBOX))
		return false;
	for (i = 0; i < CONFIG_NR_DRAM_BANKS; i++) {
		start = physical(gd->bd->bi_dram[i].start);
		size = gd->bd->bi_dram[i].size;
		if (size && address >= start && address - start < size &&
		    len <= size - (address - start))
			return true;
	}

	return false;
}

/**
 * km_map_address() - map main memory
 * @command: the command, for its message
 * @address: physical
 * @len:     bytes
 * @memory:  gets it
 *
 * Return: 0; else -ve, and a message is printed
 */
int km_map_address(const char *command, u64 address, u64 len,
		   struct km_memory *memory)
{
	if (!is_memory(address, len)) {
		printf("%s: 0x%llx to 0x%llx is not main memory; bdinfo shows where that is\n",
		       command, address, address + len - 1);
		return -EFAULT;
	}
	if (overlaps(address, len, physical(gd->start_addr_sp) - STACK,
		     physical(gd->ram_top - 1) + 1)) {
		printf("%s: 0x%llx to 0x%llx is where U-Boot itself is; bdinfo shows it\n",
		       command, address, address + len - 1);
		return -EFAULT;
	}
	memset(memory, 0, sizeof(*memory));
	memory->place = KM_PLACE_ADDRESS;
	memory->address = address;
	memory->len = len;
	memory->base = map_physmem(address, len, MAP_WRBACK);

	return 0;
}

#ifdef CONFIG_SANDBOX
/**
 * km_map_file() - map a file of the host that sandbox runs on
 * @command: the command, for its message
 * @path:    the file
 * @memory:  gets it
 *
 * Return: 0; else -ve, and a message is printed
 */
int km_map_file(const char *command, const char *path,
		struct km_memory *memory)
{
	void *base;
	int size;

	memset(memory, 0, sizeof(*memory));
	memory->place = KM_PLACE_FILE;
	if (os_map_file(path, OS_O_RDWR, &base, &size)) {
		printf("%s: %s cannot be mapped; make it with truncate -s 2M\n",
		       command, path);
		return -EIO;
	}
	set_name(memory, path);
	memory->base = base;
	memory->len = size;

	return 0;
}
#endif

/** km_unmap() - unmap memory */
void km_unmap(struct km_memory *memory)
{
#ifdef CONFIG_SANDBOX
	if (memory->place == KM_PLACE_FILE)
		os_unmap(memory->base, memory->len);
#endif
	memory->base = NULL;
}
