// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * KMON's end of an instance's region
 *
 * - L1 A command carries the low half of the number of the life of the
 *   instance that it is for, and no other life runs it. What is in the command
 *   ring when KMON attaches as a new life never runs.
 * - L2 A record of the result ring is released behind its handling: a KMON
 *   that is reset at it finds it again.
 * - L3 A life of KMON that another one has replaced writes nothing more.
 * - L4 A region is formatted anew only when whoever lives in it has had time
 *   to see that it is one no more.
 */

#include <common.h>
#include <console.h>
#include <time.h>
#include <asm/unaligned.h>
#include <linux/delay.h>
#include "kmon.h"

/* The segments of a region. */
struct segments {
	struct shmr_segment settings, command, result, stats;
};

/* One for all: attaching is over before the next begins. */
static struct segments segments;
static struct shmr_heartbeats heartbeats;

/**
 * km_say_trouble() - put into words why a call of the library failed
 * @k:     @k->trouble gets the words
 * @what:  what the call was about
 * @error: of the handle that it failed on
 */
void km_say_trouble(struct km_instance *k, const char *what,
		    const struct shmr_error *error)
{
	int len;

	len = snprintf(k->trouble, sizeof(k->trouble), "%s: %s", what,
		       shmr_strerror(error->status));
	if (len >= sizeof(k->trouble))
		return;
	if (error->word[0])
		snprintf(k->trouble + len, sizeof(k->trouble) - len,
			 " (%s is 0x%llx)", error->word, error->value);
	else if (error->value)
		snprintf(k->trouble + len, sizeof(k->trouble) - len,
			 " (%llu)", error->value);
}

static int fail(struct km_instance *k, const char *what,
		const struct shmr_error *error)
{
	km_say_trouble(k, what, error);

	return -EPROTO;
}

/* Finds the segments of a region; makes those that are missing if @create. */
static int find_segments(struct km_instance *k, bool create)
{
	const struct {
		struct shmr_request request;
		struct shmr_segment *segment;
	} wanted[] = {
		{ { KMON_SEGMENT_SETTINGS, 0, SHMR_KIND_SNAPSHOT,
		    shmr_snapshot_len(KMON_SETTINGS_MAX_LEN), 0 },
		  &segments.settings },
		{ { KMON_SEGMENT_COMMAND, 0, SHMR_KIND_RING,
		    shmr_ring_len(KMON_COMMAND_RING), 0 },
		  &segments.command },
		{ { KMON_SEGMENT_RESULT, 0, SHMR_KIND_RING,
		    shmr_ring_len(KMON_RESULT_RING), 0 },
		  &segments.result },
		{ { KMON_SEGMENT_STATS, 0, SHMR_KIND_SNAPSHOT,
		    shmr_snapshot_len(KMON_STATS_MAX_LEN), 0 },
		  &segments.stats },
	};
	enum shmr_status status;
	int i;

	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (create)
			status = shmr_registry_open_or_create(&k->registry,
							      &k->presence,
							      &wanted[i].request,
							      wanted[i].segment);
		else
			status = shmr_registry_open(&k->registry,
						    &wanted[i].request,
						    wanted[i].segment);
		if (status != SHMR_OK)
			return fail(k, wanted[i].request.name,
				    &k->registry.error);
	}

	return 0;
}

/* Tells the instance its number, its name and how often it is to report. */
static int tell_settings(struct km_instance *k)
{
	struct shmr_snapshot_writer writer;
	u8 value[4 + 4 + 2 + KMON_SETTINGS_NAME_LEN];
	size_t len = strlen(k->name);

	put_unaligned_le32(k->number, value);
	put_unaligned_le32(KM_PERIOD_MS, value + 4);
	put_unaligned_le16(len, value + 8);
	memcpy(value + 10, k->name, len);
	if (shmr_snapshot_writer_open(&writer, &segments.settings) ||
	    shmr_snapshot_write(&writer, value, 10 + len))
		return fail(k, KMON_SEGMENT_SETTINGS, &writer.error);

	return 0;
}

/*
 * Reads the number and the name that an earlier KMON gave the instance. What
 * cannot be read is told anew.
 */
static int recall_settings(struct km_instance *k)
{
	u8 value[KMON_SETTINGS_MAX_LEN];
	struct shmr_snapshot_reader reader;
	struct km_bytes bytes = { .at = value };
	struct km_text name;
	u32 number;

	if (shmr_snapshot_reader_open(&reader, &segments.settings) ||
	    shmr_snapshot_read(&reader, value, sizeof(value), &bytes.len))
		return 0;
	number = km_take_u32(&bytes);
	km_take_u32(&bytes);
	name = km_take_text(&bytes);
	if (bytes.bad || number < KMON_FIRST_INSTANCE ||
	    number > KMON_LAST_PARTITION)
		return 0;
	km_copy_text(k->name, sizeof(k->name), name);

	return number;
}

/* Opens all but the presence, which there is. */
static int open_ends(struct km_instance *k)
{
	u32 life = shmr_presence_life(&k->presence);

	if (shmr_producer_open(&k->commands, &segments.command, life))
		return fail(k, KMON_SEGMENT_COMMAND, &k->commands.error);
	if (shmr_consumer_open(&k->events, &segments.result, life, SHMR_KEEP)) {
		shmr_producer_close(&k->commands);
		return fail(k, KMON_SEGMENT_RESULT, &k->events.error);
	}
	if (shmr_snapshot_reader_open(&k->stats, &segments.stats)) {
		shmr_producer_close(&k->commands);
		shmr_consumer_close(&k->events);
		return fail(k, KMON_SEGMENT_STATS, &k->stats.error);
	}

	return 0;
}

/* A wait for the end of KMON's earlier life. */
struct patience {
	ulong start;
	bool told;
	bool interrupted;
};

static int pause_attaching(struct shmr_wait *wait)
{
	struct patience *patience = wait->context;

	km_breathe();
	if (ctrlc())
		patience->interrupted = true;
	if (patience->interrupted ||
	    get_timer(patience->start) > KMON_TAKE_OVER_MS)
		return SHMR_GIVE_UP;
	if (!patience->told && get_timer(patience->start) > 200) {
		patience->told = true;
		puts("An earlier KMON did not leave: waiting 3 s for its heartbeat to stand still (Ctrl-C gives up)\n");
	}
	udelay(1000);

	return SHMR_AGAIN;
}

static u64 now_us(void *context)
{
	return (u64)get_timer(0) * 1000;
}

/*
 * Attaches KMON as its next life. Nobody else knows whether an earlier KMON has
 * ended, so its silence decides: one that is only stopped for longer, in a
 * debugger say, is evicted, and told so at its next beat (L3).
 */
static int announce(struct km_instance *k)
{
	const struct shmr_clock clock = { .now_us = now_us };
	struct patience patience = { .start = get_timer(0) };
	struct shmr_wait wait = {
		.pause = pause_attaching,
		.context = &patience,
	};
	struct shmr_liveness liveness;
	enum shmr_status status;

	if (shmr_heartbeats_watch(&heartbeats, &k->registry,
				  KMON_STANDSTILL_MS / 2, &clock) ||
	    shmr_heartbeats_presume_gone_after(&heartbeats,
					       KMON_STANDSTILL_MS))
		return fail(k, "heartbeats", &heartbeats.error);
	liveness = shmr_heartbeats_liveness(&heartbeats);
	status = shmr_partition_attach_when_over(&k->presence, &k->registry,
						 KMON_MONITOR, NULL, &wait,
						 &liveness);
	if (patience.interrupted) {
		strcpy(k->trouble, "interrupted");
		return -EINTR;
	}
	if (status == SHMR_ATTACHED) {
		strcpy(k->trouble, "another KMON is attached, and its heartbeat moves");
		return -EBUSY;
	}
	if (status != SHMR_OK)
		return fail(k, "KMON's place", &k->presence.error);

	return 0;
}

static void begin(struct km_instance *k)
{
	k->beat_at = get_timer(0);
	k->ready = true;
	km_look(k, NULL);
	k->moved = false;
}

/* Finishes attaching, or leaves the region again. */
static int finish(struct km_instance *k, int ret)
{
	if (ret) {
		shmr_presence_leave(&k->presence);
		return ret;
	}
	begin(k);

	return 0;
}

/* Ends a region for all who are attached to it (L4). */
static void end_region(struct km_instance *k)
{
	ulong start = get_timer(0);

	if (shmr_region_attach(&k->region, k->memory.base, k->memory.len))
		return;
	/* Its first word is the magic. */
	*(volatile u32 *)k->memory.base = 0;
	while (get_timer(start) < KMON_LET_GO_MS) {
		km_breathe();
		udelay(1000);
	}
}

/**
 * km_format() - make the memory of an instance its region, and attach to it
 * @k: its memory, its number and its name are there
 *
 * Return: 0; else -ve, and @k->trouble says why
 */
int km_format(struct km_instance *k)
{
	static const struct shmr_geometry geometry = {
		.segments = KMON_GEOMETRY_SEGMENTS,
		.partitions = KMON_GEOMETRY_PARTITIONS,
		.block = KMON_GEOMETRY_BLOCK,
	};
	int ret;

	end_region(k);
	if (shmr_region_format(&k->region, k->memory.base, k->memory.len))
		return fail(k, "region", &k->region.error);
	if (shmr_registry_format(&k->registry, &k->region, &geometry))
		return fail(k, "registry", &k->registry.error);
	if (shmr_partition_attach(&k->presence, &k->registry, KMON_MONITOR,
				  NULL))
		return fail(k, "KMON's place", &k->presence.error);
	ret = find_segments(k, true);
	if (!ret)
		ret = tell_settings(k);
	if (!ret)
		ret = open_ends(k);

	return finish(k, ret);
}

/**
 * km_recognise() - see whether memory is the region of an instance
 * @k: its memory is there. Gets the number and the name that the region says;
 *     the number is 0 if it says none
 *
 * Stores nothing in the memory.
 *
 * Return: 0; -ENOENT, the memory is no region; else -ve, and @k->trouble says
 *         why
 */
int km_recognise(struct km_instance *k)
{
	int ret;

	switch (shmr_region_attach(&k->region, k->memory.base, k->memory.len)) {
	case SHMR_OK:
		break;
	case SHMR_NOT_A_REGION:
		return -ENOENT;
	default:
		return fail(k, "region", &k->region.error);
	}
	if (shmr_registry_attach(&k->registry, &k->region))
		return fail(k, "registry", &k->registry.error);
	ret = find_segments(k, false);
	if (ret)
		return ret;
	k->number = recall_settings(k);

	return 0;
}

/**
 * km_attach() - attach to a region that was recognised just now
 * @k:    the instance, with its number
 * @tell: its number and its name are to be told to it
 *
 * Return: 0; else -ve, and @k->trouble says why
 */
int km_attach(struct km_instance *k, bool tell)
{
	int ret;

	ret = announce(k);
	if (ret)
		return ret;
	if (tell)
		ret = tell_settings(k);
	if (!ret)
		ret = open_ends(k);

	return finish(k, ret);
}

/**
 * km_close() - leave the region of an instance
 * @k: the instance
 */
void km_close(struct km_instance *k)
{
	km_beat(k);
	k->ready = false;
	if (k->replaced) /* L3 */
		return;
	shmr_producer_close(&k->commands);
	shmr_consumer_close(&k->events);
	shmr_presence_leave(&k->presence);
}

/**
 * km_send() - send a command
 * @k:      the instance
 * @life:   the life of its daemon that the command is for
 * @kind:   KMON_COMMAND_...
 * @stream: which command of kmexec, or 0
 * @body:   the rest of the record
 * @len:    its bytes, at most KMON_COMMAND_BODY
 *
 * Never waits.
 *
 * Return: what became of it; with KM_UNSENT, @k->trouble says why
 */
enum km_sent km_send(struct km_instance *k, u32 life, u16 kind, u32 stream,
		     const void *body, size_t len)
{
	static u8 record[KMON_HEADER_LEN + KMON_COMMAND_BODY];
	enum shmr_status status;

	if (!km_beat(k)) /* L3 */
		return KM_UNSENT;
	put_unaligned_le16(kind, record);
	put_unaligned_le16(life, record + 2); /* L1 */
	put_unaligned_le32(stream, record + 4);
	memcpy(record + KMON_HEADER_LEN, body, len);
	status = shmr_producer_push(&k->commands, record,
				    KMON_HEADER_LEN + len);
	/* Said once. A life that it is not for discards the command. */
	if (status == SHMR_RESTARTED)
		status = shmr_producer_push(&k->commands, record,
					    KMON_HEADER_LEN + len);
	switch (status) {
	case SHMR_OK:
		return KM_SENT;
	case SHMR_FULL:
	case SHMR_RESTARTED:
		return KM_FULL;
	default:
		k->corrupt = true;
		km_say_trouble(k, KMON_SEGMENT_COMMAND, &k->commands.error);
		return KM_UNSENT;
	}
}
