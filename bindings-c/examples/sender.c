/* sender.c - partition 2: sends each line of its standard input, then an empty record */
#include <shmr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct shmr_mapping mapping;
static struct shmr_region region;
static struct shmr_registry registry;
static struct shmr_processes processes;
static struct shmr_attachment attachment;
static struct shmr_producer producer;

static void must(enum shmr_status status, const struct shmr_error *why)
{
	if (status == SHMR_OK)
		return;
	fprintf(stderr, "sender: %s (%s %llu)\n", shmr_strerror(status),
		why->word, (unsigned long long)why->value);
	exit(1);
}

static void send_line(const char *line, size_t len)
{
	struct shmr_doorbell bell = shmr_doorbell_futex();

	for (;;) {
		struct shmr_wait wait;
		enum shmr_status status = shmr_producer_push(
			&producer, line, len);

		if (status == SHMR_FULL) {
			shmr_wait_futex(&wait, 1000);
			shmr_producer_wait_for_space(&producer, len, &wait);
		} else if (status != SHMR_RESTARTED) {
			must(status, &producer.error);
			break;
		}
	}
	shmr_producer_notify(&producer, &bell);
}

int main(int argc, char **argv)
{
	struct shmr_process own = shmr_process_this();
	struct shmr_liveness alive;
	struct shmr_segment ring;
	struct shmr_wait wait;
	char line[1024];

	if (argc != 2 || !shmr_header_matches())
		return 2;
	must(shmr_map_file(&mapping, argv[1], 0), &mapping.error);
	must(shmr_region_attach(&region, shmr_mapping_base(&mapping),
				shmr_mapping_len(&mapping)), &region.error);
	must(shmr_registry_attach(&registry, &region), &registry.error);
	/* Wait at most 5 s until the kernel reports that an earlier, killed sender has ended. */
	must(shmr_processes_watch(&processes, &registry), &processes.error);
	alive = shmr_processes_liveness(&processes);
	shmr_wait_poll(&wait, 5000, 20);
	must(shmr_partition_attach_or_take_over(&attachment, &registry, 2, &own,
					     &wait, &alive), &attachment.error);
	must(shmr_registry_lookup(&registry, shmr_id_from_name("lines"),
				  &ring), &registry.error);
	must(shmr_producer_open(&producer, &ring,
				shmr_attachment_incarnation(&attachment)),
	     &producer.error);

	while (fgets(line, sizeof(line), stdin)) {
		size_t len = strcspn(line, "\n");

		if (len > 0)
			send_line(line, len);
	}
	send_line("", 0);
	shmr_producer_close(&producer);
	shmr_attachment_leave(&attachment);
	shmr_processes_close(&processes);
	shmr_unmap(&mapping);
	return 0;
}
