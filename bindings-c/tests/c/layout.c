/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * What calls store in memory, at the offsets that docs/layout.md gives.
 *
 * layout.h is generated from the tables of that page and has Table_field for each field. The
 * driver checks that no field except the reserved ones is missing here.
 */
#include <string.h>
#include <unistd.h>

#include "layout.h"
#include "fixture.h"

static struct fixture fixture;

static void *region(void)
{
	return shmr_mapping_base(&fixture.mapping);
}

static void *registry(void)
{
	return (char *)region() + RegistryHeader;
}

static void *slot(uint32_t number)
{
	return (char *)region() + 256 + 128 * (number - 1);
}

/* The one row that is in use. */
static void *row_in_use(void)
{
	char *rows = (char *)slot(FIXTURE_PARTITIONS + 1) +
		     4 * 2 * FIXTURE_SEGMENTS;
	size_t number;

	for (number = 0; number < FIXTURE_SEGMENTS; number++)
		if (word_at(rows + 64 * number, Row_state) & 1)
			return rows + 64 * number;
	CHECK(number < FIXTURE_SEGMENTS);
	return NULL;
}

TEST(a_region_begins_with_its_header)
{
	fixture_make(&fixture);
	SAME(memcmp((char *)region() + RegionHeader_magic, "SHMR", 4), 0);
	SAME(word_at(region(), RegionHeader_version), LAYOUT_VERSION);
	SAME(shmr_layout_version(), LAYOUT_VERSION);
	SAME(word_at(region(), RegionHeader_features), 0);
	SAME(word_at(region(), RegionHeader_generation), 1);
	SAME(word_at(region(), RegionHeader_length_low), FIXTURE_LEN);
	SAME(word_at(region(), RegionHeader_length_high), 0);
}

TEST(a_region_that_is_formatted_again_has_the_next_generation)
{
	fixture_make(&fixture);
	OK(shmr_region_format(&fixture.region, region(), FIXTURE_LEN));
	SAME(word_at(region(), RegionHeader_generation), 2);
	SAME(shmr_region_generation(&fixture.region), 2);
}

TEST(a_registry_stores_its_sizes_in_one_word)
{
	fixture_make(&fixture);
	SAME(word_at(registry(), RegistryHeader_geometry),
	     1u << 31 | 4 << 16 | 7 << 8 | FIXTURE_PARTITIONS);
}

TEST(segments_are_created_and_found_with_wrong_hints)
{
	struct shmr_segment segment;
	uint32_t hint;

	fixture_make(&fixture);
	for (hint = 0; hint < 3; hint++) {
		const char *const names[] = { "a", "b", "c" };

		set_word(registry(), RegistryHeader_block_hint, hint * 0x7fffffff);
		set_word(registry(), RegistryHeader_row_hint,
			 hint * 0x7fffffff);
		segment = fixture_segment(&fixture, names[hint], SHMR_KIND_RAW, 1);
		CHECK(shmr_registry_is_current(&fixture.registry, &segment));
	}
}

TEST(a_slot_contains_the_incarnation_heartbeat_and_process)
{
	struct shmr_process own = shmr_process_this();
	uint32_t beat;

	fixture_make(&fixture);
	SAME(word_at(slot(2), PartitionSlot_incarnation), fixture.two);
	SAME(word_at(slot(2), PartitionSlot_process_namespace), own.namespace_id);
	SAME(word_at(slot(2), PartitionSlot_process), getpid());
	SAME(word_at(slot(2), PartitionSlot_process_start), own.start);
	SAME(word_at(slot(2), PartitionSlot_process_image), own.image);
	CHECK(own.image != 0);
	beat = word_at(slot(2), PartitionSlot_heartbeat);
	OK(shmr_attachment_beat(&fixture.second));
	CHECK(word_at(slot(2), PartitionSlot_heartbeat) != beat);
	SAME(word_at(slot(3), PartitionSlot_incarnation), 0);
}

TEST(a_partition_that_left_has_bit_31_set_in_its_incarnation)
{
	fixture_make(&fixture);
	OK(shmr_attachment_leave(&fixture.second));
	SAME(word_at(slot(2), PartitionSlot_incarnation), fixture.two | 1u << 31);
}

TEST(a_row_describes_its_segment)
{
	struct shmr_segment segment;
	void *row;
	size_t blocks;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "segment", SHMR_KIND_SNAPSHOT, 1000);
	row = row_in_use();
	SAME(word_at(row, Row_owner), 0);
	SAME(word_at(row, Row_state) & 1, 1);
	SAME(word_at(row, Row_next) & 0x1ffff, 0);
	SAME(word_at(row, Row_kind), SHMR_KIND_SNAPSHOT);
	SAME(word_at(row, Row_id_low), segment.id & 0xffffffff);
	SAME(word_at(row, Row_id_high), segment.id >> 32);
	SAME(word_at(row, Row_length), 1000);
	SAME(memcmp((char *)row + Row_name, "segment\0", 8), 0);
	/* After the last block, less than one block and its word is left of the region. */
	blocks = (size_t)segment.offset -
		 128 * (size_t)word_at(row, Row_first_block);
	SAME(blocks % 128, 0);
	SAME((char *)segment.base - (char *)region(), segment.offset);
}

TEST(an_identifier_is_the_hash_of_its_name)
{
	uint64_t hash = 0xcbf29ce484222325;
	const char *at;

	for (at = "kmon.command"; *at; at++)
		hash = (hash ^ (unsigned char)*at) * 0x100000001b3;
	SAME(shmr_id_from_name("kmon.command"), hash);
	SAME(shmr_id_from_name("\xff"),
	     (0xcbf29ce484222325 ^ 0xff) * 0x100000001b3);
	SAME(shmr_id_from_name(NULL), 0);
}

static struct shmr_segment segment;
static struct shmr_producer producer;
static struct shmr_consumer consumer;

static void make_ring(void)
{
	fixture_make(&fixture);
	memset(&producer, 0, sizeof(producer));
	memset(&consumer, 0, sizeof(consumer));
	segment = fixture_segment(&fixture, "ring", SHMR_KIND_RING,
				  shmr_ring_len(256));
	SAME(segment.len, 512 + 256);
	OK(shmr_producer_open(&producer, &segment, fixture.one));
	OK(shmr_consumer_open(&consumer, &segment, fixture.two, SHMR_DISCARD));
}

TEST(a_ring_stores_the_owner_and_the_epoch_of_each_end)
{
	make_ring();
	SAME(word_at(segment.base, RingControl_producer), fixture.one);
	SAME(word_at(segment.base, RingControl_consumer), fixture.two);
	SAME(word_at(segment.base, RingControl_producer_epoch), 1);
	SAME(word_at(segment.base, RingControl_consumer_epoch), 1);
	OK(shmr_producer_close(&producer));
	OK(shmr_consumer_close(&consumer));
	SAME(word_at(segment.base, RingControl_producer),
	     fixture.one | 1u << 31);
	SAME(word_at(segment.base, RingControl_consumer),
	     fixture.two | 1u << 31);
	OK(shmr_producer_open(&producer, &segment, NEXT(fixture.one)));
	SAME(word_at(segment.base, RingControl_producer_epoch), 2);
}

TEST(a_record_has_a_header_a_stamp_and_a_payload)
{
	char *record;
	char copy[8];
	size_t len;

	make_ring();
	record = (char *)segment.base + RING_DATA;
	OK(shmr_producer_push(&producer, "hello", 5));
	SAME(word_at(record, Record_header), 5 << 2 | 1);
	SAME(word_at(record, Record_stamp), 1 << 16 | 1);
	SAME(memcmp(record + Record_payload, "hello", 5), 0);
	SAME(word_at(record, 16), 0);
	SAME(word_at(segment.base, RingControl_tail), 0);
	SAME(word_at(segment.base, RingControl_head), 0);
	OK(shmr_consumer_pop(&consumer, copy, 8, &len));
	SAME(word_at(segment.base, RingControl_position), 16);
	SAME(shmr_consumer_position(&consumer), 16);
	/* Released space may be published late, up to an eighth of the ring, until a notify. */
	for (int times = 0; times < 3; times++)
		OK(shmr_producer_push(&producer, "hello", 5));
	OK(shmr_consumer_pop(&consumer, copy, 8, &len));
	OK(shmr_consumer_pop(&consumer, copy, 8, &len));
	CHECK(word_at(segment.base, RingControl_head) >= 16);
	OK(shmr_consumer_notify(&consumer, NULL));
	SAME(word_at(segment.base, RingControl_head), 48);
	SAME(word_at(segment.base, RingControl_position), 48);
	/* So may pushed records, until the end is closed. */
	CHECK(word_at(segment.base, RingControl_tail) >= 32);
	OK(shmr_producer_close(&producer));
	SAME(word_at(segment.base, RingControl_tail), 64);
}

TEST(a_message_has_an_epoch_a_call_number_and_bytes)
{
	const struct shmr_session_options options = { .partition = 5 };
	const struct shmr_platform platform = shmr_platform_same_kernel();
	struct shmr_session session = { 0 };
	struct shmr_client client = { 0 };
	struct shmr_segment ring;
	struct shmr_call call;
	char *message;

	fixture_make(&fixture);
	OK(shmr_session_join(&session, region(), FIXTURE_LEN, &options,
			     &platform));
	OK(shmr_client_open(&client, &session, "demo", NULL));
	OK(shmr_client_start_call(&client, "hello", 5, &call, 0));
	OK(shmr_registry_lookup(&fixture.registry,
				shmr_id_from_name("demo.command"), &ring));
	message = (char *)ring.base + RING_DATA + Record_payload;
	SAME(word_at(message, Message_epoch) & 0xffff, 1);
	/* The client reads the call line. */
	SAME(message[Message_flags], 1);
	SAME(word_at(message, Message_call), 1);
	SAME(memcmp(message + 8, "hello", 5), 0);
	OK(shmr_client_close(&client));
	OK(shmr_session_leave(&session));
}

/* Starts a call, receives it and answers it. */
static void answer_one(struct shmr_client *client, struct shmr_server *server)
{
	struct shmr_call call, received;
	char text[8];
	size_t len;

	OK(shmr_client_start_call(client, "uname", 5, &call, 0));
	OK(shmr_server_recv(server, text, sizeof(text), &len, &received, 0));
	SAME(memcmp(text, "uname", len), 0);
	OK(shmr_server_answer(server, &received, "Linux!", 6, 0));
	OK(shmr_client_finish_call(client, &call, text, sizeof(text), &len,
				   0));
	SAME(memcmp(text, "Linux!", len), 0);
}

TEST(a_call_after_an_answered_one_is_in_the_call_line)
{
	struct shmr_session_options options = { .partition = 5 };
	const struct shmr_platform platform = shmr_platform_same_kernel();
	struct shmr_session here = { 0 }, there = { 0 };
	struct shmr_client client = { 0 };
	struct shmr_server server = { 0 };
	struct shmr_segment line;
	const char *bytes;

	fixture_make(&fixture);
	OK(shmr_session_join(&here, region(), FIXTURE_LEN, &options, &platform));
	options.partition = 6;
	OK(shmr_session_join(&there, region(), FIXTURE_LEN, &options,
			     &platform));
	OK(shmr_server_open(&server, &there, "demo", NULL));
	OK(shmr_client_open(&client, &here, "demo", NULL));
	OK(shmr_registry_lookup(&fixture.registry, shmr_id_from_name("demo.call"),
				&line));
	SAME(line.kind, SHMR_KIND_CALL_LINE);
	answer_one(&client, &server);
	bytes = line.base;
	SAME(word_at(bytes, CallControl_started), 1);
	SAME(word_at(bytes, CallControl_asked), 0);
	answer_one(&client, &server);
	SAME(word_at(bytes, CallControl_started), 1);
	SAME(word_at(bytes, CallControl_asked), 2);
	SAME(word_at(bytes, CallControl_command_len), 5);
	SAME(memcmp(bytes + CallControl_command, "uname", 5), 0);
	SAME(word_at(bytes, CallControl_received), 2);
	SAME(word_at(bytes, CallControl_answered), 2);
	SAME(word_at(bytes, CallControl_answer_len), 6);
	SAME(memcmp(bytes + CallControl_answer, "Linux!", 6), 0);
	OK(shmr_client_close(&client));
	OK(shmr_server_close(&server));
	OK(shmr_session_leave(&here));
	OK(shmr_session_leave(&there));
}

TEST(padding_fills_the_end_of_the_ring_if_a_record_does_not_fit)
{
	static const char longest[112];
	char *data, copy[112];
	size_t len;

	make_ring();
	data = (char *)segment.base + RING_DATA;
	for (int times = 0; times < 2; times++) {
		OK(shmr_producer_push(&producer, longest, 112));
		OK(shmr_consumer_pop(&consumer, copy, 112, &len));
	}
	/* 16 bytes are left: 8 of header, 8 of padding. */
	OK(shmr_producer_push(&producer, longest, 100));
	SAME(word_at(data, 240), 8 << 2 | 2 | 1);
	SAME(word_at(data, Record_header), 100 << 2 | 1);
}

TEST(a_ring_counts_the_records_that_its_consumers_discarded)
{
	char copy[8];
	size_t len;

	make_ring();
	OK(shmr_producer_push(&producer, "old", 3));
	OK(shmr_producer_close(&producer));
	OK(shmr_producer_open(&producer, &segment, NEXT(fixture.one)));
	RETURNS(shmr_consumer_pop(&consumer, copy, 8, &len), SHMR_RESTARTED);
	RETURNS(shmr_consumer_pop(&consumer, copy, 8, &len), SHMR_EMPTY);
	SAME(word_at(segment.base, RingControl_discarded), 1);
	SAME(shmr_consumer_discarded(&consumer), 1);
}

/* The words of a doorbell while the peer sleeps. */
static const uint32_t *asleep_on;
static uint32_t armed, ring_count;

static int sleep_once(struct shmr_wait *wait)
{
	return asleep_on ? SHMR_GIVE_UP : ((void)wait, SHMR_SLEEP);
}

static void check_bell(struct shmr_wait *wait, const uint32_t *word,
		       uint32_t seen)
{
	const char *bell = (const char *)word - Bell_ring_count;

	(void)wait;
	asleep_on = word;
	armed = word_at(bell, Bell_armed);
	ring_count = seen;
	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_producer_notify(&producer, NULL));
}

TEST(a_doorbell_is_armed_while_the_peer_sleeps_and_counts_its_rings)
{
	struct shmr_wait wait = {
		.pause = sleep_once, .sleep = check_bell,
	};
	const char *bell;

	make_ring();
	asleep_on = NULL;
	bell = (const char *)segment.base + RingControl_records;
	OK(shmr_consumer_wait(&consumer, &wait));
	CHECK((const char *)asleep_on == bell + Bell_ring_count);
	SAME(armed, 1);
	SAME(ring_count, 0);
	SAME(word_at(bell, Bell_ring_count), 1);
	SAME(word_at(bell, Bell_armed), 0);
}

static void check_space_bell(struct shmr_wait *wait, const uint32_t *word,
			     uint32_t seen)
{
	(void)wait;
	(void)seen;
	asleep_on = word;
}

TEST(a_producer_sleeps_on_the_doorbell_for_space)
{
	static const char longest[112];
	struct shmr_wait wait = {
		.pause = sleep_once, .sleep = check_space_bell,
	};

	make_ring();
	asleep_on = NULL;
	OK(shmr_producer_push(&producer, longest, 112));
	OK(shmr_producer_push(&producer, longest, 100));
	FAILS(producer, shmr_producer_wait_for_space(&producer, 112, &wait),
	      SHMR_TIMED_OUT, 0, "");
	CHECK((const char *)asleep_on ==
	      (char *)segment.base + RingControl_space + Bell_ring_count);
}

TEST(a_snapshot_counts_its_values_and_keeps_the_last_two)
{
	struct shmr_snapshot_writer writer;
	size_t stride;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "snapshot", SHMR_KIND_SNAPSHOT,
				  shmr_snapshot_len(100));
	stride = (segment.len - 128) / 2 / 128 * 128;
	OK(shmr_snapshot_writer_open(&writer, &segment));
	OK(shmr_snapshot_write(&writer, "one", 3));
	OK(shmr_snapshot_write(&writer, "value two", 9));
	SAME(word_at(segment.base, SnapshotControl_sequence), 2);
	SAME(word_at(segment.base, 128), 9);
	SAME(memcmp((char *)segment.base + 136, "value two", 9), 0);
	SAME(word_at(segment.base, 128 + stride), 3);
}

TEST(a_mutex_stores_its_owner_and_its_health)
{
	struct shmr_mutex mutex;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				  shmr_mutex_len(8));
	OK(shmr_mutex_open(&mutex, &segment, fixture.two, NULL));
	OK(shmr_mutex_try_lock(&mutex, NULL));
	SAME(word_at(segment.base, MutexControl_owner), fixture.two);
	SAME(word_at(segment.base, MutexControl_health), 0);
	/* The C interface declares no type. */
	SAME(word_at(segment.base, MutexControl_protects), 0);
	OK(shmr_mutex_unlock(&mutex));
	SAME(word_at(segment.base, MutexControl_owner), 0);
	SAME((char *)shmr_mutex_data(&segment) - (char *)segment.base, 128);
}

TEST(a_reader_writer_lock_stores_its_readers_and_its_writer)
{
	struct shmr_rwlock rwlock;
	uint32_t at;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "rwlock", SHMR_KIND_RWLOCK,
				  shmr_rwlock_len(8));
	OK(shmr_rwlock_open(&rwlock, &segment, fixture.two, NULL));
	OK(shmr_rwlock_try_read(&rwlock, &at, NULL));
	CHECK(at < 128);
	SAME(word_at(segment.base, RwLockControl_readers + 4 * at), fixture.two);
	OK(shmr_rwlock_unlock_read(&rwlock, at));
	SAME(word_at(segment.base, RwLockControl_readers + 4 * at), 0);
	OK(shmr_rwlock_try_write(&rwlock, NULL));
	SAME(word_at(segment.base, RwLockControl_writer), fixture.two);
	SAME(word_at(segment.base, RwLockControl_writing), fixture.two);
	SAME(word_at(segment.base, RwLockControl_health), 0);
	SAME(word_at(segment.base, RwLockControl_protects), 0);
	OK(shmr_rwlock_unlock_write(&rwlock));
	SAME(word_at(segment.base, RwLockControl_writing), 0);
	SAME((char *)shmr_rwlock_data(&segment) - (char *)segment.base, 640);
}

TEST(a_semaphore_has_a_place_for_each_permit)
{
	struct shmr_semaphore semaphore;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "permits", SHMR_KIND_SEMAPHORE,
				  shmr_semaphore_len(2));
	OK(shmr_semaphore_open(&semaphore, &segment, fixture.two, NULL));
	OK(shmr_semaphore_add(&semaphore, 2));
	OK(shmr_semaphore_try_acquire(&semaphore, NULL));
	SAME(word_at(segment.base, 128) + word_at(segment.base, 136),
	     1 + fixture.two);
	SAME(word_at(segment.base, 132) + word_at(segment.base, 140), 0);
	SAME(word_at(segment.base, SemaphoreControl_ring_count), 0);
}

TEST(a_bakery_has_an_entry_for_each_partition)
{
	struct shmr_bakery bakery;
	const char *entry;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "bakery", SHMR_KIND_BAKERY,
				  shmr_bakery_len(8));
	entry = (char *)segment.base + BakeryControl_entries + 8;
	OK(shmr_bakery_open(&bakery, &segment, fixture.two, FIXTURE_PARTITIONS));
	OK(shmr_bakery_try_lock(&bakery, NULL));
	SAME(word_at(segment.base, BakeryControl_holder), fixture.two);
	SAME(word_at(segment.base, BakeryControl_health), 0);
	SAME(word_at(segment.base, BakeryControl_colour), 0);
	SAME(word_at(segment.base, BakeryControl_protects), 0);
	SAME(word_at(entry, 0), fixture.two);
	SAME(word_at(entry, 4) & 3, 0);
	CHECK(word_at(entry, 4) >> 2 != 0);
	OK(shmr_bakery_unlock(&bakery));
	SAME(word_at(segment.base, BakeryControl_holder), 0);
	SAME(word_at(segment.base, BakeryControl_colour), 1);
	SAME(word_at(entry, 4), 0);
	SAME((char *)shmr_bakery_data(&segment) - (char *)segment.base, 896);
}

TEST(a_barrier_counts_its_phases)
{
	struct shmr_barrier first, second;
	struct shmr_arrival arrival;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "barrier", SHMR_KIND_BARRIER,
				  shmr_barrier_len(FIXTURE_PARTITIONS));
	OK(shmr_barrier_open(&first, &segment, fixture.one, 2, NULL));
	OK(shmr_barrier_open(&second, &segment, fixture.two, 2, NULL));
	RETURNS(shmr_barrier_try_wait(&first, NULL, &arrival), SHMR_BUSY);
	SAME(word_at(segment.base, 128), fixture.one);
	SAME(word_at(segment.base, 132), 1);
	OK(shmr_barrier_try_wait(&second, NULL, &arrival));
	SAME(word_at(segment.base, BarrierControl_phase), 1);
	SAME(word_at(segment.base, BarrierControl_ring_count), 0);
	SAME(word_at(segment.base, 136), fixture.two);
	SAME(arrival.phase, 1);
}

/* A hand-written answering party, which follows each step of the asking one. */
static int answer_by_hand(struct shmr_wait *wait)
{
	const uint32_t session = 1 << 16;
	void *base = segment.base;
	uint32_t step = word_at(base, LitmusControl_asker_step);
	size_t at;

	(void)wait;
	SAME(word_at(base, LitmusControl_asked), session | 256);
	if (step == 0) {
		set_word(base, LitmusControl_answerer_step, session | 1);
		return SHMR_AGAIN;
	}
	SAME(step, session | 2);
	if (word_at(base, LitmusControl_answerer_step) == step)
		return SHMR_GIVE_UP;
	SAME(word_at(base, LitmusControl_count), session | 256);
	SAME(word_at(base, LitmusControl_asker_flag), session | 256);
	SAME(word_at(base, LitmusControl_asker_saw), 0);
	set_word(base, LitmusControl_answerer_flag, session | 256);
	for (at = 0; at < 256; at++)
		set_word(base, LitmusControl_answerer_saw + 4 * at,
			 session | (at < 2 ? 0 : 256));
	set_word(base, LitmusControl_count, session | 509);
	set_word(base, LitmusControl_answerer_step, step);
	return SHMR_AGAIN;
}

TEST(a_memory_test_is_answered_step_by_step)
{
	struct shmr_wait wait = { .pause = answer_by_hand };
	struct shmr_verdict verdict;
	const uint32_t session = 1 << 16;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "litmus", SHMR_KIND_LITMUS,
				  shmr_litmus_len());
	OK(shmr_litmus_ask(&segment, &wait, &verdict));
	SAME(word_at(segment.base, LitmusControl_asker_step), session | 0xffff);
	SAME(word_at(segment.base, LitmusControl_rounds), session | 256);
	SAME(word_at(segment.base, LitmusControl_lost), session | 3);
	SAME(word_at(segment.base, LitmusControl_violations), session | 256);
	SAME(word_at(segment.base, LitmusControl_enough), session | 0);
	SAME(verdict.read_modify_write.state, SHMR_BROKEN);
	SAME(verdict.read_modify_write.wrong, 3);
	SAME(verdict.read_modify_write.attempts, 512);
	SAME(verdict.fences.state, SHMR_BROKEN);
	SAME(verdict.fences.wrong, 256);
	SAME(verdict.fences.attempts, 256);
}
