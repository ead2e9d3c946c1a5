// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * kmmonitorall: every instance's network, memory and processor
 *
 * Only reads what instances publish.
 */

#include <common.h>
#include <command.h>
#include <console.h>
#include <malloc.h>
#include <time.h>
#include <vsprintf.h>
#include <linux/math64.h>
#include <linux/delay.h>
#include "kmon.h"

#define DEFAULT_SECONDS	3
#define MAX_SECONDS	3600

/**
 * struct history - the last two readings of an instance
 * @newest: index of the newer one
 * @len:    bytes of each; 0 if there is no reading
 */
struct history {
	u8 newest;
	size_t len[2];
	u8 bytes[2][KMON_STATS_MAX_LEN];
};

static u64 difference(u64 now, u64 then)
{
	return now > then ? now - then : 0;
}

/* Returns @part * @scale / @whole, without an overflow. */
static u64 share(u64 part, u64 scale, u64 whole)
{
	while (part > U64_MAX / scale) {
		part >>= 1;
		whole >>= 1;
	}

	return whole ? div64_u64(part * scale, whole) : 0;
}

/* Returns the change per second; @ns is the time of the change. */
static u64 rate(u64 now, u64 then, u64 ns)
{
	return share(difference(now, then), 1000, div_u64(ns, 1000000));
}

static void print_percent(struct km_cpu now, struct km_cpu then)
{
	u64 total = difference(now.total, then.total);
	u64 busy = difference(now.busy, then.busy);
	u32 tenths = share(busy < total ? busy : total, 1000, total);

	printf("%u.%u", tenths / 10, tenths % 10);
}

/* Adds the latest reading to a history, if it is a new one. */
static bool note_reading(struct km_instance *k, struct history *history)
{
	static u8 latest[KMON_STATS_MAX_LEN];
	struct km_reading now, then;
	int older = !history->newest;
	size_t len;

	if (km_read_stats(k, latest, &len) ||
	    km_parse_stats(&now, latest, len))
		return false;
	if (history->len[history->newest] &&
	    !km_parse_stats(&then, history->bytes[history->newest],
			    history->len[history->newest]) &&
	    then.taken_ns == now.taken_ns)
		return false;
	memcpy(history->bytes[older], latest, len);
	history->len[older] = len;
	history->newest = older;

	return true;
}

static bool parse(const struct history *history, int which,
		  struct km_reading *reading)
{
	return history->len[which] &&
	       !km_parse_stats(reading, history->bytes[which],
			       history->len[which]);
}

/* Finds an interface in an earlier reading; all zero if it is not there. */
static struct km_interface earlier_interface(struct km_reading then,
					     struct km_text name)
{
	struct km_interface interface;
	int i;

	for (i = 0; i < then.cpus; i++)
		km_take_cpu(&then.rest);
	for (i = 0; i < then.interfaces; i++) {
		interface = km_take_interface(&then.rest);
		if (interface.name.len == name.len &&
		    !memcmp(interface.name.at, name.at, name.len))
			return interface;
	}
	memset(&interface, 0, sizeof(interface));

	return interface;
}

static void print_network(struct km_reading now, const struct km_reading *then,
			  u64 ns)
{
	struct km_interface one, before;
	char name[18];
	int i;

	for (i = 0; i < now.cpus; i++)
		km_take_cpu(&now.rest);
	printf("%18s%36s\n", "Receive", "Transmit");
	printf("%8s|%12s %10s %10s |%12s %10s %10s\n", "", "bytes", "packets",
	       "bytes/s", "bytes", "packets", "bytes/s");
	for (i = 0; i < now.interfaces; i++) {
		one = km_take_interface(&now.rest);
		before = ns ? earlier_interface(*then, one.name) : one;
		if (!before.name.at)
			before = one;
		km_copy_text(name, sizeof(name) - 1, one.name);
		strcat(name, ":");
		printf("%8s %12llu %10llu %10llu  %12llu %10llu %10llu\n", name,
		       one.rx_bytes, one.rx_packets,
		       rate(one.rx_bytes, before.rx_bytes, ns),
		       one.tx_bytes, one.tx_packets,
		       rate(one.tx_bytes, before.tx_bytes, ns));
	}
}

static void print_processors(struct km_reading now, struct km_reading then)
{
	int i;

	puts("CPU\ncpu utilization_ratio:");
	print_percent(now.cpu, then.cpu);
	puts("%\n");
	for (i = 0; i < now.cpus && i < then.cpus; i++) {
		printf("CPU%d  cpu utilization_ratio:", i);
		print_percent(km_take_cpu(&now.rest), km_take_cpu(&then.rest));
		putc('\n');
	}
}

static void print_reading(const struct history *history)
{
	struct km_reading now, then;
	u64 ns = 0;

	if (!parse(history, history->newest, &now)) {
		puts("no reading yet\n");
		return;
	}
	if (parse(history, !history->newest, &then))
		ns = difference(now.taken_ns, then.taken_ns);
	if (!ns)
		then = now;
	print_network(now, &then, ns);
	printf("MEM\ntotal size:%llu kb,%llu mb\nfree size:%llu kb,%llu mb\n",
	       now.total_kb, now.total_kb >> 10, now.free_kb,
	       now.free_kb >> 10);
	print_processors(now, then);
}

/* One history for each instance, in their order. */
static void print_all(struct history *history)
{
	struct km_instance *k;

	for (k = km_next(NULL); k; k = km_next(k), history++) {
		printf("*****part_id:%u*****\n", k->number);
		if (km_wait_running(k)) {
			note_reading(k, history);
			print_reading(history);
		} else {
			puts("state:");
			km_print_state(k, km_get_state(k, NULL));
			putc('\n');
		}
		puts("*****\n\n");
	}
}

/* Waits; returns false after Ctrl-C. */
static bool wait_until(ulong start, ulong ms)
{
	do {
		if (ctrlc())
			return false;
		km_yield();
		udelay(1000);
	} while (get_timer(start) < ms);

	return true;
}

/* Waits, at most a period, for two readings of each; false after Ctrl-C. */
static bool wait_for_rates(struct history *histories)
{
	struct history *history;
	ulong start = get_timer(0);
	struct km_instance *k;
	bool all;

	do {
		all = true;
		history = histories;
		for (k = km_next(NULL); k; k = km_next(k), history++) {
			note_reading(k, history);
			if (km_get_state(k, NULL) == KM_RUNNING &&
			    !history->len[!history->newest])
				all = false;
		}
		if (!all && !wait_until(get_timer(0), 20))
			return false;
	} while (!all && get_timer(start) < KM_PERIOD_MS + 200);

	return true;
}

static void monitor(struct history *histories, ulong seconds, ulong count)
{
	ulong start, ticks = 0;

	if (!wait_for_rates(histories))
		return;
	start = get_timer(0);
	do {
		print_all(histories);
		start += ticks ? seconds * 1000 : 0;
		ticks++;
	} while (ticks != count && wait_until(start, seconds * 1000));
}

static int parse_count(const char *text, ulong max, ulong *count)
{
	char *end;

	*count = dectoul(text, &end);
	if (*text && !*end && *count && *count <= max)
		return 0;
	printf("kmmonitorall: '%s' is not a number from 1 to %lu\n", text, max);

	return -EINVAL;
}

static int do_kmmonitorall(struct cmd_tbl *cmdtp, int flag, int argc,
			   char *const argv[])
{
	ulong seconds = DEFAULT_SECONDS, count = 0;
	struct history *histories;
	struct km_instance *k;
	size_t instances = 0;

	if (argc > 1 && parse_count(argv[1], MAX_SECONDS, &seconds))
		return CMD_RET_FAILURE;
	if (argc > 2 && parse_count(argv[2], INT_MAX, &count))
		return CMD_RET_FAILURE;
	for (k = km_next(NULL); k; k = km_next(k))
		instances++;
	if (!instances) {
		puts("kmmonitorall: no instances; kmattach finds some\n");
		return CMD_RET_FAILURE;
	}
	histories = calloc(instances, sizeof(*histories));
	if (!histories) {
		printf("kmmonitorall: no memory for 0x%zx bytes of readings\n",
		       instances * sizeof(*histories));
		return CMD_RET_FAILURE;
	}
	monitor(histories, seconds, count);
	free(histories);

	return CMD_RET_SUCCESS;
}

U_BOOT_CMD(kmmonitorall, 3, 1, do_kmmonitorall,
	   "show every instance's network, memory and processor",
	   "[SECONDS] [COUNT]\n"
	   "    - every SECONDS (3), COUNT times or until Ctrl-C; rates are\n"
	   "      between the last two readings that the instance took"
);
