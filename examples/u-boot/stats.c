// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Readings of an instance's statistics
 */

#include <common.h>
#include "kmon.h"

/**
 * km_read_stats() - copy an instance's latest reading
 * @k:      the instance
 * @buffer: KMON_STATS_MAX_LEN bytes
 * @len:    gets the bytes of the reading
 *
 * Return: 0; -ENODATA, no reading can be read
 */
int km_read_stats(struct km_instance *k, u8 *buffer, size_t *len)
{
	if (shmr_snapshot_read(&k->stats, buffer, KMON_STATS_MAX_LEN, len))
		return -ENODATA;

	return 0;
}

struct km_cpu km_take_cpu(struct km_bytes *bytes)
{
	struct km_cpu cpu;

	cpu.busy = km_take_u64(bytes);
	cpu.total = km_take_u64(bytes);

	return cpu;
}

struct km_interface km_take_interface(struct km_bytes *bytes)
{
	struct km_interface interface;

	interface.name = km_take_text(bytes);
	interface.rx_bytes = km_take_u64(bytes);
	interface.rx_packets = km_take_u64(bytes);
	interface.tx_bytes = km_take_u64(bytes);
	interface.tx_packets = km_take_u64(bytes);

	return interface;
}

/**
 * km_parse_stats() - parse a reading
 * @reading: gets it
 * @bytes:   a copy of what the instance wrote
 * @len:     how many
 *
 * Return: 0; -ENODATA, it ends early, or a count exceeds its limit
 */
int km_parse_stats(struct km_reading *reading, const u8 *bytes, size_t len)
{
	struct km_bytes all = { .at = bytes, .len = len };
	int i;

	reading->taken_ns = km_take_u64(&all);
	reading->uptime_ms = km_take_u64(&all);
	for (i = 0; i < ARRAY_SIZE(reading->load); i++)
		reading->load[i] = km_take_u32(&all);
	reading->total_kb = km_take_u64(&all);
	reading->free_kb = km_take_u64(&all);
	reading->available_kb = km_take_u64(&all);
	reading->dropped_bytes = km_take_u64(&all);
	reading->cpu = km_take_cpu(&all);
	km_take_text(&all); /* host name */
	km_take_text(&all); /* kernel */
	reading->cpus = km_take_u16(&all);
	reading->interfaces = km_take_u16(&all);
	if (reading->cpus > KMON_STATS_MAX_CPUS ||
	    reading->interfaces > KMON_STATS_MAX_INTERFACES)
		return -ENODATA;
	reading->rest = all;
	for (i = 0; i < reading->cpus; i++)
		km_take_cpu(&all);
	for (i = 0; i < reading->interfaces; i++)
		km_take_interface(&all);

	return all.bad ? -ENODATA : 0;
}
