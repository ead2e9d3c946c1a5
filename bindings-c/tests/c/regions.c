/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Mappings, regions, registries and attachments. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fixture.h"

static struct fixture fixture;

TEST(the_header_matches_the_library)
{
	CHECK(shmr_header_matches());
	SAME(shmr_abi_version(), SHMR_ABI_VERSION);
}

TEST(all_partitions_get_the_same_segment_for_one_identifier)
{
	const struct shmr_request request = {
		.name = "shared", .kind = SHMR_KIND_RAW, .len = 300,
	};
	struct shmr_segment first, second, third;
	struct shmr_registry registry;
	struct shmr_region region;
	unsigned int at;

	fixture_make(&fixture);
	first = fixture_segment(&fixture, "shared", SHMR_KIND_RAW, 300);
	OK(shmr_region_attach(&region, shmr_mapping_base(&fixture.mapping),
			      shmr_mapping_len(&fixture.mapping)));
	OK(shmr_registry_attach(&registry, &region));
	OK(shmr_registry_open_or_create(&registry, &fixture.second, &request,
					&second));
	OK(shmr_registry_open(&registry, &request, &third));
	CHECK(first.base == second.base && second.base == third.base);
	SAME(third.len, 304);
	SAME(third.id, shmr_id_from_name("shared"));
	SAME(strcmp(third.name, "shared"), 0);
	for (at = 0; at < 300; at++)
		SAME(((char *)third.base)[at], 0);
}

TEST(a_segment_has_the_requested_alignment)
{
	const struct shmr_request request = {
		.id = 7, .kind = SHMR_KIND_APPLICATION, .len = 10,
		.align = 4096,
	};
	struct shmr_segment segment;

	fixture_make(&fixture);
	OK(shmr_registry_open_or_create(&fixture.registry, &fixture.first, &request,
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

	fixture_make(&fixture);
	for (number = 0; number < 10; number++) {
		snprintf(name, sizeof(name), "s%d", number);
		fixture_segment(&fixture, name, SHMR_KIND_RAW, 1);
	}
	while (shmr_registry_next(&fixture.registry, &cursor, &segment) ==
	       SHMR_OK) {
		seen |= 1u << (segment.name[1] - '0');
		count++;
	}
	SAME(fixture.registry.error.status, SHMR_EMPTY);
	SAME(seen, 0x3ff);
	SAME(count, 10);
}

/* The offset of a number's bytes in the registry. */
static size_t offset_of(uint64_t number)
{
	const char *base = shmr_mapping_base(&fixture.mapping);
	size_t at = 0;

	while (memcmp(base + at, &number, sizeof(number)) != 0)
		at += 4;
	return at;
}

TEST(a_listing_reports_a_corrupt_row_once_and_continues_after_it)
{
	struct shmr_segment segments[6], found;
	size_t cursor = 0, row;
	char name[8];
	int number;

	fixture_make(&fixture);
	for (number = 0; number < 6; number++) {
		snprintf(name, sizeof(name), "s%d", number);
		segments[number] = fixture_segment(&fixture, name, SHMR_KIND_RAW,
						   1000 + 8 * (size_t)number);
	}
	/* There are free rows before the corrupt one, and between it and the last. */
	for (number = 0; number < 5; number++)
		if (number != 3)
			OK(shmr_registry_remove(&fixture.registry, &fixture.first,
						&segments[number]));
	row = offset_of(segments[3].id);
	for (number = 0; word_at(shmr_mapping_base(&fixture.mapping),
				 row + 4 * (size_t)number) != 1024; number++)
		CHECK(number < 16);
	set_word(shmr_mapping_base(&fixture.mapping), row + 4 * (size_t)number,
		 0xffffffff);
	FAILS(fixture.registry,
	      shmr_registry_next(&fixture.registry, &cursor, &found),
	      SHMR_CORRUPT, 0xffffffff, "row length");
	OK(shmr_registry_next(&fixture.registry, &cursor, &found));
	SAME(found.id, segments[5].id);
	RETURNS(shmr_registry_next(&fixture.registry, &cursor, &found), SHMR_EMPTY);
	RETURNS(shmr_registry_next(&fixture.registry, &cursor, &found), SHMR_EMPTY);
}

TEST(removing_a_segment_frees_its_bytes)
{
	struct shmr_segment segment;
	size_t before;

	fixture_make(&fixture);
	before = shmr_registry_free_bytes(&fixture.registry);
	segment = fixture_segment(&fixture, "short", SHMR_KIND_RAW, 129);
	SAME(shmr_registry_free_bytes(&fixture.registry), before - 256);
	CHECK(shmr_registry_is_current(&fixture.registry, &segment));
	OK(shmr_registry_remove(&fixture.registry, &fixture.first, &segment));
	SAME(shmr_registry_free_bytes(&fixture.registry), before);
}

TEST(a_registry_returns_its_geometry)
{
	struct shmr_geometry geometry;

	fixture_make(&fixture);
	OK(shmr_registry_geometry(&fixture.registry, &geometry));
	SAME(geometry.segments, FIXTURE_SEGMENTS);
	SAME(geometry.partitions, FIXTURE_PARTITIONS);
	SAME(geometry.block_size, 128);
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

TEST(a_partition_that_left_attaches_as_its_next_incarnation)
{
	struct shmr_partition partition;
	struct shmr_attachment again = { 0 };

	fixture_make(&fixture);
	OK(shmr_partition_read(&fixture.registry, 2, &partition));
	SAME(partition.incarnation, fixture.two);
	CHECK(partition.attached);
	SAME(partition.process.number, getpid());
	OK(shmr_attachment_leave(&fixture.second));
	OK(shmr_partition_read(&fixture.registry, 2, &partition));
	CHECK(!partition.attached);
	OK(shmr_partition_attach(&again, &fixture.registry, 2, NULL));
	SAME(shmr_attachment_incarnation(&again), NEXT(fixture.two));
	OK(shmr_partition_read(&fixture.registry, 5, &partition));
	SAME(partition.incarnation, 0);
	RETURNS(shmr_partition_read(&fixture.registry, 9, &partition),
		SHMR_NO_SUCH_PARTITION);
}

TEST(a_slot_with_another_partitions_incarnation_is_corrupt)
{
	struct shmr_partition partition;
	char *slots;

	fixture_make(&fixture);
	slots = (char *)shmr_mapping_base(&fixture.mapping) + 256;
	set_word(slots + 128 * 2, 0, 0x105);
	FAILS(fixture.registry,
	      shmr_partition_read(&fixture.registry, 3, &partition),
	      SHMR_CORRUPT, 0x105, "partition incarnation");
}

TEST(a_region_can_be_mapped_by_file_name_and_by_descriptor)
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

TEST(a_mapping_reports_that_its_file_was_removed_replaced_or_truncated)
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
	RETURNS(shmr_mapping_check(&other), SHMR_EINVAL);
	RETURNS(shmr_mapping_inherit(&other), SHMR_EINVAL);
}

/* Forks a child that pushes and then leaves; returns its wait status. */
static int child_that_pushes(struct shmr_producer *producer,
			     struct shmr_attachment *attachment)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		/* A sanitizer's handler would end the child in another way. */
		signal(SIGSEGV, SIG_DFL);
		shmr_producer_push(producer, "child", 5);
		shmr_attachment_leave(attachment);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child);
	return status;
}

TEST(a_forked_child_can_neither_push_nor_leave_by_its_parents_handles)
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

	OK(shmr_map_memfd(&mapping, "fork", FIXTURE_LEN));
	OK(shmr_region_format(&region, shmr_mapping_base(&mapping),
			      FIXTURE_LEN));
	OK(shmr_registry_format(&registry, &region, NULL));
	OK(shmr_partition_attach(&attachment, &registry, 1, NULL));
	OK(shmr_segment_from_memory(&segment,
			   (char *)shmr_mapping_base(&mapping) + FIXTURE_LEN / 2,
			   shmr_ring_len(256)));
	OK(shmr_producer_open(&producer, &segment, 0x101));
	OK(shmr_consumer_open(&consumer, &segment, 0x102, SHMR_KEEP));

	status = child_that_pushes(&producer, &attachment);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	OK(shmr_partition_read(&registry, 1, &partition));
	CHECK(partition.attached);
	RETURNS(shmr_consumer_pop(&consumer, record, 8, &len), SHMR_EMPTY);
	OK(shmr_producer_push(&producer, "parent", 6));
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	SAME(len, 6);

	/* It can do both if it inherits the mapping. */
	OK(shmr_mapping_inherit(&mapping));
	status = child_that_pushes(&producer, &attachment);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	OK(shmr_partition_read(&registry, 1, &partition));
	CHECK(!partition.attached);
	OK(shmr_consumer_pop(&consumer, record, 8, &len));
	SAME(len, 5);
	OK(shmr_unmap(&mapping));
}

TEST(posix_shared_memory_is_found_by_its_name_until_it_is_unlinked)
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

TEST(a_mapping_can_be_mapped_again_at_a_fixed_address)
{
	const size_t address = (size_t)0x5f0000000000;
	struct shmr_mapping mapping = { 0 }, fixed = { 0 }, none = { 0 };

	OK(shmr_map_memfd(&mapping, "fixed", 8192));
	OK(shmr_map_at(&fixed, &mapping, address));
	SAME(shmr_mapping_base(&fixed), address);
	*(char *)shmr_mapping_base(&mapping) = 'a';
	SAME(*(char *)shmr_mapping_base(&fixed), 'a');
	RETURNS(shmr_map_at(&none, &mapping, address), SHMR_SYSTEM);
	OK(shmr_unmap(&fixed));
	OK(shmr_unmap(&mapping));
}

TEST(a_handle_that_failed_to_open_is_not_open)
{
	fixture_make(&fixture);
	RETURNS(shmr_registry_format(&fixture.registry, &fixture.region, NULL),
		SHMR_EXISTS);
	SAME(shmr_registry_free_bytes(&fixture.registry), 0);
	OK(shmr_registry_attach(&fixture.registry, &fixture.region));
	CHECK(shmr_registry_free_bytes(&fixture.registry) != 0);
}

TEST(a_copy_of_an_open_handle_and_a_closed_handle_are_not_open)
{
	static struct shmr_attachment copy;
	static struct shmr_registry moved;

	fixture_make(&fixture);
	memcpy(&copy, &fixture.first, sizeof(copy));
	memcpy(&moved, &fixture.registry, sizeof(moved));
	RETURNS(shmr_attachment_beat(&copy), SHMR_EINVAL);
	RETURNS(shmr_attachment_leave(&copy), SHMR_EINVAL);
	SAME(shmr_attachment_incarnation(&copy), 0);
	SAME(shmr_registry_free_bytes(&moved), 0);
	OK(shmr_attachment_beat(&fixture.first));
	OK(shmr_attachment_leave(&fixture.first));
	RETURNS(shmr_attachment_beat(&fixture.first), SHMR_EINVAL);
}

TEST(a_copy_of_a_segment_is_valid)
{
	struct shmr_segment segment, copy;

	fixture_make(&fixture);
	segment = fixture_segment(&fixture, "segment", SHMR_KIND_RAW, 100);
	copy = segment;
	memset(&segment, 0, sizeof(segment));
	CHECK(shmr_registry_is_current(&fixture.registry, &copy));
	CHECK(!shmr_registry_is_current(&fixture.registry, &segment));
	OK(shmr_registry_remove(&fixture.registry, &fixture.first, &copy));
}

/* The memory is mapped read-only: a store would crash. */
TEST(calls_that_only_load_work_on_read_only_memory)
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

	fixture_make(&fixture);
	ring = fixture_segment(&fixture, "ring", SHMR_KIND_RING,
			       shmr_ring_len(1024));
	mutex = fixture_segment(&fixture, "mutex", SHMR_KIND_MUTEX,
				shmr_mutex_len(0));
	snapshot = fixture_segment(&fixture, "snapshot", SHMR_KIND_SNAPSHOT,
				   shmr_snapshot_len(8));
	OK(shmr_snapshot_writer_open(&writer, &snapshot));
	OK(shmr_snapshot_write(&writer, "value", 5));
	base = mmap(NULL, FIXTURE_LEN, PROT_READ, MAP_SHARED,
		    shmr_mapping_fd(&fixture.mapping), 0);
	CHECK(base != MAP_FAILED);

	OK(shmr_region_attach(&region, base, FIXTURE_LEN));
	OK(shmr_registry_attach(&registry, &region));
	CHECK(shmr_registry_free_bytes(&registry) != 0);
	OK(shmr_partition_read(&registry, 1, &partition));
	SAME(partition.incarnation, fixture.one);
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
	munmap(base, FIXTURE_LEN);
}
