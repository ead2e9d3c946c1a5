// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * Fields of records, little-endian, whose length is not trusted
 *
 * A read past the end returns 0 or an empty text, and marks the bytes as bad: a
 * reader reads all fields first, and then checks the mark.
 */

#include <common.h>
#include <asm/unaligned.h>
#include <linux/ctype.h>
#include "kmon.h"

static const u8 *take(struct km_bytes *bytes, size_t len)
{
	const u8 *at = bytes->at;

	if (bytes->bad || len > bytes->len) {
		bytes->bad = true;
		return NULL;
	}
	bytes->at += len;
	bytes->len -= len;

	return at;
}

u16 km_take_u16(struct km_bytes *bytes)
{
	const u8 *at = take(bytes, 2);

	return at ? get_unaligned_le16(at) : 0;
}

u32 km_take_u32(struct km_bytes *bytes)
{
	const u8 *at = take(bytes, 4);

	return at ? get_unaligned_le32(at) : 0;
}

u64 km_take_u64(struct km_bytes *bytes)
{
	const u8 *at = take(bytes, 8);

	return at ? get_unaligned_le64(at) : 0;
}

/**
 * km_take_text() - read a u16 length, and this many bytes
 * @bytes: what is read
 *
 * Return: the text; empty if it is not complete
 */
struct km_text km_take_text(struct km_bytes *bytes)
{
	struct km_text text;

	text.len = km_take_u16(bytes);
	text.at = take(bytes, text.len);
	if (!text.at)
		text.len = 0;

	return text;
}

struct km_text km_take_rest(struct km_bytes *bytes)
{
	struct km_text text = { .len = bytes->bad ? 0 : bytes->len };

	text.at = take(bytes, text.len);

	return text;
}

/**
 * km_copy_text() - copy a text as a string that is safe to print
 * @to:   the destination
 * @size: its bytes; a longer text is cut
 * @text: the text; a byte that is not printable ASCII becomes '?'
 */
void km_copy_text(char *to, size_t size, struct km_text text)
{
	size_t i;

	for (i = 0; i < text.len && i + 1 < size; i++)
		to[i] = text.at[i] < 0x80 && isprint(text.at[i]) ?
			text.at[i] : '?';
	to[i] = '\0';
}

/**
 * km_copy_record() - copy a record out of the region, each byte once
 * @to:   the destination, aligned to 8
 * @from: the source, aligned to 8
 * @len:  bytes
 *
 * Memory of a device may fault on accesses that memcpy() uses.
 */
void km_copy_record(void *to, const void *from, size_t len)
{
	const volatile u64 *words = from;
	size_t whole = len / 8, i;
	u64 *out = to;

	for (i = 0; i < whole; i++)
		out[i] = words[i];
	if (len % 8) {
		/* Records take up a multiple of 8 bytes. */
		u64 last = words[whole];

		memcpy(&out[whole], &last, len % 8);
	}
}
