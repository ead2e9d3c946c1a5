/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Memory, the table in it, and who is there. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place.h"

static struct place place;

TEST(the_header_is_of_the_librarys_interface)
{
	CHECK(shmr_header_matches());
	SAME(shmr_abi_version(), SHMR_ABI_VERSION);
}

TEST(one_identifier_is_one_segment_whoever_asks)
{
	const struct shmr_request request = {
		.name = "shared", .kind = SHMR_KIND_RAW, .len = 300,
	};
	struct shmr_segment first, second, third;
	struct shmr_registry registry;
	struct shmr_region region;
	unsigned int at;

	place_make(&place);
	first = place_segment(&place, "shared", SHMR_KIND_RAW, 300);
	OK(shmr_region_attach(&region, shmr_mapping_base(&place.mapping),
			      shmr_mapping_len(&place.mapping)));
	OK(shmr_registry_attach(&registry, &region));
	OK(shmr_registry_open_or_create(&registry, &place.second, &request,
					&second));
	OK(shmr_registry_open(&registry, &request, &third));
	CHECK(first.base == second.base && second.base == third.base);
	SAME(third.len, 304);
	SAME(third.id, shmr_id_from_name("shared"));
	SAME(strcmp(third.name, "shared"), 0);
	for (at = 0; at < 300; at++)
		SAME(((char *)third.base)[at], 0);
}

TEST(a_segment_is_aligned_as_asked)
{
	const struct shmr_request request = {
		.id = 7, .kind = SHMR_KIND_APPLICATION, .len = 10,
		.align = 4096,
	};
	struct shmr_segment segment;

	place_make(&place);
	OK(shmr_registry_open_or_create(&place.registry, &place.first, &request,
					&segment));
	SAME((uintptr_t)segment.base % 4096, 0);
	SAME(segment.kind, SHMR_KIND_APPLICATION);
	SAME(segment.name[0], 0);
}

TEST(a_listing_names_every_segment_once)
{
	struct shmr_segment segment;
	unsigned int seen = 0, count = 0;
	size_t cursor = 0;
	char name[8];
	int number;

	place_make(&place);
	for (number = 0; number < 10; number++) {
		snprintf(name, sizeof(name), "s%d", number);
		place_segment(&place, name, SHMR_KIND_RAW, 1);
	}
	while (shmr_registry_next(&place.registry, &cursor, &segment) ==
	       SHMR_OK) {
		seen |= 1u << (segment.name[1] - '0');
		count++;
	}
	SAME(place.registry.error.status, SHMR_EMPTY);
	SAME(seen, 0x3ff);
	SAME(count, 10);
}

/* Where the bytes of a number lie in the tables. */
static size_t offset_of(uint64_t number)
{
	const char *base = shmr_mapping_base(&place.mapping);
	size_t at = 0;

	while (memcmp(base + at, &number, sizeof(number)) != 0)
		at += 4;
	return at;
}

TEST(a_listing_says_of_a_broken_row_once_that_it_is_and_goes_on_after_it)
{
	struct shmr_segment segments[6], found;
	size_t cursor = 0, row;
	char name[8];
	int number;

	place_make(&place);
	for (number = 0; number < 6; number++) {
		snprintf(name, sizeof(name), "s%d", number);
		segments[number] = place_segment(&place, name, SHMR_KIND_RAW,
						 1000 + 8 * (size_t)number);
	}
	/* Free rows come before the broken one, and between it and the last. */
	for (number = 0; number < 5; number++)
		if (number != 3)
			OK(shmr_registry_remove(&place.registry, &place.first,
						&segments[number]));
	row = offset_of(segments[3].id);
	for (number = 0; word_at(shmr_mapping_base(&place.mapping),
				 row + 4 * (size_t)number) != 1024; number++)
		CHECK(number < 16);
	set_word(shmr_mapping_base(&place.mapping), row + 4 * (size_t)number,
		 0xffffffff);
	FAILS(place.registry,
	      shmr_registry_next(&place.registry, &cursor, &found),
	      SHMR_CORRUPT, 0xffffffff, "row length");
	OK(shmr_registry_next(&place.registry, &cursor, &found));
	SAME(found.id, segments[5].id);
	SAYS(shmr_registry_next(&place.registry, &cursor, &found), SHMR_EMPTY);
	SAYS(shmr_registry_next(&place.registry, &cursor, &found), SHMR_EMPTY);
}

TEST(a_segment_that_is_removed_gives_its_bytes_back)
{
	struct shmr_segment segment;
	size_t before;

	place_make(&place);
	before = shmr_registry_free_len(&place.registry);
	segment = place_segment(&place, "short", SHMR_KIND_RAW, 129);
	SAME(shmr_registry_free_len(&place.registry), before - 256);
	CHECK(shmr_registry_is_current(&place.registry, &segment));
	OK(shmr_registry_remove(&place.registry, &place.first, &segment));
	SAME(shmr_registry_free_len(&place.registry), before);
}

TEST(a_registry_says_its_sizes)
{
	struct shmr_geometry geometry;

	place_make(&place);
	OK(shmr_registry_geometry(&place.registry, &geometry));
	SAME(geometry.segments, PLACE_SEGMENTS);
	SAME(geometry.partitions, PLACE_PARTITIONS);
	SAME(geometry.block, 128);
}

TEST(a_geometry_out_of_range_is_refused)
{
	static uint64_t memory[8192];
	const struct shmr_geometry geometry = { 3, 1, 128 };
	struct shmr_registry registry;
	struct shmr_region region;

	OK(shmr_region_format(&region, memory, sizeof(memory)));
	FAILS(registry, shmr_registry_format(&registry, &region, &geometry),
	      SHMR_EINVAL, 0, "geometry");
	OK(shmr_registry_format(&registry, &region, NULL));
}

TEST(a_partition_that_left_is_followed_by_its_next_incarnation)
{
	struct shmr_partition partition;
	struct shmr_attachment again = { 0 };

	place_make(&place);
	OK(shmr_partition_look(&place.registry, 2, &partition));
	SAME(partition.incarnation, place.two);
	CHECK(partition.attached);
	SAME(partition.process.number, getpid());
	OK(shmr_attachment_leave(&place.second));
	OK(shmr_partition_look(&place.registry, 2, &partition));
	CHECK(!partition.attached);
	OK(shmr_partition_attach(&again, &place.registry, 2, NULL));
	SAME(shmr_attachment_incarnation(&again), NEXT(place.two));
	OK(shmr_partition_look(&place.registry, 5, &partition));
	SAME(partition.incarnation, 0);
	SAYS(shmr_partition_look(&place.registry, 9, &partition),
	     SHMR_NO_SUCH_PARTITION);
}

TEST(a_slot_with_another_partitions_incarnation_is_corrupt)
{
	struct shmr_partition partition;
	char *slots;

	place_make(&place);
	slots = (char *)shmr_mapping_base(&place.mapping) + 256;
	set_word(slots + 128 * 2, 0, 0x105);
	FAILS(place.registry,
	      shmr_partition_look(&place.registry, 3, &partition),
	      SHMR_CORRUPT, 0x105, "partition incarnation");
}

TEST(a_region_is_the_same_in_a_file_and_through_a_descriptor)
{
	struct shmr_mapping file = { 0 }, again = { 0 }, same = { 0 };
	struct shmr_region region;
	char path[64];

	snprintf(path, sizeof(path), "/tmp/shmr-c-test-%d", (int)getpid());
	OK(shmr_map_file(&file, path, 65536));
	OK(shmr_region_format(&region, shmr_mapping_base(&file), 65536));
	OK(shmr_map_file(&again, path, 0));
	unlink(path);
	OK(shmr_map_fd(&same, shmr_mapping_fd(&again)));
	OK(shmr_region_attach(&region, shmr_mapping_base(&same),
			      shmr_mapping_len(&same)));
	SAME(shmr_region_generation(&region), 1);
	SAME(shmr_mapping_len(&same), 65536);
	OK(shmr_unmap(&file));
	OK(shmr_unmap(&again));
	OK(shmr_unmap(&same));
	CHECK(shmr_mapping_base(&same) == NULL);
	SAME(shmr_mapping_len(&same), 0);
	SAME(shmr_mapping_fd(&same), -1);
}

TEST(a_file_that_was_removed_replaced_or_cut_under_a_mapping_is_reported)
{
	struct shmr_mapping mapping = { 0 }, other = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/tmp/shmr-c-check-%d", (int)getpid());
	OK(shmr_map_file(&mapping, path, 65536));
	FAILS(other, shmr_map_file(&other, path, 4096), SHMR_SYSTEM, EEXIST,
	      "");
	OK(shmr_mapping_check(&mapping));
	unlink(path);
	FAILS(mapping, shmr_mapping_check(&mapping), SHMR_NOT_FOUND, 0, "");
	OK(shmr_map_file(&other, path, 65536));
	FAILS(mapping, shmr_mapping_check(&mapping), SHMR_STALE, 0, "");
	CHECK(truncate(path, 4096) == 0);
	FAILS(other, shmr_mapping_check(&other), SHMR_TOO_SHORT, 4096, "");
	unlink(path);
	OK(shmr_unmap(&mapping));
	OK(shmr_unmap(&other));
	SAYS(shmr_mapping_check(&other), SHMR_EINVAL);
	SAYS(shmr_mapping_inherit(&other), SHMR_EINVAL);
}

/* What a child that is forked becomes which pushes and then leaves. */
static int child_that_pushes(struct shmr_producer *producer,
			     struct shmr_attachment *attachment)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		/* A sanitizer's handler would end it in another way. */
		signal(SIGSEGV, SIG_DFL);
		shmr_producer_push(producer, "child", 5);
		shmr_attachment_leave(attachment);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

TEST(a_forked_child_neither_pushes_nor_leaves_in_its_parents_name)
{
	struct shmr_partition partition;
	struct shmr_producer producer = { 0 };
	struct shmr_consumer consumer = { 0 };
	struct shmr_attachment attachment = { 0 };
	struct shmr_registry registry;
	struct shmr_segment segment;
	struct shmr_mapping mapping = { 0 };
	struct shmr_region region;
	char record[8];
	size_t len;
	int status;

	OK(shmr_map_memfd(&mapping, "fork", PLACE_LEN));
	OK(shmr_region_format(&region, shmr_mapping_base(&mapping),
			      PLACE_LEN));
	OK(shmr_registry_format(&registry, &region, NULL));
	OK(shmr_partition_attach(&attachment, &registry, 1, NULL));
	OK(shmr_segment_at(&segment,
			   (char *)shmr_mapping_base(&mapping) + PLACE_LEN / 2,
			   shmr_ring_len(256)));
	OK(shmr_producer_open(&producer, &segment, 0x101));
	OK(shmr_consumer_open(&consumer, &segment, 0x102, SHMR_KEEP));

	status = child_that_pushes(&producer, &attachment);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	OK(shmr_partition_look(&registry, 1, &partition));
	CHECK(partition.attached);
	SAYS(shmr_consumer_pop(&consumer, record, 8, &len), SHMR_EMPTY);
	OK(shmr_producer_push(&producer, "parent", 6));
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	SAME(len, 6);

	/* And does both where it is told to inherit the memory. */
	OK(shmr_mapping_inherit(&mapping));
	status = child_that_pushes(&producer, &attachment);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	OK(shmr_partition_look(&registry, 1, &partition));
	CHECK(!partition.attached);
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	SAME(len, 5);
	OK(shmr_unmap(&mapping));
}

TEST(shared_memory_has_a_name_until_it_is_unlinked)
{
	struct shmr_mapping first = { 0 }, second = { 0 };
	char name[64];

	snprintf(name, sizeof(name), "/shmr-c-test-%d", (int)getpid());
	OK(shmr_map_shm(&first, name, 4096));
	OK(shmr_map_shm(&second, name, 0));
	*(char *)shmr_mapping_base(&first) = 'a';
	SAME(*(char *)shmr_mapping_base(&second), 'a');
	OK(shmr_unlink_shm(name));
	OK(shmr_unmap(&second));
	FAILS(second, shmr_map_shm(&second, name, 0), SHMR_SYSTEM, 2, "");
	OK(shmr_unmap(&first));
}

TEST(a_mapping_is_had_once_more_at_an_address_of_the_programs_choice)
{
	const size_t address = (size_t)0x5f0000000000;
	struct shmr_mapping mapping = { 0 }, fixed = { 0 }, none = { 0 };

	OK(shmr_map_memfd(&mapping, "fixed", 8192));
	OK(shmr_map_fixed(&fixed, &mapping, address));
	SAME(shmr_mapping_base(&fixed), address);
	*(char *)shmr_mapping_base(&mapping) = 'a';
	SAME(*(char *)shmr_mapping_base(&fixed), 'a');
	SAYS(shmr_map_fixed(&none, &mapping, address), SHMR_SYSTEM);
	OK(shmr_unmap(&fixed));
	OK(shmr_unmap(&mapping));
}

TEST(a_handle_that_failed_to_open_is_not_open)
{
	place_make(&place);
	SAYS(shmr_registry_format(&place.registry, &place.region, NULL),
	     SHMR_EXISTS);
	SAME(shmr_registry_free_len(&place.registry), 0);
	OK(shmr_registry_attach(&place.registry, &place.region));
	CHECK(shmr_registry_free_len(&place.registry) != 0);
}

TEST(a_copy_of_an_open_handle_is_not_open_and_neither_is_one_that_was_closed)
{
	static struct shmr_attachment copy;
	static struct shmr_registry moved;

	place_make(&place);
	memcpy(&copy, &place.first, sizeof(copy));
	memcpy(&moved, &place.registry, sizeof(moved));
	SAYS(shmr_attachment_beat(&copy), SHMR_EINVAL);
	SAYS(shmr_attachment_leave(&copy), SHMR_EINVAL);
	SAME(shmr_attachment_incarnation(&copy), 0);
	SAME(shmr_registry_free_len(&moved), 0);
	OK(shmr_attachment_beat(&place.first));
	OK(shmr_attachment_leave(&place.first));
	SAYS(shmr_attachment_beat(&place.first), SHMR_EINVAL);
}

TEST(a_copy_of_a_segment_is_as_good_as_the_segment)
{
	struct shmr_segment segment, copy;

	place_make(&place);
	segment = place_segment(&place, "segment", SHMR_KIND_RAW, 100);
	copy = segment;
	memset(&segment, 0, sizeof(segment));
	CHECK(shmr_registry_is_current(&place.registry, &copy));
	CHECK(!shmr_registry_is_current(&place.registry, &segment));
	OK(shmr_registry_remove(&place.registry, &place.first, &copy));
}

/* What the calls that only load are given: memory on which a store is a crash. */
TEST(calls_that_only_load_work_on_memory_that_cannot_be_written)
{
	struct shmr_segment ring, mutex, snapshot, found;
	struct shmr_snapshot_writer writer;
	struct shmr_snapshot_reader reader;
	struct shmr_partition partition;
	struct shmr_registry registry;
	struct shmr_ring_view view;
	struct shmr_lock_view lock;
	struct shmr_region region;
	size_t cursor = 0, len;
	char value[8];
	void *base;

	place_make(&place);
	ring = place_segment(&place, "ring", SHMR_KIND_RING,
			     shmr_ring_len(1024));
	mutex = place_segment(&place, "mutex", SHMR_KIND_MUTEX,
			      shmr_mutex_len(0));
	snapshot = place_segment(&place, "snapshot", SHMR_KIND_SNAPSHOT,
				 shmr_snapshot_len(8));
	OK(shmr_snapshot_writer_open(&writer, &snapshot));
	OK(shmr_snapshot_write(&writer, "value", 5));
	base = mmap(NULL, PLACE_LEN, PROT_READ, MAP_SHARED,
		    shmr_mapping_fd(&place.mapping), 0);
	CHECK(base != MAP_FAILED);

	OK(shmr_region_attach(&region, base, PLACE_LEN));
	OK(shmr_registry_attach(&registry, &region));
	CHECK(shmr_registry_free_len(&registry) != 0);
	OK(shmr_partition_look(&registry, 1, &partition));
	SAME(partition.incarnation, place.one);
	OK(shmr_registry_next(&registry, &cursor, &found));
	OK(shmr_registry_lookup(&registry, ring.id, &found));
	OK(shmr_ring_inspect(&found, 10, &view));
	CHECK(shmr_registry_is_current(&registry, &found));
	OK(shmr_registry_lookup(&registry, mutex.id, &found));
	OK(shmr_lock_inspect(&found, &lock));
	OK(shmr_registry_lookup(&registry, snapshot.id, &found));
	OK(shmr_snapshot_reader_open(&reader, &found));
	OK(shmr_snapshot_read(&reader, value, sizeof(value), &len));
	SAME(shmr_snapshot_sequence(&reader), 1);
	munmap(base, PLACE_LEN);
}
