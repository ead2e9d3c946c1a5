/* client.c - partition 2: makes a call for each line of its standard input, then ends the server */
#include <shmr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND ((uint64_t)1000000000)

static struct shmr_mapping mapping;
static struct shmr_session session;
static struct shmr_client client;

static void must(enum shmr_status status, const struct shmr_error *why)
{
	if (status == SHMR_OK)
		return;
	fprintf(stderr, "client: %s (%s %llu)\n", shmr_strerror(status),
		why->word, (unsigned long long)why->value);
	exit(1);
}

/*
 * Waits for the region, and at most 5 s until the kernel reports that an earlier client, which was
 * killed and did not leave, has ended.
 */
static void join(void)
{
	const struct shmr_session_options options = {
		.partition = 2, .wait_for_earlier = 5 * SECOND,
	};
	struct shmr_platform platform = shmr_platform_same_kernel();
	enum shmr_status status;

	for (;;) {
		status = shmr_session_join(&session,
					   shmr_mapping_base(&mapping),
					   shmr_mapping_len(&mapping),
					   &options, &platform);
		if (!shmr_session_is_early(status))
			break;
		sleep(1);
	}
	must(status, &session.error);
}

/*
 * Calls until there is an answer. A server that died during a call may have carried out the
 * command. Here carrying it out twice is harmless. Otherwise, first ask the next server whether it
 * was carried out.
 */
static void ask(const char *line, size_t len)
{
	char answer[1024];
	size_t count;

	for (;;) {
		enum shmr_status status = shmr_client_call(
			&client, line, len, answer, sizeof(answer), &count,
			5 * SECOND);

		if (status == SHMR_PEER_GONE || status == SHMR_ANSWER_LOST) {
			fputs("(the server is gone)\n", stderr);
			sleep(1);
		} else if (status == SHMR_RESTARTED) {
			fputs("(another server)\n", stderr);
		} else {
			must(status, &client.error);
			break;
		}
	}
	printf("%.*s\n", (int)count, answer);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[1024];

	if (argc != 2 || !shmr_header_matches())
		return 2;
	must(shmr_map_file(&mapping, argv[1], 0), &mapping.error);
	join();
	must(shmr_client_open(&client, &session, "upper case", NULL),
	     &client.error);

	while (fgets(line, sizeof(line), stdin))
		ask(line, strcspn(line, "\n"));
	must(shmr_client_send(&client, NULL, 0, SECOND), &client.error);
	shmr_client_close(&client);
	shmr_session_leave(&session);
	shmr_unmap(&mapping);
	return 0;
}
