// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * What the library needs of the program that it is linked into
 */

#include <common.h>
#include <linux/compiler.h>
#include "shmr.h"

void shmr_panic(void)
{
	panic("kmon: the shared-memory library has met a bug of its own\n");
}

/* Not every C library has it. */
__weak int bcmp(const void *one, const void *other, size_t len)
{
	return memcmp(one, other, len);
}
