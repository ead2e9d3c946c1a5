/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct test *tests;

void test_add(struct test *test)
{
	struct test **end = &tests;

	while (*end)
		end = &(*end)->next;
	*end = test;
}

/* Not exit(): a child of a test must not write its parent's buffered output again. */
static void fail(const char *file, int line)
{
	fprintf(stderr, "at %s:%d\n", file, line);
	fflush(NULL);
	abort();
}

void check_that(bool holds, const char *what, const char *file, int line)
{
	if (holds)
		return;
	fprintf(stderr, "is false: %s\n", what);
	fail(file, line);
}

void check_same(uint64_t actual, uint64_t expected, const char *what,
		const char *file, int line)
{
	if (actual == expected)
		return;
	fprintf(stderr, "%s is %#llx, not %#llx\n", what,
		(unsigned long long)actual, (unsigned long long)expected);
	fail(file, line);
}

void check_status(int actual, int expected, const char *call,
		  const char *file, int line)
{
	if (actual == expected)
		return;
	fprintf(stderr, "%s returns %d (%s), not %d (%s)\n", call,
		actual, shmr_strerror(actual),
		expected, shmr_strerror(expected));
	fail(file, line);
}

void check_error(const struct shmr_error *error, enum shmr_status status,
		 uint64_t value, const char *word, const char *call,
		 const char *file, int line)
{
	if (error->status == status && error->value == value &&
	    strcmp(error->word, word) == 0)
		return;
	fprintf(stderr, "%s left %d, %#llx, \"%s\", not %d, %#llx, \"%s\"\n",
		call, (int)error->status, (unsigned long long)error->value,
		error->word, (int)status, (unsigned long long)value, word);
	fail(file, line);
}

int main(int argc, char **argv)
{
	const struct test *test;
	unsigned int count = 0;

	for (test = tests; test; test = test->next) {
		if (argc > 1 && strcmp(argv[1], test->name) != 0)
			continue;
		test->run();
		printf("test %s ... ok\n", test->name);
		fflush(stdout);
		count++;
	}
	if (count == 0)
		fprintf(stderr, "no such test\n");
	return count == 0;
}
