/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Numbers of the protocol between KMON and an instance's daemon
 *
 * The same as in the crate kmon-protocol. KMON_COMMAND_INPUT is
 * Command::INPUT there, KMON_STATS_MAX_CPUS is Stats::MAX_CPUS, KMON_VERSION
 * is link::VERSION, and so on. All integers in memory are little-endian.
 */

#ifndef KMON_PROTOCOL_H
#define KMON_PROTOCOL_H

/* Partitions: KMON, the first instance, and the highest number. */
#define KMON_MONITOR			1
#define KMON_FIRST_INSTANCE		2
#define KMON_LAST_PARTITION		128

/* Version of the messages, which KMON_EVENT_HELLO carries. */
#define KMON_VERSION			2

/* The region and what is in it. */
#define KMON_REGION_LEN			(2 << 20)
#define KMON_GEOMETRY_SEGMENTS		16
#define KMON_GEOMETRY_PARTITIONS	128
#define KMON_GEOMETRY_BLOCK		128

#define KMON_SEGMENT_SETTINGS		"kmon.settings"
#define KMON_SEGMENT_COMMAND		"kmon.command"
#define KMON_SEGMENT_RESULT		"kmon.result"
#define KMON_SEGMENT_STATS		"kmon.stats"

#define KMON_COMMAND_RING		(32 << 10)
#define KMON_RESULT_RING		(256 << 10)

/* A record: kind u16, incarnation u16, stream u32, then the body. */
#define KMON_HEADER_LEN			8
#define KMON_COMMAND_BODY		(4 << 10)
#define KMON_EVENT_BODY			(16 << 10)

/* Commands, KMON to instance. */
#define KMON_COMMAND_INPUT		1	/* bytes */
#define KMON_COMMAND_RESIZE		2	/* rows u16, columns u16 */
#define KMON_COMMAND_EXEC		3	/* timeout_ms u32, texts */
#define KMON_COMMAND_KILL		4
#define KMON_COMMAND_QUERY_IDLE		5
#define KMON_COMMAND_HALT		6

/* Events, instance to KMON. */
#define KMON_EVENT_HELLO		1	/* version u16, incarnation u32 */
#define KMON_EVENT_OUTPUT		2	/* bytes */
#define KMON_EVENT_STDOUT		3	/* bytes */
#define KMON_EVENT_STDERR		4	/* bytes */
#define KMON_EVENT_ENDED		5	/* how u32, value u32, text */
#define KMON_EVENT_IDLE			6	/* u16 */
#define KMON_EVENT_SHELL_RESTARTED	7	/* status u32 */
#define KMON_EVENT_DROPPED		8	/* bytes u64, in all of the incarnation */
#define KMON_EVENT_GOODBYE		9
#define KMON_EVENT_DISCARDED		10	/* commands u32, since the last */

/* How a command ended, in KMON_EVENT_ENDED. */
#define KMON_EVENT_EXITED		0
#define KMON_EVENT_SIGNALLED		1
#define KMON_EVENT_TIMED_OUT		2
#define KMON_EVENT_NOT_STARTED		3

/* Settings: partition u32, period_ms u32, name as a text. */
#define KMON_SETTINGS_MAX_LEN		256
#define KMON_SETTINGS_NAME_LEN		64

/*
 * Statistics: taken_ns u64, uptime_ms u64, load u32 three times; then u64s:
 * memory total, free and available in KiB, dropped_bytes, CPU time busy and
 * total; texts: hostname, kernel; u16s: CPUs, interfaces; for each CPU busy
 * and total u64; for each interface its name as a text, then u64s: rx_bytes,
 * rx_packets, tx_bytes, tx_packets. A text is a u16 length, then its bytes.
 */
#define KMON_STATS_MAX_CPUS		256
#define KMON_STATS_MAX_INTERFACES	64
#define KMON_STATS_MAX_LEN		(128 + 2 * 66 + \
					 16 * KMON_STATS_MAX_CPUS + \
					 64 * KMON_STATS_MAX_INTERFACES)

/* An earlier incarnation whose heartbeat stands still for this long is gone. */
#define KMON_SILENCE_LIMIT_MS		3000
/* How long attaching waits for that. */
#define KMON_TAKE_OVER_MS		4000
/* How long an instance may take to see that its region is no longer one. */
#define KMON_RELEASE_MS			600

#endif /* KMON_PROTOCOL_H */
