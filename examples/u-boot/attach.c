// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * kmattach, kmdetach: attach and detach instances
 */

#include <common.h>
#include <command.h>
#include <vsprintf.h>
#include <linux/sizes.h>
#include "kmon.h"

/* Memory that nobody has used has this many zero bytes at its start. */
#define BLANK	SZ_4K

/* What the command line asks for, and whether it failed. */
struct request {
	unsigned int number;	/* 0: the lowest free one */
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

/* Chooses the number; an instance keeps the one that its region has. */
static int choose_number(struct km_instance *k, const struct request *request,
			 bool format)
{
	char why[80], remedy[64];
	unsigned int number = k->number;

	if (format || !number)
		number = request->number ? request->number : free_number();
	k->number = 0;
	if (request->number && request->number != number) {
		sprintf(why, "it is instance %u's region", number);
		sprintf(remedy, "leave the number out, or kmattach -f formats it for instance %u",
			request->number);
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

/* Returns 1 if the memory must be formatted, 0 if not; -ve, it cannot be used. */
static int check_memory(struct km_instance *k, const struct request *request)
{
	int ret;

	if (!IS_ALIGNED((ulong)k->memory.base, 8))
		return refuse(k, "the address is not a multiple of 8",
			      "give one that is");
	ret = request->format ? -ENOENT : km_recognise(k);
	if (!ret)
		return 0;
	if (ret != -ENOENT)
		return refuse(k, k->trouble, "kmattach -f formats it again");
	if (k->memory.len < KMON_REGION_LEN)
		return refuse(k, "too short for a region",
			      "give 0x200000 bytes or more");
	if (!request->format && k->memory.place != KM_PLACE_RESERVED &&
	    !is_blank(&k->memory))
		return refuse(k, "it is not a region, and not blank",
			      "kmattach -f formats it anyway");

	return 1;
}

static int attach(struct km_instance *k, const struct request *request)
{
	bool write_settings;
	int format, ret;

	format = check_memory(k, request);
	if (format < 0)
		return format;
	write_settings = !k->number;
	ret = choose_number(k, request, format);
	if (ret)
		return ret;
	if (format || write_settings)
		sprintf(k->name, "part%u", k->number);
	ret = format ? km_format(k) : km_attach(k, write_settings);
	if (ret == -EINTR || ret == -EBUSY)
		return refuse(k, k->trouble, "end that one first");
	if (ret)
		return refuse(k, k->trouble, "kmattach -f formats it again");
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

/* Makes an instance of memory. Returns 1, also after an error. */
static int attach_memory(struct km_memory *memory, void *context)
{
	struct request *request = context;
	struct km_instance *k = attached_at(memory);

	if (k && !request->format) {
		printf("Instance %u (%s) is attached already\n", k->number,
		       k->name);
		km_unmap(memory);
		return 1;
	}
	if (k)
		detach(k);
	k = km_free_slot();
	if (!k) {
		printf("kmattach: %u instances are attached, which is the maximum\n",
		       KM_INSTANCES);
		request->failed = true;
		km_unmap(memory);
		return 1;
	}
	k->memory = *memory;
	if (attach(k, request)) {
		km_unmap(&k->memory);
		k->number = 0;
		request->failed = true;
	} else {
		km_start_beating();
	}

	return 1;
}

static int parse_number(const char *text, unsigned int *number)
{
	char *end;

	*number = dectoul(text, &end);
	if (*text && !*end && *number >= KMON_FIRST_INSTANCE &&
	    *number <= KMON_LAST_PARTITION)
		return 0;
	printf("kmattach: '%s' is not an instance number; give %u to %u\n",
	       text, KMON_FIRST_INSTANCE, KMON_LAST_PARTITION);

	return -EINVAL;
}

static int parse_hex(const char *text, u64 *number)
{
	char *end;

	*number = simple_strtoull(text, &end, 16);
	if (*text && !*end)
		return 0;
	printf("kmattach: '%s' is not a hexadecimal number\n", text);

	return -EINVAL;
}

static int attach_all(struct request *request)
{
	if (km_find_memory(attach_memory, request))
		return request->failed ? CMD_RET_FAILURE : CMD_RET_SUCCESS;
	puts("kmattach: no ivshmem device and no reserved memory compatible with \"shmr,region\"; name some: kmattach ADDRESS LENGTH\n");

	return CMD_RET_FAILURE;
}

static int do_kmattach(struct cmd_tbl *cmdtp, int flag, int argc,
		       char *const argv[])
{
	struct request request = {};
	struct km_memory memory;
	u64 address, len;
	int ret;

	argc--, argv++;
	if (argc && !strcmp(argv[0], "-f")) {
		request.format = true;
		argc--, argv++;
	}
	if (!argc)
		return attach_all(&request);
	if (argc > 3 || argc < 2)
		return CMD_RET_USAGE;
	if (argc == 3 && parse_number(argv[2], &request.number))
		return CMD_RET_FAILURE;
#ifdef CONFIG_SANDBOX
	if (!strcmp(argv[0], "file")) {
		ret = km_map_file("kmattach", argv[1], &memory);
		if (ret)
			return CMD_RET_FAILURE;
		attach_memory(&memory, &request);
		return request.failed ? CMD_RET_FAILURE : CMD_RET_SUCCESS;
	}
#endif
	if (parse_hex(argv[0], &address) || parse_hex(argv[1], &len))
		return CMD_RET_FAILURE;
	ret = km_map_address("kmattach", address, len, &memory);
	if (ret)
		return CMD_RET_FAILURE;
	attach_memory(&memory, &request);

	return request.failed ? CMD_RET_FAILURE : CMD_RET_SUCCESS;
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
	   "attach to the regions of instances, or format new ones",
	   "[-f]\n"
	   "    - every ivshmem device, and every reserved memory of the device\n"
	   "      tree that is compatible with \"shmr,region\", becomes an instance:\n"
	   "      2, 3, ... in this order, unless its region has another number\n"
	   "kmattach [-f] ADDRESS LENGTH [N]\n"
	   "    - main memory from this physical address becomes an instance\n"
#ifdef CONFIG_SANDBOX
	   "kmattach [-f] file PATH [N]\n"
	   "    - a file of the host, at least 2 MiB long, becomes an instance\n"
#endif
	   "Blank memory is formatted; KMON attaches to a region as its next\n"
	   "incarnation. -f formats the memory whatever it contains."
);

U_BOOT_CMD(kmdetach, 2, 0, do_kmdetach,
	   "leave the region of an instance, or all regions",
	   "[N]\n"
	   "    - the next kmattach then does not have to wait. Detach before you\n"
	   "      boot an operating system: KMON ends with U-Boot"
);
