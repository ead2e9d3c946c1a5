/* receiver.c - partition 1: creates the region, and prints the lines that arrive */
#include <shmr.h>
#include <stdio.h>
#include <stdlib.h>

#define REGION_LEN 65536

static struct shmr_mapping mapping;
static struct shmr_region region;
static struct shmr_registry registry;
static struct shmr_attachment attachment;
static struct shmr_consumer consumer;

static void must(enum shmr_status status, const struct shmr_error *why)
{
	if (status == SHMR_OK)
		return;
	fprintf(stderr, "receiver: %s (%s %llu)\n", shmr_strerror(status),
		why->word, (unsigned long long)why->value);
	exit(1);
}

int main(int argc, char **argv)
{
	const struct shmr_request request = {
		.name = "lines",
		.kind = SHMR_KIND_RING,
		.len = shmr_ring_len(4096),
	};
	struct shmr_process own = shmr_process_this();
	struct shmr_doorbell bell = shmr_doorbell_futex();
	struct shmr_segment ring;

	if (argc != 2 || !shmr_header_matches())
		return 2;
	must(shmr_map_file(&mapping, argv[1], REGION_LEN), &mapping.error);
	must(shmr_region_format(&region, shmr_mapping_base(&mapping),
				shmr_mapping_len(&mapping)), &region.error);
	must(shmr_registry_format(&registry, &region, NULL), &registry.error);
	must(shmr_partition_attach(&attachment, &registry, 1, &own),
	     &attachment.error);
	must(shmr_registry_open_or_create(&registry, &attachment, &request,
					  &ring), &registry.error);
	must(shmr_consumer_open(&consumer, &ring,
				shmr_attachment_incarnation(&attachment), SHMR_KEEP),
	     &consumer.error);

	for (;;) {
		char line[1024];
		size_t len;
		enum shmr_status status = shmr_consumer_pop(
			&consumer, line, sizeof(line), &len);

		if (status == SHMR_EMPTY) {
			struct shmr_wait wait;

			shmr_wait_futex(&wait, 1000);
			shmr_consumer_wait(&consumer, &wait);
		} else if (status == SHMR_RESTARTED) {
			puts("(the sender was restarted)");
		} else {
			must(status, &consumer.error);
			/* The sender may sleep until there is room. */
			shmr_consumer_notify(&consumer, &bell);
			if (len == 0)
				break;	/* an empty record ends the program */
			printf("%.*s\n", (int)len, line);
		}
	}
	shmr_consumer_close(&consumer);
	shmr_attachment_leave(&attachment);
	shmr_unmap(&mapping);
	return 0;
}
