// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * kmlist: the instances
 */

#include <common.h>
#include <command.h>
#include "kmon.h"

static void print_instance(struct km_instance *k)
{
	enum km_state state;
	u32 incarnation;

	km_wait_running(k);
	state = km_get_state(k, &incarnation);
	printf("%-4u%-16s%-13u", k->number, k->name, incarnation);
	if (k->memory.place == KM_PLACE_FILE)
		printf("%-24s", "file");
	else
		printf("0x%-10llx+0x%-9llx", k->memory.address, k->memory.len);
	printf("%-23s ", k->memory.name[0] ? k->memory.name : "address");
	km_print_state(k, state);
	putc('\n');
}

static int do_kmlist(struct cmd_tbl *cmdtp, int flag, int argc,
		     char *const argv[])
{
	struct km_instance *k = km_next(NULL);

	if (!k) {
		puts("No instances; kmattach finds some\n");
		return CMD_RET_SUCCESS;
	}
	printf("%-4s%-16s%-13s%-24s%-24s%s\n", "N", "NAME", "INCARNATION", "MEMORY",
	       "WHERE", "STATE");
	for (; k; k = km_next(k))
		print_instance(k);

	return CMD_RET_SUCCESS;
}

U_BOOT_CMD(kmlist, 1, 1, do_kmlist,
	   "list the instances and their states",
	   ""
);
