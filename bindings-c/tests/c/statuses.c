/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * Every status in a situation in which it is returned, with the value and the word that
 * struct shmr_error describes. A test's name begins with its status: the driver checks that
 * no status is missing.
 */
#include <errno.h>
#include <string.h>

#include "fixture.h"

#define CAPACITY ((size_t)256)

static struct fixture fixture;
static struct shmr_segment ring;
static struct shmr_producer producer;
static struct shmr_consumer consumer;

/* Makes a ring with both ends open: partition 1 produces, 2 consumes. */
static void make_ring(void)
{
	fixture_make(&fixture);
	memset(&producer, 0, sizeof(producer));
	memset(&consumer, 0, sizeof(consumer));
	ring = fixture_segment(&fixture, "ring", SHMR_KIND_RING,
			       shmr_ring_len(CAPACITY));
	OK(shmr_producer_open(&producer, &ring, fixture.one));
	OK(shmr_consumer_open(&consumer, &ring, fixture.two, SHMR_KEEP));
}

TEST(SHMR_OK_is_written_when_a_handle_opens)
{
	make_ring();
	OK(shmr_producer_close(&producer));
	memset(&producer, 0xa5, sizeof(producer));
	OK(shmr_producer_open(&producer, &ring, fixture.one));
	SAME(producer.error.status, SHMR_OK);
	SAME(producer.error.value, 0);
	SAME(producer.error.word[0], 0);
}

TEST(SHMR_EMPTY_is_a_ring_without_records)
{
	char record[8];
	size_t len;

	make_ring();
	FAILS(consumer, shmr_consumer_pop(&consumer, record, 8, &len),
	      SHMR_EMPTY, 0, "");
}

TEST(SHMR_EMPTY_is_a_snapshot_that_was_never_written)
{
	struct shmr_snapshot_reader reader;
	struct shmr_segment snapshot;
	size_t len;

	fixture_make(&fixture);
	snapshot = fixture_segment(&fixture, "snapshot", SHMR_KIND_SNAPSHOT,
				   shmr_snapshot_len(100));
	OK(shmr_snapshot_reader_open(&reader, &snapshot));
	FAILS(reader, shmr_snapshot_read(&reader, NULL, 0, &len),
	      SHMR_EMPTY, 0, "");
}

TEST(SHMR_FULL_is_a_ring_whose_consumer_takes_nothing)
{
	const char record[100] = { 0 };

	make_ring();
	OK(shmr_producer_push(&producer, record, sizeof(record)));
	OK(shmr_producer_push(&producer, record, sizeof(record)));
	FAILS(producer, shmr_producer_push(&producer, record, sizeof(record)),
	      SHMR_FULL, 0, "");
}

/* Handles of partitions 1 and 2 for a mutex, which 1 holds. */
static struct shmr_mutex one, two;

static struct shmr_segment make_mutex(void)
{
	struct shmr_segment mutex;

	fixture_make(&fixture);
	mutex = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				shmr_mutex_len(8));
	OK(shmr_mutex_open(&one, &mutex, fixture.one, NULL));
	OK(shmr_mutex_open(&two, &mutex, fixture.two, NULL));
	OK(shmr_mutex_try_lock(&one, NULL));
	return mutex;
}

TEST(SHMR_BUSY_is_a_mutex_that_another_partition_holds)
{
	make_mutex();
	FAILS(two, shmr_mutex_try_lock(&two, NULL), SHMR_BUSY, 0, "");
}

TEST(SHMR_TIMED_OUT_is_a_wait_that_gave_up)
{
	struct shmr_wait wait;

	make_mutex();
	OK(shmr_wait_spin_checks(&wait, 10));
	FAILS(two, shmr_mutex_lock(&two, &wait, NULL), SHMR_TIMED_OUT, 0, "");
}

TEST(SHMR_RESTARTED_is_returned_once_after_the_consumer_restarted)
{
	make_ring();
	/* A producer knows no consumer before its first push. */
	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_consumer_close(&consumer));
	OK(shmr_consumer_open(&consumer, &ring, NEXT(fixture.two), SHMR_KEEP));
	FAILS(producer, shmr_producer_push(&producer, "a", 1),
	      SHMR_RESTARTED, 0, "");
	OK(shmr_producer_push(&producer, "a", 1));
}

TEST(SHMR_RESTARTED_is_returned_once_after_the_producer_restarted)
{
	char record[8];
	size_t len;

	make_ring();
	OK(shmr_producer_push(&producer, "a", 1));
	OK(shmr_producer_close(&producer));
	OK(shmr_producer_open(&producer, &ring, NEXT(fixture.one)));
	OK(shmr_producer_push(&producer, "b", 1));
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	SAME(record[0], 'a');
	FAILS(consumer, shmr_consumer_pop(&consumer, record, 8, &len),
	      SHMR_RESTARTED, 0, "");
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	SAME(record[0], 'b');
}

/* Returns the state in the context for partition 1, and SHMR_ALIVE for all others. */
static int state_of_one(void *context, uint32_t incarnation)
{
	return incarnation == fixture.one ? *(const int *)context : SHMR_ALIVE;
}

static int gone = SHMR_GONE, silent = SHMR_SILENT, unknown_state = 3;
static const struct shmr_liveness one_is_gone = { state_of_one, &gone };
static const struct shmr_liveness one_is_silent = { state_of_one, &silent };
static const struct shmr_liveness one_is_unknown = { state_of_one, &unknown_state };

TEST(SHMR_BUSY_is_a_mutex_whose_owner_is_not_known_to_be_gone)
{
	make_mutex();
	FAILS(two, shmr_mutex_try_lock(&two, &one_is_silent), SHMR_BUSY, 0, "");
	FAILS(two, shmr_mutex_try_lock(&two, &one_is_unknown),
	      SHMR_BUSY, 0, "");
	SAME(shmr_mutex_owner(&two), fixture.one);
}

TEST(SHMR_OWNER_DIED_is_a_mutex_acquired_from_a_dead_owner)
{
	make_mutex();
	FAILS(two, shmr_mutex_try_lock(&two, &one_is_gone),
	      SHMR_OWNER_DIED, 0, "");
	SAME(shmr_mutex_owner(&two), fixture.two);
}

TEST(SHMR_PARTY_DIED_is_a_party_that_is_gone)
{
	struct shmr_barrier first, second;
	struct shmr_arrival arrival;
	struct shmr_segment barrier;

	fixture_make(&fixture);
	barrier = fixture_segment(&fixture, "barrier", SHMR_KIND_BARRIER,
				  shmr_barrier_len(FIXTURE_PARTITIONS));
	OK(shmr_barrier_open(&first, &barrier, fixture.one, 2, NULL));
	OK(shmr_barrier_open(&second, &barrier, fixture.two, 2, NULL));
	RETURNS(shmr_barrier_try_wait(&first, NULL, &arrival), SHMR_BUSY);
	OK(shmr_barrier_try_wait(&second, NULL, &arrival));
	FAILS(second, shmr_barrier_wait(&second, NULL, &one_is_gone, &arrival),
	      SHMR_PARTY_DIED, fixture.one, "");
}

/* The index: it comes after the headers and the slots, and has one word for each bucket. */
static void *index_of(void)
{
	return (char *)shmr_mapping_base(&fixture.mapping) + 256 +
	       128 * FIXTURE_PARTITIONS;
}

TEST(SHMR_CONTENDED_is_a_registry_that_changes_in_every_attempt)
{
	struct shmr_segment segment, found;
	uint32_t link = 0;
	size_t bucket;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "moving", SHMR_KIND_RAW, 128);
	/* Each chain leads into another one, as if its rows were moved all the time. */
	for (bucket = 0; bucket < 2 * FIXTURE_SEGMENTS; bucket++)
		link |= word_at(index_of(), 4 * bucket);
	for (bucket = 0; bucket < 2 * FIXTURE_SEGMENTS; bucket++)
		set_word(index_of(), 4 * bucket, link);
	FAILS(fixture.registry,
	      shmr_registry_lookup(&fixture.registry, segment.id + 1, &found),
	      SHMR_CONTENDED, 0, "");
}

TEST(SHMR_REFORMATTED_is_a_handle_from_before_the_region_was_formatted_again)
{
	const struct shmr_request request = {
		.name = "old", .kind = SHMR_KIND_RAW, .len = 8,
	};
	struct shmr_segment segment, found;
	struct shmr_region region;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "old", SHMR_KIND_RAW, 8);
	OK(shmr_region_check(&fixture.region));
	CHECK(shmr_registry_is_current(&fixture.registry, &segment));
	OK(shmr_region_format(&region, shmr_mapping_base(&fixture.mapping),
			      shmr_mapping_len(&fixture.mapping)));
	FAILS(fixture.region, shmr_region_check(&fixture.region),
	      SHMR_REFORMATTED, 0, "");
	FAILS(fixture.first, shmr_attachment_beat(&fixture.first),
	      SHMR_REFORMATTED, 0, "");
	FAILS(fixture.registry,
	      shmr_registry_remove(&fixture.registry, &fixture.first, &segment),
	      SHMR_REFORMATTED, 0, "");
	FAILS(fixture.registry,
	      shmr_registry_open_or_create(&fixture.registry, &fixture.first,
					   &request, &found),
	      SHMR_REFORMATTED, 0, "");
	FAILS(fixture.registry,
	      shmr_registry_open(&fixture.registry, &request, &found),
	      SHMR_REFORMATTED, 0, "");
	FAILS(fixture.registry,
	      shmr_registry_reap(&fixture.registry, &fixture.first, NULL, NULL),
	      SHMR_REFORMATTED, 0, "");
	CHECK(!shmr_registry_is_current(&fixture.registry, &segment));
}

TEST(SHMR_EINVAL_names_the_argument)
{
	char record[8];
	size_t len;

	make_ring();
	FAILS(consumer, shmr_consumer_pop(&consumer, NULL, 8, &len),
	      SHMR_EINVAL, 0, "record");
	FAILS(consumer, shmr_consumer_pop(&consumer, record, 8, NULL),
	      SHMR_EINVAL, 0, "len");
	FAILS(producer, shmr_producer_commit(&producer, 1),
	      SHMR_EINVAL, 0, "reservation");
	OK(shmr_producer_close(&producer));
	FAILS(producer, shmr_producer_open(&producer, &ring, 0),
	      SHMR_EINVAL, 0, "incarnation");
	OK(shmr_consumer_close(&consumer));
	FAILS(consumer, shmr_consumer_open(&consumer, &ring, fixture.two, 2),
	      SHMR_EINVAL, 0, "on_restart");
	FAILS(fixture.registry,
	      shmr_registry_remove(&fixture.registry, NULL, &ring),
	      SHMR_EINVAL, 0, "attachment");
}

TEST(SHMR_CORRUPT_is_an_impossible_record_header_and_is_permanent)
{
	char record[8];
	size_t len;
	int again;

	make_ring();
	set_word(ring.base, 512, 0xfffffffd);
	for (again = 0; again < 2; again++)
		FAILS(consumer, shmr_consumer_pop(&consumer, record, 8, &len),
		      SHMR_CORRUPT, 0xfffffffd, "record header");
}

TEST(SHMR_CORRUPT_is_an_impossible_index_and_is_permanent)
{
	const char record[100] = { 0 };
	int again;

	make_ring();
	OK(shmr_producer_push(&producer, record, sizeof(record)));
	OK(shmr_producer_push(&producer, record, sizeof(record)));
	set_word(ring.base, 128, 0x80000000);
	for (again = 0; again < 2; again++)
		FAILS(producer, shmr_producer_push(&producer, record, 100),
		      SHMR_CORRUPT, 0x80000000, "head");
}

TEST(SHMR_TOO_LONG_is_a_record_longer_than_the_ring_allows)
{
	const char record[113] = { 0 };

	make_ring();
	SAME(shmr_producer_max_record(&producer), CAPACITY / 2 - 16);
	FAILS(producer, shmr_producer_push(&producer, record, 113),
	      SHMR_TOO_LONG, CAPACITY / 2 - 16, "");
}

TEST(SHMR_TOO_LONG_is_a_record_longer_than_the_buffer_and_the_record_stays)
{
	char record[8];
	size_t len;

	make_ring();
	OK(shmr_producer_push(&producer, "12345678", 8));
	FAILS(consumer, shmr_consumer_pop(&consumer, record, 7, &len),
	      SHMR_TOO_LONG, 8, "");
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	SAME(len, 8);
}

TEST(SHMR_TOO_SHORT_is_memory_too_short_for_a_region)
{
	static uint64_t memory[16];
	struct shmr_region region;

	FAILS(region, shmr_region_format(&region, memory, sizeof(memory)),
	      SHMR_TOO_SHORT, sizeof(memory), "");
}

TEST(SHMR_TOO_SHORT_is_a_segment_too_short_for_a_mutex)
{
	struct shmr_segment segment;
	struct shmr_mutex mutex;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "short", SHMR_KIND_MUTEX, 64);
	FAILS(mutex, shmr_mutex_open(&mutex, &segment, fixture.one, NULL),
	      SHMR_TOO_SHORT, 64, "");
}

/* The region's memory, with one word of its header changed. */
static void *with_header_word(size_t offset, uint32_t value)
{
	void *base;

	fixture_make(&fixture);
	base = shmr_mapping_base(&fixture.mapping);
	set_word(base, offset, value);
	return base;
}

TEST(SHMR_NOT_A_REGION_is_memory_with_another_first_word)
{
	void *base = with_header_word(0, 0x12345678);
	struct shmr_region region;

	FAILS(region, shmr_region_attach(&region, base, FIXTURE_LEN),
	      SHMR_NOT_A_REGION, 0x12345678, "");
}

TEST(SHMR_OTHER_LAYOUT_VERSION_is_a_region_of_another_layout_version)
{
	uint32_t version = shmr_layout_version() + 1;
	void *base = with_header_word(4, version);
	struct shmr_region region;

	FAILS(region, shmr_region_attach(&region, base, FIXTURE_LEN),
	      SHMR_OTHER_LAYOUT_VERSION, version, "");
}

TEST(SHMR_FEATURES_are_unknown_feature_bits)
{
	void *base = with_header_word(8, 0x10);
	struct shmr_region region;

	FAILS(region, shmr_region_attach(&region, base, FIXTURE_LEN),
	      SHMR_FEATURES, 0x10, "");
}

TEST(SHMR_LENGTH_is_a_region_that_is_not_mapped_completely)
{
	struct shmr_region region;

	fixture_make(&fixture);
	FAILS(region,
	      shmr_region_attach(&region, shmr_mapping_base(&fixture.mapping),
				 FIXTURE_LEN / 2),
	      SHMR_LENGTH, FIXTURE_LEN, "");
}

TEST(SHMR_LENGTH_is_a_segment_of_another_length_than_requested)
{
	struct shmr_segment segment;
	struct shmr_request request = {
		.name = "segment", .kind = SHMR_KIND_RAW, .len = 200,
	};

	fixture_make(&fixture);
	fixture_segment(&fixture, "segment", SHMR_KIND_RAW, 100);
	FAILS(fixture.registry,
	      shmr_registry_open(&fixture.registry, &request, &segment),
	      SHMR_LENGTH, 104, "");
}

TEST(SHMR_LENGTH_is_a_segment_whose_length_no_ring_has)
{
	struct shmr_producer own = { 0 };
	struct shmr_segment segment;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "segment", SHMR_KIND_RING, 1000);
	FAILS(own, shmr_producer_open(&own, &segment, fixture.one),
	      SHMR_LENGTH, 1000, "");
}

TEST(SHMR_NOT_FORMATTED_is_a_region_without_a_registry)
{
	static uint64_t memory[2048];
	struct shmr_registry registry;
	struct shmr_region region;

	OK(shmr_region_format(&region, memory, sizeof(memory)));
	FAILS(registry, shmr_registry_attach(&registry, &region),
	      SHMR_NOT_FORMATTED, 0, "");
}

TEST(SHMR_EXISTS_is_a_region_with_a_registry)
{
	struct shmr_registry registry;

	fixture_make(&fixture);
	FAILS(registry, shmr_registry_format(&registry, &fixture.region, NULL),
	      SHMR_EXISTS, 0, "");
}

TEST(SHMR_NOT_FOUND_is_an_identifier_without_a_segment)
{
	struct shmr_segment segment;

	fixture_make(&fixture);
	FAILS(fixture.registry,
	      shmr_registry_lookup(&fixture.registry, 4711, &segment),
	      SHMR_NOT_FOUND, 0, "");
}

TEST(SHMR_KIND_is_a_segment_of_another_kind)
{
	struct shmr_segment segment;
	struct shmr_lock_view view;
	struct shmr_request request = {
		.name = "segment", .kind = SHMR_KIND_RING, .len = 100,
	};

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "segment", SHMR_KIND_BARRIER, 100);
	RETURNS(shmr_lock_inspect(&segment, &view), SHMR_KIND);
	FAILS(fixture.registry,
	      shmr_registry_open(&fixture.registry, &request, &segment),
	      SHMR_KIND, SHMR_KIND_BARRIER, "");
}

TEST(SHMR_COLLISION_is_two_names_with_one_hash)
{
	/* A known collision of 64-bit FNV-1a. */
	static const char name[] = "8yn0iYCKYHlIj4-BwPqk";
	static const char other[] = "GReLUrM4wMqfg9yzV3KQ";
	struct shmr_segment segment;
	struct shmr_request request = {
		.name = other, .kind = SHMR_KIND_RAW, .len = 100,
	};

	SAME(shmr_id_from_name(name), shmr_id_from_name(other));
	fixture_make(&fixture);
	fixture_segment(&fixture, name, SHMR_KIND_RAW, 100);
	FAILS(fixture.registry,
	      shmr_registry_open_or_create(&fixture.registry, &fixture.first,
					   &request, &segment),
	      SHMR_COLLISION, 0, "");
}

TEST(SHMR_TABLE_FULL_is_a_registry_without_a_free_row)
{
	struct shmr_request request = { .kind = SHMR_KIND_RAW, .len = 128 };
	struct shmr_segment segment;

	fixture_make(&fixture);
	for (request.id = 1; request.id <= FIXTURE_SEGMENTS; request.id++)
		OK(shmr_registry_open_or_create(&fixture.registry, &fixture.first,
						&request, &segment));
	FAILS(fixture.registry,
	      shmr_registry_open_or_create(&fixture.registry, &fixture.first,
					   &request, &segment),
	      SHMR_TABLE_FULL, FIXTURE_SEGMENTS, "");
}

TEST(SHMR_OUT_OF_SPACE_is_a_segment_longer_than_the_free_space)
{
	struct shmr_segment segment;
	struct shmr_request request = {
		.id = 1, .kind = SHMR_KIND_RAW, .len = FIXTURE_LEN,
	};

	fixture_make(&fixture);
	FAILS(fixture.registry,
	      shmr_registry_open_or_create(&fixture.registry, &fixture.first,
					   &request, &segment),
	      SHMR_OUT_OF_SPACE, FIXTURE_LEN, "");
}

TEST(SHMR_STALE_is_a_segment_that_was_already_removed)
{
	struct shmr_segment segment;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "segment", SHMR_KIND_RAW, 100);
	OK(shmr_registry_remove(&fixture.registry, &fixture.first, &segment));
	FAILS(fixture.registry,
	      shmr_registry_remove(&fixture.registry, &fixture.first, &segment),
	      SHMR_STALE, 0, "");
	CHECK(!shmr_registry_is_current(&fixture.registry, &segment));
}

TEST(SHMR_NO_SUCH_PARTITION_is_a_number_without_a_slot)
{
	struct shmr_attachment attachment = { 0 };

	fixture_make(&fixture);
	FAILS(attachment,
	      shmr_partition_attach(&attachment, &fixture.registry, 9, NULL),
	      SHMR_NO_SUCH_PARTITION, FIXTURE_PARTITIONS, "");
}

TEST(SHMR_NO_SUCH_PARTITION_is_a_number_beyond_the_limit_of_a_bakery)
{
	struct shmr_bakery bakery;
	struct shmr_segment segment;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "bakery", SHMR_KIND_BAKERY,
				  shmr_bakery_len(0));
	FAILS(bakery, shmr_bakery_open(&bakery, &segment, 0x105, 4),
	      SHMR_NO_SUCH_PARTITION, 4, "");
}

TEST(SHMR_ATTACHED_is_a_number_whose_incarnation_has_not_left)
{
	struct shmr_attachment attachment = { 0 };

	fixture_make(&fixture);
	FAILS(attachment,
	      shmr_partition_attach(&attachment, &fixture.registry, 1, NULL),
	      SHMR_ATTACHED, fixture.one, "");
}

TEST(SHMR_EVICTED_is_an_incarnation_that_was_replaced_while_it_ran)
{
	struct shmr_attachment attachment = { 0 };

	fixture_make(&fixture);
	OK(shmr_partition_attach_after(&attachment, &fixture.registry, fixture.one,
				       NULL));
	SAME(shmr_attachment_incarnation(&attachment), NEXT(fixture.one));
	FAILS(fixture.first, shmr_attachment_beat(&fixture.first),
	      SHMR_EVICTED, 0, "");
}

TEST(SHMR_EVICTED_is_returned_to_an_evicted_partition_that_creates_removes_or_reaps)
{
	struct shmr_request request = {
		.name = "new", .kind = SHMR_KIND_RAW, .len = 100,
	};
	struct shmr_attachment attachment = { 0 };
	struct shmr_segment segment;
	size_t before;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "segment", SHMR_KIND_RAW, 100);
	before = shmr_registry_free_bytes(&fixture.registry);
	OK(shmr_partition_attach_after(&attachment, &fixture.registry, fixture.one,
				       NULL));
	FAILS(fixture.registry,
	      shmr_registry_open_or_create(&fixture.registry, &fixture.first,
					   &request, &segment),
	      SHMR_EVICTED, 0, "");
	FAILS(fixture.registry,
	      shmr_registry_remove(&fixture.registry, &fixture.first, &segment),
	      SHMR_EVICTED, 0, "");
	FAILS(fixture.registry,
	      shmr_registry_reap(&fixture.registry, &fixture.first, NULL, NULL),
	      SHMR_EVICTED, 0, "");
	SAME(shmr_registry_free_bytes(&fixture.registry), before);
	CHECK(shmr_registry_is_current(&fixture.registry, &segment));
}

TEST(SHMR_CLAIMED_is_an_end_that_another_partition_has)
{
	struct shmr_producer intruder = { 0 };

	make_ring();
	FAILS(intruder, shmr_producer_open(&intruder, &ring, fixture.two),
	      SHMR_CLAIMED, fixture.one, "");
	OK(shmr_producer_take_over(&intruder, &ring, fixture.two));
}

TEST(SHMR_EVICTED_is_also_an_end_of_a_ring_that_was_taken_over)
{
	struct shmr_producer intruder = { 0 };
	struct shmr_consumer thief = { 0 };

	make_ring();
	OK(shmr_producer_take_over(&intruder, &ring, fixture.two));
	FAILS(producer, shmr_producer_push(&producer, "late", 4),
	      SHMR_EVICTED, 0, "");
	FAILS(producer, shmr_producer_notify(&producer, NULL),
	      SHMR_EVICTED, 0, "");
	OK(shmr_producer_push(&intruder, "new", 3));
	OK(shmr_consumer_take_over(&thief, &ring, fixture.one, SHMR_KEEP));
	FAILS(consumer, shmr_consumer_release(&consumer), SHMR_EVICTED, 0, "");
	OK(shmr_consumer_wait(&consumer, NULL));
}

TEST(SHMR_POISONED_is_a_mutex_that_was_released_without_a_repair)
{
	make_mutex();
	RETURNS(shmr_mutex_try_lock(&two, &one_is_gone), SHMR_OWNER_DIED);
	OK(shmr_mutex_unlock(&two));
	FAILS(two, shmr_mutex_try_lock(&two, NULL), SHMR_POISONED, 0, "");
}

TEST(SHMR_NOT_HELD_names_the_holder)
{
	make_mutex();
	FAILS(two, shmr_mutex_unlock(&two), SHMR_NOT_HELD, fixture.one, "");
	OK(shmr_mutex_unlock(&one));
	FAILS(two, shmr_mutex_unlock(&two), SHMR_NOT_HELD, 0, "");
}

TEST(SHMR_OVERFLOW_is_more_permits_than_there_is_room_for)
{
	struct shmr_semaphore semaphore;
	struct shmr_segment segment;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "permits", SHMR_KIND_SEMAPHORE,
				  shmr_semaphore_len(4));
	OK(shmr_semaphore_open(&semaphore, &segment, fixture.one, NULL));
	OK(shmr_semaphore_add(&semaphore, 1));
	FAILS(semaphore, shmr_semaphore_add(&semaphore, 4),
	      SHMR_OVERFLOW, 3, "");
	SAME(shmr_semaphore_available(&semaphore), 1);
}

TEST(SHMR_SYSTEM_has_the_errno_of_the_kernel)
{
	struct shmr_mapping mapping = { 0 };

	FAILS(mapping, shmr_map_file(&mapping, "/nonexistent/region", 0),
	      SHMR_SYSTEM, ENOENT, "");
	FAILS(mapping, shmr_map_fd(&mapping, 1 << 20), SHMR_SYSTEM, EBADF, "");
	RETURNS(shmr_unlink_shm("/shmr-does-not-exist"), SHMR_SYSTEM);
}

TEST(SHMR_NO_RMW_is_a_registry_handle_without_compare_and_swap)
{
	struct shmr_request request = {
		.name = "segment", .kind = SHMR_KIND_RAW, .len = 100,
	};
	struct shmr_segment segment;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "segment", SHMR_KIND_RAW, 100);
	OK(shmr_registry_without_rmw(&fixture.registry));
	FAILS(fixture.registry,
	      shmr_registry_remove(&fixture.registry, &fixture.first, &segment),
	      SHMR_NO_RMW, 0, "");
	FAILS(fixture.registry,
	      shmr_registry_reap(&fixture.registry, &fixture.first, &one_is_gone, NULL),
	      SHMR_NO_RMW, 0, "");
	OK(shmr_registry_open_or_create(&fixture.registry, &fixture.first, &request,
					&segment));
	request.name = "another";
	FAILS(fixture.registry,
	      shmr_registry_open_or_create(&fixture.registry, &fixture.first,
					   &request, &segment),
	      SHMR_NO_RMW, 0, "");
}

TEST(SHMR_OPEN_is_a_handle_that_was_not_closed_and_the_handle_is_unchanged)
{
	char record[8];
	size_t len;

	make_ring();
	OK(shmr_producer_push(&producer, "a", 1));
	FAILS(producer, shmr_producer_open(&producer, &ring, fixture.one),
	      SHMR_OPEN, 0, "");
	FAILS(producer, shmr_producer_take_over(&producer, &ring, fixture.two),
	      SHMR_OPEN, 0, "");
	FAILS(consumer,
	      shmr_consumer_open(&consumer, &ring, fixture.two, SHMR_KEEP),
	      SHMR_OPEN, 0, "");
	FAILS(fixture.first,
	      shmr_partition_attach(&fixture.first, &fixture.registry, 3, NULL),
	      SHMR_OPEN, 0, "");
	FAILS(fixture.mapping, shmr_map_memfd(&fixture.mapping, "other", 4096),
	      SHMR_OPEN, 0, "");
	OK(shmr_attachment_beat(&fixture.first));
	OK(shmr_producer_push(&producer, "b", 1));
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	SAME(record[0], 'b');
	OK(shmr_producer_close(&producer));
	OK(shmr_producer_open(&producer, &ring, fixture.one));
}

/* A channel in one process: `here` is the server's session, `there` the client's. */
static struct shmr_session here, there;
static struct shmr_client client;
static struct shmr_server server;

static void join(struct shmr_session *session, uint8_t partition,
		 uint32_t earlier)
{
	const struct shmr_session_options options = {
		.partition = partition, .take_over = earlier,
	};
	struct shmr_platform platform = shmr_platform_same_kernel();

	memset(session, 0, sizeof(*session));
	OK(shmr_session_join(session, shmr_mapping_base(&fixture.mapping),
			     FIXTURE_LEN, &options, &platform));
}

static void make_channel(void)
{
	fixture_make(&fixture);
	join(&here, 3, 0);
	join(&there, 4, 0);
	memset(&server, 0, sizeof(server));
	memset(&client, 0, sizeof(client));
	OK(shmr_server_open(&server, &here, "channel", NULL));
	OK(shmr_client_open(&client, &there, "channel", NULL));
}

#define LONG ((uint64_t)30000000000)
#define SHORT ((uint64_t)1000000)

static char text[64];
static size_t len;

TEST(SHMR_TIMED_OUT_is_a_server_that_does_not_answer_in_time)
{
	make_channel();
	FAILS(client,
	      shmr_client_call(&client, "?", 1, text, 64, &len, SHORT),
	      SHMR_TIMED_OUT, 0, "");
	FAILS(client, shmr_client_recv(&client, text, 64, &len, 0),
	      SHMR_TIMED_OUT, 0, "");
}

TEST(SHMR_RESTARTED_is_returned_once_after_the_server_restarted)
{
	struct shmr_session next;
	struct shmr_server other = { 0 };
	struct shmr_call call;

	make_channel();
	OK(shmr_client_send(&client, "a", 1, LONG));
	join(&next, 3, shmr_session_incarnation(&here));
	OK(shmr_server_open(&other, &next, "channel", NULL));
	FAILS(client, shmr_client_send(&client, "b", 1, LONG),
	      SHMR_RESTARTED, 0, "");
	OK(shmr_client_send(&client, "c", 1, LONG));
	OK(shmr_server_recv(&other, text, 64, &len, &call, LONG));
	CHECK(len == 1 && text[0] == 'c' && call.number == 0);
	SAME(shmr_server_discarded(&other), 1);
}

TEST(SHMR_ANSWER_LOST_is_a_call_to_a_server_that_was_restarted)
{
	struct shmr_session next;
	struct shmr_server other = { 0 };
	struct shmr_call call;

	make_channel();
	OK(shmr_client_start_call(&client, "?", 1, &call, LONG));
	OK(shmr_server_recv(&server, text, 64, &len, &call, LONG));
	join(&next, 3, shmr_session_incarnation(&here));
	OK(shmr_server_open(&other, &next, "channel", NULL));
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 64, &len, LONG),
	      SHMR_ANSWER_LOST, 0, "");
	SAME(call.number, 0);
	OK(shmr_client_send(&client, "c", 1, LONG));
}

TEST(SHMR_PEER_GONE_is_a_server_that_left_before_it_answered)
{
	struct shmr_call call;

	make_channel();
	OK(shmr_client_start_call(&client, "?", 1, &call, LONG));
	CHECK(!shmr_client_server_is_gone(&client));
	OK(shmr_server_close(&server));
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 64, &len, LONG),
	      SHMR_PEER_GONE, 0, "");
	CHECK(shmr_client_server_is_gone(&client));
	SAME(call.number, 0);
}

TEST(SHMR_CALLER_RESTARTED_is_a_call_of_a_client_that_was_restarted)
{
	struct shmr_session next;
	struct shmr_client other = { 0 };
	struct shmr_call call, next_call;

	make_channel();
	OK(shmr_client_start_call(&client, "?", 1, &call, LONG));
	OK(shmr_server_recv(&server, text, 64, &len, &call, LONG));
	join(&next, 4, shmr_session_incarnation(&there));
	OK(shmr_client_open(&other, &next, "channel", NULL));
	OK(shmr_client_send(&other, "new", 3, LONG));
	RETURNS(shmr_server_recv(&server, text, 64, &len, &next_call, LONG),
		SHMR_RESTARTED);
	FAILS(server, shmr_server_answer(&server, &call, "!", 1, LONG),
	      SHMR_CALLER_RESTARTED, 0, "");
	FAILS(server, shmr_server_answer(&server, &call, "!", 1, LONG),
	      SHMR_EINVAL, 0, "call");
	OK(shmr_server_recv(&server, text, 64, &len, &next_call, LONG));
	SAME(len, 3);
}

TEST(SHMR_MESSAGE_FIRST_is_a_message_before_the_answer)
{
	struct shmr_call call, received;

	make_channel();
	OK(shmr_client_start_call(&client, "?", 1, &call, LONG));
	OK(shmr_server_recv(&server, text, 64, &len, &received, LONG));
	OK(shmr_server_send(&server, "news", 4, LONG));
	OK(shmr_server_answer(&server, &received, "!", 1, LONG));
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 64, &len, LONG),
	      SHMR_MESSAGE_FIRST, 0, "");
	OK(shmr_client_recv(&client, text, 64, &len, LONG));
	SAME(len, 4);
	OK(shmr_client_finish_call(&client, &call, text, 64, &len, LONG));
	CHECK(len == 1 && text[0] == '!');
}

TEST(SHMR_BUFFER_TOO_SHORT_keeps_a_command_and_loses_an_answer)
{
	struct shmr_call call, received;

	make_channel();
	OK(shmr_client_start_call(&client, "12345678", 8, &call, LONG));
	FAILS(server, shmr_server_recv(&server, text, 7, &len, &received, LONG),
	      SHMR_BUFFER_TOO_SHORT, 8, "");
	OK(shmr_server_recv(&server, text, 8, &len, &received, LONG));
	OK(shmr_server_answer(&server, &received, text, 8, LONG));
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 7, &len, LONG),
	      SHMR_BUFFER_TOO_SHORT, 8, "");
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 8, &len, LONG),
	      SHMR_EINVAL, 0, "call");
}

TEST(SHMR_TOO_LONG_is_a_message_longer_than_the_channel_allows)
{
	static const char message[16384];
	size_t longest;

	make_channel();
	longest = shmr_client_max_len(&client);
	FAILS(client, shmr_client_send(&client, message, longest + 1, LONG),
	      SHMR_TOO_LONG, longest, "");
	OK(shmr_client_send(&client, message, longest, LONG));
}

/* Sends a message in the format of docs/layout.md. */
static void send_as(struct shmr_sender *sender, unsigned char call)
{
	const unsigned char message[] = { 1, 0, 0, 0, call, 0, 0, 0, '!' };

	OK(shmr_sender_send(sender, message, sizeof(message), LONG));
}

TEST(SHMR_BAD_MESSAGE_is_a_server_that_breaks_the_rules_of_calls)
{
	static struct shmr_sender hostile;
	struct shmr_call call;

	make_channel();
	OK(shmr_server_close(&server));
	memset(&hostile, 0, sizeof(hostile));
	OK(shmr_sender_open(&hostile, &here, "channel.result", 16384));
	OK(shmr_client_start_call(&client, "?", 1, &call, LONG));
	SAME(call.number, 1);
	send_as(&hostile, 1);
	send_as(&hostile, 1);
	send_as(&hostile, 77);
	OK(shmr_sender_send(&hostile, "short", 5, LONG));
	send_as(&hostile, 2);
	OK(shmr_client_finish_call(&client, &call, text, 64, &len, LONG));
	OK(shmr_client_start_call(&client, "?", 1, &call, LONG));
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 64, &len, LONG),
	      SHMR_BAD_MESSAGE, 1, "answered twice");
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 64, &len, LONG),
	      SHMR_BAD_MESSAGE, 77, "never called");
	FAILS(client,
	      shmr_client_finish_call(&client, &call, text, 64, &len, LONG),
	      SHMR_BAD_MESSAGE, 5, "not a message");
	OK(shmr_client_finish_call(&client, &call, text, 64, &len, LONG));
	CHECK(len == 1 && text[0] == '!');
}

TEST(SHMR_CLAIMED_is_a_second_client_of_a_channel)
{
	struct shmr_client other = { 0 };

	make_channel();
	FAILS(other, shmr_client_open(&other, &here, "channel", NULL),
	      SHMR_CLAIMED, shmr_session_incarnation(&there), "");
}

TEST(SHMR_LENGTH_is_a_channel_of_another_capacity)
{
	const struct shmr_channel_options options = { .result_capacity = 1024 };
	struct shmr_client other = { 0 };

	make_channel();
	OK(shmr_client_close(&client));
	FAILS(other, shmr_client_open(&other, &there, "channel", &options),
	      SHMR_LENGTH, shmr_ring_len(16384), "");
}

TEST(SHMR_EVICTED_is_a_session_whose_partition_was_replaced_while_it_ran)
{
	struct shmr_session next;
	struct shmr_client other = { 0 };

	make_channel();
	OK(shmr_session_check(&there));
	join(&next, 4, shmr_session_incarnation(&there));
	FAILS(there, shmr_session_beat(&there), SHMR_EVICTED, 0, "");
	FAILS(there, shmr_session_check(&there), SHMR_EVICTED, 0, "");
	FAILS(there, shmr_session_reap(&there, NULL), SHMR_EVICTED, 0, "");
	OK(shmr_client_open(&other, &next, "channel", NULL));
	FAILS(client, shmr_client_send(&client, "late", 4, LONG),
	      SHMR_EVICTED, 0, "");
}

TEST(SHMR_REFORMATTED_is_a_session_from_before_the_region_was_created_again)
{
	const struct shmr_session_options options = { .partition = 1 };
	struct shmr_platform platform = shmr_platform_same_kernel();
	struct shmr_session next = { 0 };

	make_channel();
	OK(shmr_session_create(&next, shmr_mapping_base(&fixture.mapping),
			       FIXTURE_LEN, &options, &platform));
	FAILS(there, shmr_session_beat(&there), SHMR_REFORMATTED, 0, "");
	FAILS(client, shmr_client_send(&client, "late", 4, LONG),
	      SHMR_REFORMATTED, 0, "");
	FAILS(client, shmr_client_recv(&client, text, 64, &len, LONG),
	      SHMR_REFORMATTED, 0, "");
	OK(shmr_client_close(&client));
	OK(shmr_session_leave(&there));
	OK(shmr_session_check(&next));
}

TEST(SHMR_ATTACHED_is_a_session_of_a_partition_that_is_alive)
{
	const struct shmr_session_options options = { .partition = 4 };
	struct shmr_platform platform = shmr_platform_same_kernel();
	struct shmr_session other = { 0 };

	make_channel();
	/* Both sessions are of this process, which has not ended. */
	FAILS(other,
	      shmr_session_join(&other, shmr_mapping_base(&fixture.mapping),
				FIXTURE_LEN, &options, &platform),
	      SHMR_ATTACHED, shmr_session_incarnation(&there), "");
	CHECK(!shmr_session_is_early(SHMR_ATTACHED));
}

TEST(SHMR_NOT_A_REGION_is_a_session_that_joins_too_early)
{
	static uint64_t memory[8192];
	const struct shmr_session_options options = { .partition = 1 };
	struct shmr_platform platform = shmr_platform_same_kernel();
	struct shmr_session session = { 0 };

	memset(memory, 0, sizeof(memory));
	FAILS(session,
	      shmr_session_join(&session, memory, sizeof(memory), &options,
				&platform),
	      SHMR_NOT_A_REGION, 0, "");
	CHECK(shmr_session_is_early(SHMR_NOT_A_REGION));
	OK(shmr_session_create(&session, memory, sizeof(memory), &options,
			       &platform));
	OK(shmr_session_leave(&session));
}

TEST(SHMR_NO_RMW_is_a_session_without_compare_and_swap)
{
	struct shmr_session_options options = {
		.partition = 5, .without_rmw = true,
	};
	struct shmr_platform platform = shmr_platform_same_kernel();
	struct shmr_session session = { 0 };
	struct shmr_client other = { 0 };

	make_channel();
	OK(shmr_session_join(&session, shmr_mapping_base(&fixture.mapping),
			     FIXTURE_LEN, &options, &platform));
	FAILS(other, shmr_client_open(&other, &session, "new", NULL),
	      SHMR_NO_RMW, 0, "");
	OK(shmr_client_close(&client));
	OK(shmr_client_open(&other, &session, "channel", NULL));
}

TEST(SHMR_EINVAL_names_the_invalid_argument_of_a_session_or_channel)
{
	struct shmr_session_options options = { .partition = 5 };
	struct shmr_platform platform = shmr_platform_same_kernel();
	struct shmr_channel_options odd = { .command_capacity = 5000 };
	void *base;

	make_channel();
	base = shmr_mapping_base(&fixture.mapping);
	OK(shmr_client_close(&client));
	FAILS(client,
	      shmr_client_open(&client, &there, "a name of twenty-five byt", NULL),
	      SHMR_EINVAL, 0, "name");
	OK(shmr_client_open(&client, &there, "a name of twenty-four by", NULL));
	OK(shmr_client_close(&client));
	FAILS(client, shmr_client_open(&client, &there, "", NULL),
	      SHMR_EINVAL, 0, "name");
	FAILS(client, shmr_client_open(&client, &there, "odd", &odd),
	      SHMR_EINVAL, 0, "capacity");
	odd.command_capacity = 32;
	FAILS(client, shmr_client_open(&client, &there, "odd", &odd),
	      SHMR_EINVAL, 0, "capacity");
	FAILS(client, shmr_client_open(&client, NULL, "channel", NULL),
	      SHMR_EINVAL, 0, "session");
	OK(shmr_session_leave(&there));
	platform.now = NULL;
	FAILS(there,
	      shmr_session_join(&there, base, FIXTURE_LEN, &options, &platform),
	      SHMR_EINVAL, 0, "platform");
	platform = shmr_platform_same_kernel();
	options.take_over = 0x106;
	FAILS(there,
	      shmr_session_join(&there, base, FIXTURE_LEN, &options, &platform),
	      SHMR_EINVAL, 0, "incarnation");
	FAILS(there,
	      shmr_session_join(&there, base, FIXTURE_LEN, NULL, &platform),
	      SHMR_EINVAL, 0, "options");
}

TEST(SHMR_OPEN_is_a_session_with_open_handles)
{
	const struct shmr_session_options options = { .partition = 5 };
	struct shmr_platform platform = shmr_platform_same_kernel();
	struct shmr_sender sender = { 0 };

	make_channel();
	OK(shmr_sender_open(&sender, &there, "single", 1024));
	FAILS(there, shmr_session_leave(&there), SHMR_OPEN, 2, "");
	FAILS(there,
	      shmr_session_join(&there, shmr_mapping_base(&fixture.mapping),
				FIXTURE_LEN, &options, &platform),
	      SHMR_OPEN, 0, "");
	FAILS(client, shmr_client_open(&client, &there, "other", NULL),
	      SHMR_OPEN, 0, "");
	OK(shmr_client_send(&client, "a", 1, LONG));
	OK(shmr_sender_close(&sender));
	FAILS(there, shmr_session_leave(&there), SHMR_OPEN, 1, "");
	OK(shmr_client_close(&client));
	OK(shmr_session_leave(&there));
	RETURNS(shmr_session_leave(&there), SHMR_EINVAL);
}

TEST(SHMR_OK_and_every_other_status_has_its_own_text)
{
	const char *unknown = shmr_strerror(1000);
	int status, other;

	for (status = SHMR_BAD_MESSAGE; status <= SHMR_ANSWER_LOST; status++) {
		CHECK(strcmp(shmr_strerror(status), unknown) != 0);
		for (other = SHMR_BAD_MESSAGE; other < status; other++)
			CHECK(strcmp(shmr_strerror(status),
				     shmr_strerror(other)) != 0);
	}
	SAME(strcmp(shmr_strerror(SHMR_BAD_MESSAGE - 1), unknown), 0);
	SAME(strcmp(shmr_strerror(SHMR_ANSWER_LOST + 1), unknown), 0);
}
