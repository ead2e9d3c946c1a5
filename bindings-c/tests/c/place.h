/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* place.h - a region with a registry and two partitions in it */

#ifndef PLACE_H
#define PLACE_H

#include "check.h"

#define PLACE_LEN ((size_t)256 * 1024)
#define PLACE_SEGMENTS 16
#define PLACE_PARTITIONS 8

/**
 * struct place - what most tests begin with
 * @one: an incarnation of partition 1
 * @two: an incarnation of partition 2
 *
 * A child that is to die in it joins it by place_join(): it inherits no mapping.
 */
struct place {
	struct shmr_mapping mapping;
	struct shmr_region region;
	struct shmr_registry registry;
	struct shmr_attachment first;
	struct shmr_attachment second;
	uint32_t one;
	uint32_t two;
};

/* The next incarnation of a partition. */
#define NEXT(incarnation) ((incarnation) + 0x100)

void place_make(struct place *place);
void place_end(struct place *place);

/* The region in a child of the process that made it; nobody is attached by it. */
void place_join(struct place *place, const struct place *parents);

/* A new segment. */
struct shmr_segment place_segment(struct place *place, const char *name,
				  uint32_t kind, size_t len);

/* The word at an offset from @base, little-endian as the region has it. */
uint32_t word_at(const void *base, size_t offset);
void set_word(void *base, size_t offset, uint32_t value);

/*
 * Runs @die as an incarnation of partition @number in a child process, with its own mapping of
 * the place and of @segment; it is killed while it still holds what @die took.
 * Return: that incarnation.
 */
uint32_t place_death(struct place *place, uint8_t number,
		     void (*die)(struct place *place, uint32_t incarnation,
				 const struct shmr_segment *segment),
		     const struct shmr_segment *segment);

#endif /* PLACE_H */
