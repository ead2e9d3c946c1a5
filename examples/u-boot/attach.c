// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * kmattach, kmdetach: the instances come and go
 */

#include <common.h>
#include <command.h>
#include <vsprintf.h>
#include <linux/sizes.h>
#include "kmon.h"

/* As much at the start of memory is 0 if nobody has used it. */
#define BLANK	SZ_4K

/* What is asked for. */
struct wish {
	unsigned int number;	/* 0: whichever is free */
	bool format;
	bool failed;
};

static void print_memory(const struct km_memory *memory)
{
	if (memory->place == KM_PLACE_FILE)
		puts(memory->name);
	else
		printf("0x%llx", memory->address);
	if (memory->place != KM_PLACE_FILE && memory->name[0])
		printf(" (%s)", memory->name);
}

static int refuse(struct km_instance *k, const char *why, const char *remedy)
{
	puts("kmattach: ");
	print_memory(&k->memory);
	printf(": %s; %s\n", why, remedy);

	return -EINVAL;
}

static bool is_blank(const struct km_memory *memory)
{
	const volatile u64 *words = memory->base;
	int i;

	for (i = 0; i < BLANK / 8; i++) {
		if (words[i])
			return false;
	}

	return true;
}

static unsigned int free_number(void)
{
	unsigned int number = KMON_FIRST_INSTANCE;

	while (km_find(number))
		number++;

	return number;
}

/* Chooses the number; an instance keeps the one that its region says. */
static int choose_number(struct km_instance *k, const struct wish *wish,
			 bool format)
{
	char why[80], remedy[64];
	unsigned int number = k->number;

	if (format || !number)
		number = wish->number ? wish->number : free_number();
	k->number = 0;
	if (wish->number && wish->number != number) {
		sprintf(why, "it is instance %u's region", number);
		sprintf(remedy, "leave the number out, or kmattach -f formats it for instance %u",
			wish->number);
		return refuse(k, why, remedy);
	}
	if (km_find(number)) {
		sprintf(why, "instance %u is attached elsewhere", number);
		sprintf(remedy, "kmdetach %u first", number);
		return refuse(k, why, remedy);
	}
	k->number = number;

	return 0;
}

/* Whether to format the memory: 0 or 1; -ve, it cannot be used. */
static int examine(struct km_instance *k, const struct wish *wish)
{
	int ret;

	if (!IS_ALIGNED((ulong)k->memory.base, 8))
		return refuse(k, "the address is no multiple of 8",
			      "give one that is");
	ret = wish->format ? -ENOENT : km_recognise(k);
	if (!ret)
		return 0;
	if (ret != -ENOENT)
		return refuse(k, k->trouble, "kmattach -f formats it anew");
	if (k->memory.len < KMON_REGION_LEN)
		return refuse(k, "too short for a region",
			      "give 0x200000 bytes or more");
	if (!wish->format && k->memory.place != KM_PLACE_RESERVED &&
	    !is_blank(&k->memory))
		return refuse(k, "it is no region, and not blank",
			      "kmattach -f formats it whatever is there");

	return 1;
}

static int attach(struct km_instance *k, const struct wish *wish)
{
	bool tell;
	int format, ret;

	format = examine(k, wish);
	if (format < 0)
		return format;
	tell = !k->number;
	ret = choose_number(k, wish, format);
	if (ret)
		return ret;
	if (format || tell)
		sprintf(k->name, "part%u", k->number);
	ret = format ? km_format(k) : km_attach(k, tell);
	if (ret == -EINTR || ret == -EBUSY)
		return refuse(k, k->trouble, "end that one first");
	if (ret)
		return refuse(k, k->trouble, "kmattach -f formats it anew");
	printf("Instance %u (%s) at ", k->number, k->name);
	print_memory(&k->memory);
	if (format)
		puts(": formatted\n");
	else
		printf(": attached, KMON's incarnation %u\n",
		       shmr_session_incarnation(&k->session) >> 8);

	return 0;
}

static void detach(struct km_instance *k)
{
	km_close(k);
	km_unmap(&k->memory);
	k->number = 0;
	km_stop_beating();
}

static struct km_instance *attached_at(const struct km_memory *memory)
{
	struct km_instance *k;

	for (k = km_next(NULL); k; k = km_next(k)) {
		if (k->memory.place == memory->place &&
		    k->memory.address == memory->address &&
		    !strcmp(k->memory.name, memory->name))
			return k;
	}

	return NULL;
}

/* Makes an instance of memory. Counts one, whatever becomes of it. */
static int take_memory(struct km_memory *memory, void *context)
{
	struct wish *wish = context;
	struct km_instance *k = attached_at(memory);

	if (k && !wish->format) {
		printf("Instance %u (%s) is attached already\n", k->number,
		       k->name);
		km_unmap(memory);
		return 1;
	}
	if (k)
		detach(k);
	k = km_free_place();
	if (!k) {
		printf("kmattach: %u instances are attached, there is room for no more\n",
		       KM_INSTANCES);
		wish->failed = true;
		km_unmap(memory);
		return 1;
	}
	k->memory = *memory;
	if (attach(k, wish)) {
		km_unmap(&k->memory);
		k->number = 0;
		wish->failed = true;
	} else {
		km_start_beating();
	}

	return 1;
}

static int take_number(const char *text, unsigned int *number)
{
	char *end;

	*number = dectoul(text, &end);
	if (*text && !*end && *number >= KMON_FIRST_INSTANCE &&
	    *number <= KMON_LAST_PARTITION)
		return 0;
	printf("kmattach: '%s' is no number of an instance; give %u to %u\n",
	       text, KMON_FIRST_INSTANCE, KMON_LAST_PARTITION);

	return -EINVAL;
}

static int take_hex(const char *text, u64 *number)
{
	char *end;

	*number = simple_strtoull(text, &end, 16);
	if (*text && !*end)
		return 0;
	printf("kmattach: '%s' is no hexadecimal number\n", text);

	return -EINVAL;
}

static int attach_all(struct wish *wish)
{
	if (km_find_memory(take_memory, wish))
		return wish->failed ? CMD_RET_FAILURE : CMD_RET_SUCCESS;
	puts("kmattach: no ivshmem device and no reserved memory compatible with \"shmr,region\"; name some: kmattach ADDRESS LENGTH\n");

	return CMD_RET_FAILURE;
}

static int do_kmattach(struct cmd_tbl *cmdtp, int flag, int argc,
		       char *const argv[])
{
	struct wish wish = {};
	struct km_memory memory;
	u64 address, len;
	int ret;

	argc--, argv++;
	if (argc && !strcmp(argv[0], "-f")) {
		wish.format = true;
		argc--, argv++;
	}
	if (!argc)
		return attach_all(&wish);
	if (argc > 3 || argc < 2)
		return CMD_RET_USAGE;
	if (argc == 3 && take_number(argv[2], &wish.number))
		return CMD_RET_FAILURE;
#ifdef CONFIG_SANDBOX
	if (!strcmp(argv[0], "file")) {
		ret = km_map_file("kmattach", argv[1], &memory);
		if (ret)
			return CMD_RET_FAILURE;
		take_memory(&memory, &wish);
		return wish.failed ? CMD_RET_FAILURE : CMD_RET_SUCCESS;
	}
#endif
	if (take_hex(argv[0], &address) || take_hex(argv[1], &len))
		return CMD_RET_FAILURE;
	ret = km_map_address("kmattach", address, len, &memory);
	if (ret)
		return CMD_RET_FAILURE;
	take_memory(&memory, &wish);

	return wish.failed ? CMD_RET_FAILURE : CMD_RET_SUCCESS;
}

static int do_kmdetach(struct cmd_tbl *cmdtp, int flag, int argc,
		       char *const argv[])
{
	struct km_instance *k;

	if (argc == 2) {
		k = km_argument("kmdetach", argv[1]);
		if (!k)
			return CMD_RET_FAILURE;
		detach(k);
		return CMD_RET_SUCCESS;
	}
	while ((k = km_next(NULL)))
		detach(k);

	return CMD_RET_SUCCESS;
}

U_BOOT_CMD(kmattach, 5, 0, do_kmattach,
	   "attach to the regions of instances, or make some",
	   "[-f]\n"
	   "    - every ivshmem device, and every reserved memory of the device\n"
	   "      tree that is compatible with \"shmr,region\", is an instance:\n"
	   "      2, 3, ... in this order, unless its region says another number\n"
	   "kmattach [-f] ADDRESS LENGTH [N]\n"
	   "    - so is main memory from this physical address on\n"
#ifdef CONFIG_SANDBOX
	   "kmattach [-f] file PATH [N]\n"
	   "    - so is a file of the host, at least 2 MiB long\n"
#endif
	   "Memory that is blank is formatted; a region is attached to as KMON's\n"
	   "next incarnation. -f formats anew whatever is there."
);

U_BOOT_CMD(kmdetach, 2, 0, do_kmdetach,
	   "leave the region of an instance, or all",
	   "[N]\n"
	   "    - the next kmattach need not wait then. Do so before an operating\n"
	   "      system is booted: KMON ends with U-Boot"
);
