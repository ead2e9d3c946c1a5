/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "fixture.h"

#include <signal.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

void fixture_make(struct fixture *fixture)
{
	const struct shmr_geometry geometry = {
		.segments = FIXTURE_SEGMENTS,
		.partitions = FIXTURE_PARTITIONS,
		.block_size = 128,
	};
	struct shmr_process own = shmr_process_this();
	void *base;

	/* Forgets handles that an earlier test left open. */
	memset(fixture, 0, sizeof(*fixture));
	OK(shmr_map_memfd(&fixture->mapping, "fixture", FIXTURE_LEN));
	/* Some tests fork children that use the parent's handles. */
	OK(shmr_mapping_inherit(&fixture->mapping));
	base = shmr_mapping_base(&fixture->mapping);
	OK(shmr_region_format(&fixture->region, base, FIXTURE_LEN));
	OK(shmr_registry_format(&fixture->registry, &fixture->region, &geometry));
	OK(shmr_partition_attach(&fixture->first, &fixture->registry, 1, &own));
	OK(shmr_partition_attach(&fixture->second, &fixture->registry, 2, &own));
	fixture->one = shmr_attachment_incarnation(&fixture->first);
	fixture->two = shmr_attachment_incarnation(&fixture->second);
	SAME(fixture->one, 0x101);
	SAME(fixture->two, 0x102);
}

void fixture_end(struct fixture *fixture)
{
	OK(shmr_attachment_leave(&fixture->first));
	OK(shmr_attachment_leave(&fixture->second));
	OK(shmr_unmap(&fixture->mapping));
}

struct shmr_segment fixture_segment(struct fixture *fixture, const char *name,
				    uint32_t kind, size_t len)
{
	const struct shmr_request request = {
		.name = name, .kind = kind, .len = len,
	};
	struct shmr_segment segment;

	OK(shmr_registry_open_or_create(&fixture->registry, &fixture->first,
					&request, &segment));
	return segment;
}

void fixture_join(struct fixture *fixture, const struct fixture *parents)
{
	memset(fixture, 0, sizeof(*fixture));
	OK(shmr_map_fd(&fixture->mapping, shmr_mapping_fd(&parents->mapping)));
	OK(shmr_region_attach(&fixture->region,
			      shmr_mapping_base(&fixture->mapping), FIXTURE_LEN));
	OK(shmr_registry_attach(&fixture->registry, &fixture->region));
	fixture->one = parents->one;
	fixture->two = parents->two;
}

uint32_t word_at(const void *base, size_t offset)
{
	const unsigned char *at = (const unsigned char *)base + offset;

	return (uint32_t)at[0] | (uint32_t)at[1] << 8 |
	       (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

void set_word(void *base, size_t offset, uint32_t value)
{
	unsigned char *at = (unsigned char *)base + offset;
	int byte;

	for (byte = 0; byte < 4; byte++)
		at[byte] = (unsigned char)(value >> 8 * byte);
}

uint32_t fixture_death(struct fixture *fixture, uint8_t number,
		       void (*die)(struct fixture *fixture, uint32_t incarnation,
				   const struct shmr_segment *segment),
		       const struct shmr_segment *segment)
{
	struct shmr_partition partition;
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		static struct fixture own;
		static struct shmr_attachment attachment;
		struct shmr_process process = shmr_process_this();
		struct shmr_segment found;

		fixture_join(&own, fixture);
		if (segment)
			OK(shmr_registry_lookup(&own.registry, segment->id,
						&found));
		OK(shmr_partition_attach(&attachment, &own.registry, number,
					 &process));
		die(&own, shmr_attachment_incarnation(&attachment), &found);
		kill(getpid(), SIGKILL);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	OK(shmr_partition_read(&fixture->registry, number, &partition));
	CHECK(partition.attached);
	return partition.incarnation;
}
