/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "place.h"

#include <signal.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

void place_make(struct place *place)
{
	const struct shmr_geometry geometry = {
		.segments = PLACE_SEGMENTS,
		.partitions = PLACE_PARTITIONS,
		.block = 128,
	};
	struct shmr_process own = shmr_process_this();
	void *base;

	/* What an earlier test left open is forgotten. */
	memset(place, 0, sizeof(*place));
	OK(shmr_map_memfd(&place->mapping, "place", PLACE_LEN));
	/* The tests fork children that use the parent's handles for it. */
	OK(shmr_mapping_inherit(&place->mapping));
	base = shmr_mapping_base(&place->mapping);
	OK(shmr_region_format(&place->region, base, PLACE_LEN));
	OK(shmr_registry_format(&place->registry, &place->region, &geometry));
	OK(shmr_partition_attach(&place->first, &place->registry, 1, &own));
	OK(shmr_partition_attach(&place->second, &place->registry, 2, &own));
	place->one = shmr_attachment_incarnation(&place->first);
	place->two = shmr_attachment_incarnation(&place->second);
	SAME(place->one, 0x101);
	SAME(place->two, 0x102);
}

void place_end(struct place *place)
{
	OK(shmr_attachment_leave(&place->first));
	OK(shmr_attachment_leave(&place->second));
	OK(shmr_unmap(&place->mapping));
}

struct shmr_segment place_segment(struct place *place, const char *name,
				  uint32_t kind, size_t len)
{
	const struct shmr_request request = {
		.name = name, .kind = kind, .len = len,
	};
	struct shmr_segment segment;

	OK(shmr_registry_open_or_create(&place->registry, &place->first,
					&request, &segment));
	return segment;
}

void place_join(struct place *place, const struct place *parents)
{
	memset(place, 0, sizeof(*place));
	OK(shmr_map_fd(&place->mapping, shmr_mapping_fd(&parents->mapping)));
	OK(shmr_region_attach(&place->region,
			      shmr_mapping_base(&place->mapping), PLACE_LEN));
	OK(shmr_registry_attach(&place->registry, &place->region));
	place->one = parents->one;
	place->two = parents->two;
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

uint32_t place_death(struct place *place, uint8_t number,
		     void (*die)(struct place *place, uint32_t incarnation,
				 const struct shmr_segment *segment),
		     const struct shmr_segment *segment)
{
	struct shmr_partition partition;
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		static struct place own;
		static struct shmr_attachment attachment;
		struct shmr_process process = shmr_process_this();
		struct shmr_segment found;

		place_join(&own, place);
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
	OK(shmr_partition_look(&place->registry, number, &partition));
	CHECK(partition.attached);
	return partition.incarnation;
}
