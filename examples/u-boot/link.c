// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * KMON's side of an instance's region
 *
 * - L1 A command carries the low half of the number of the incarnation that it
 *   is for, and no other incarnation runs it. Commands that are in the ring
 *   when KMON attaches as a new incarnation never run.
 * - L2 A record of the result ring is released after it was handled: a KMON
 *   that is reset before that finds the record again.
 * - L3 An incarnation of KMON that another one has replaced writes nothing more.
 * - L4 A region is formatted again only after all partitions that use it have
 *   had time to see that it is no longer a region.
 */

#include <common.h>
#include <console.h>
#include <time.h>
#include <asm/unaligned.h>
#include <linux/delay.h>
#include "kmon.h"

#define NS_PER_MS	1000000ull

/**
 * km_set_trouble() - describe why a call of the library failed
 * @k:     @k->trouble gets the words
 * @what:  the subject of the call
 * @error: of the handle that it failed on
 */
void km_set_trouble(struct km_instance *k, const char *what,
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
	km_set_trouble(k, what, error);

	return -EPROTO;
}

/* Returns the request for a snapshot that holds @len bytes. */
static struct shmr_request snapshot(const char *name, size_t len)
{
	return (struct shmr_request){
		.name = name,
		.kind = SHMR_KIND_SNAPSHOT,
		.len = shmr_snapshot_len(len),
	};
}

/* Writes the instance's number and name, and how often it publishes statistics. */
static int write_settings(struct km_instance *k)
{
	const struct shmr_request request =
		snapshot(KMON_SEGMENT_SETTINGS, KMON_SETTINGS_MAX_LEN);
	struct shmr_snapshot_writer writer;
	struct shmr_segment segment;
	u8 value[4 + 4 + 2 + KMON_SETTINGS_NAME_LEN];
	size_t len = strlen(k->name);

	put_unaligned_le32(k->number, value);
	put_unaligned_le32(KM_PERIOD_MS, value + 4);
	put_unaligned_le16(len, value + 8);
	memcpy(value + 10, k->name, len);
	if (shmr_session_open_or_create(&k->session, &request, &segment))
		return fail(k, KMON_SEGMENT_SETTINGS, &k->session.error);
	if (shmr_snapshot_writer_open(&writer, &segment) ||
	    shmr_snapshot_write(&writer, value, 10 + len))
		return fail(k, KMON_SEGMENT_SETTINGS, &writer.error);

	return 0;
}

/*
 * Reads the number and the name that an earlier KMON gave the instance. Returns
 * 0 if they cannot be read; they are then written again.
 */
static int read_settings(struct km_instance *k,
			 const struct shmr_segment *segment)
{
	u8 value[KMON_SETTINGS_MAX_LEN];
	struct shmr_snapshot_reader reader;
	struct km_bytes bytes = { .at = value };
	struct km_text name;
	u32 number;

	if (shmr_snapshot_reader_open(&reader, segment) ||
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

static int open_stats(struct km_instance *k)
{
	const struct shmr_request request =
		snapshot(KMON_SEGMENT_STATS, KMON_STATS_MAX_LEN);
	struct shmr_segment segment;

	if (shmr_session_open_or_create(&k->session, &request, &segment))
		return fail(k, KMON_SEGMENT_STATS, &k->session.error);
	if (shmr_snapshot_reader_open(&k->stats, &segment))
		return fail(k, KMON_SEGMENT_STATS, &k->stats.error);

	return 0;
}

/* Opens all parts of the region; a segment that is missing is created. */
static int open_all(struct km_instance *k, bool settings)
{
	int ret = settings ? write_settings(k) : 0;

	if (!ret)
		ret = open_stats(k);
	if (ret)
		return ret;
	if (shmr_session_registry(&k->session, &k->registry))
		return fail(k, "registry", &k->registry.error);
	if (shmr_sender_open(&k->commands, &k->session, KMON_SEGMENT_COMMAND,
			     KMON_COMMAND_RING))
		return fail(k, KMON_SEGMENT_COMMAND, &k->commands.error);
	if (shmr_receiver_open(&k->events, &k->session, KMON_SEGMENT_RESULT,
			       KMON_RESULT_RING, SHMR_KEEP)) {
		shmr_sender_close(&k->commands);
		return fail(k, KMON_SEGMENT_RESULT, &k->events.error);
	}
	k->beat_at = get_timer(0);
	k->ready = true;
	km_get_state(k, NULL);
	k->moved = false;

	return 0;
}

/* Opens all, or leaves the region again. */
static int finish(struct km_instance *k, bool settings)
{
	int ret = open_all(k, settings);

	if (ret)
		shmr_session_leave(&k->session);

	return ret;
}

/* The wait for the end of KMON's earlier incarnation; all zero outside a wait. */
static struct {
	ulong start;
	bool waits, shown, interrupted;
} joining;

static u64 now(void *context)
{
	return get_timer(0) * NS_PER_MS;
}

static void sleep_once(void *context, const u32 *ring_count, u32 seen,
		       u64 longest)
{
	km_yield();
	if (ctrlc())
		joining.interrupted = true;
	if (joining.waits && !joining.shown &&
	    get_timer(joining.start) > 200) {
		joining.shown = true;
		puts("An earlier KMON did not detach: waiting 3 s for its heartbeat to stand still (Ctrl-C cancels)\n");
	}
	udelay(1000);
}

static bool interrupted(void *context)
{
	return joining.interrupted;
}

static const struct shmr_platform platform = {
	.now = now,
	.sleep = sleep_once,
	.interrupted = interrupted,
};

/*
 * Joins as KMON's next incarnation. No other partition knows whether an earlier
 * KMON has ended, so its silence decides. One that was only stopped for longer,
 * in a debugger for example, is evicted, and sees that at its next beat (L3).
 */
static int join(struct km_instance *k)
{
	static const struct shmr_session_options options = {
		.partition = KMON_MONITOR,
		.wait_for_earlier = KMON_TAKE_OVER_MS * NS_PER_MS,
		.presume_gone_after = KMON_SILENCE_LIMIT_MS * NS_PER_MS,
	};
	enum shmr_status status;
	bool interrupted;

	memset(&joining, 0, sizeof(joining));
	joining.start = get_timer(0);
	joining.waits = true;
	status = shmr_session_join(&k->session, k->memory.base, k->memory.len,
				   &options, &platform);
	interrupted = joining.interrupted;
	memset(&joining, 0, sizeof(joining));
	if (status != SHMR_ATTACHED)
		return status ? fail(k, "KMON's slot", &k->session.error) : 0;
	strcpy(k->trouble, interrupted ? "interrupted" :
	       "another KMON is attached, and its heartbeat moves");

	return interrupted ? -EINTR : -EBUSY;
}

/* One for all, used before KMON has joined. */
static struct shmr_region region;

/* Ends a region for all partitions that are attached to it (L4). */
static void end_region(struct km_instance *k)
{
	ulong start = get_timer(0);

	if (shmr_region_attach(&region, k->memory.base, k->memory.len))
		return;
	/* Its first word is the magic. */
	*(volatile u32 *)k->memory.base = 0;
	while (get_timer(start) < KMON_RELEASE_MS) {
		km_yield();
		udelay(1000);
	}
}

/**
 * km_format() - format the memory of an instance as its region, and attach
 * @k: the instance, with its memory, number and name
 *
 * Return: 0; else -ve, and @k->trouble has the reason
 */
int km_format(struct km_instance *k)
{
	static const struct shmr_geometry geometry = {
		.segments = KMON_GEOMETRY_SEGMENTS,
		.partitions = KMON_GEOMETRY_PARTITIONS,
		.block_size = KMON_GEOMETRY_BLOCK,
	};
	const struct shmr_session_options options = {
		.partition = KMON_MONITOR,
		.geometry = &geometry,
	};

	end_region(k);
	if (shmr_session_create(&k->session, k->memory.base, k->memory.len,
				&options, &platform))
		return fail(k, "region", &k->session.error);

	return finish(k, true);
}

/**
 * km_recognise() - check whether memory is the region of an instance
 * @k: the instance, with its memory. Gets the number and the name of the
 *     region; the number is 0 if the region has none
 *
 * Stores nothing in the memory.
 *
 * Return: 0; -ENOENT, the memory is not a region; else -ve, and @k->trouble
 *         has the reason
 */
int km_recognise(struct km_instance *k)
{
	const struct shmr_request request =
		snapshot(KMON_SEGMENT_SETTINGS, KMON_SETTINGS_MAX_LEN);
	struct shmr_segment segment;

	switch (shmr_region_attach(&region, k->memory.base, k->memory.len)) {
	case SHMR_OK:
		break;
	case SHMR_NOT_A_REGION:
		return -ENOENT;
	default:
		return fail(k, "region", &region.error);
	}
	if (shmr_registry_attach(&k->registry, &region))
		return fail(k, "registry", &k->registry.error);
	if (shmr_registry_open(&k->registry, &request, &segment))
		return fail(k, KMON_SEGMENT_SETTINGS, &k->registry.error);
	k->number = read_settings(k, &segment);

	return 0;
}

/**
 * km_attach() - attach to a region that km_recognise() has just checked
 * @k:        the instance, with its number
 * @settings: write its number and its name into the region
 *
 * Return: 0; else -ve, and @k->trouble has the reason
 */
int km_attach(struct km_instance *k, bool settings)
{
	int ret = join(k);

	return ret ? ret : finish(k, settings);
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
	shmr_sender_close(&k->commands);
	shmr_receiver_close(&k->events);
	shmr_session_leave(&k->session);
}

/**
 * km_send() - send a command
 * @k:           the instance
 * @incarnation: the incarnation of its daemon that the command is for
 * @kind:        KMON_COMMAND_...
 * @stream:      which command of kmexec, or 0
 * @body:        the rest of the record
 * @len:         its bytes, at most KMON_COMMAND_BODY
 *
 * Never waits.
 *
 * Return: the result; with KM_UNSENT, @k->trouble has the reason
 */
enum km_sent km_send(struct km_instance *k, u32 incarnation, u16 kind, u32 stream,
		     const void *body, size_t len)
{
	static u8 record[KMON_HEADER_LEN + KMON_COMMAND_BODY];
	enum shmr_status status;

	if (!km_beat(k)) /* L3 */
		return KM_UNSENT;
	put_unaligned_le16(kind, record);
	put_unaligned_le16(incarnation, record + 2); /* L1 */
	put_unaligned_le32(stream, record + 4);
	memcpy(record + KMON_HEADER_LEN, body, len);
	status = shmr_sender_try_send(&k->commands, record,
				      KMON_HEADER_LEN + len);
	/* Reported once. An incarnation that it is not for discards the command. */
	if (status == SHMR_RESTARTED)
		status = shmr_sender_try_send(&k->commands, record,
					      KMON_HEADER_LEN + len);
	switch (status) {
	case SHMR_OK:
		return KM_SENT;
	case SHMR_FULL:
	case SHMR_RESTARTED:
		return KM_FULL;
	default:
		k->corrupt = true;
		km_set_trouble(k, KMON_SEGMENT_COMMAND, &k->commands.error);
		return KM_UNSENT;
	}
}
