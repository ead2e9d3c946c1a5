/* server.c - partition 1: answers each call with its text in upper case */
#include <ctype.h>
#include <shmr.h>
#include <stdio.h>
#include <stdlib.h>

#define REGION_LEN ((size_t)1 << 20)
#define SECOND ((uint64_t)1000000000)

static struct shmr_mapping mapping;
static struct shmr_session session;
static struct shmr_server server;

static void must(enum shmr_status status, const struct shmr_error *why)
{
	if (status == SHMR_OK)
		return;
	fprintf(stderr, "server: %s (%s %llu)\n", shmr_strerror(status),
		why->word, (unsigned long long)why->value);
	exit(1);
}

/* After a restart, the region exists: join it, so that the client can continue. */
static void join_or_create(void)
{
	const struct shmr_session_options options = {
		.partition = 1, .wait_for_earlier = 5 * SECOND,
	};
	struct shmr_platform platform = shmr_platform_same_kernel();
	void *base = shmr_mapping_base(&mapping);
	size_t len = shmr_mapping_len(&mapping);
	enum shmr_status status = shmr_session_join(&session, base, len,
						    &options, &platform);

	if (shmr_session_is_early(status))
		status = shmr_session_create(&session, base, len, &options,
					     &platform);
	must(status, &session.error);
}

int main(int argc, char **argv)
{
	/* Longer than any command: a command is shorter than half of 16 KiB. */
	static char text[8192];
	struct shmr_call call;
	size_t len, at;

	if (argc != 2 || !shmr_header_matches())
		return 2;
	must(shmr_map_file(&mapping, argv[1], REGION_LEN), &mapping.error);
	join_or_create();
	must(shmr_server_open(&server, &session, "upper case", NULL),
	     &server.error);

	for (;;) {
		enum shmr_status status = shmr_server_recv(
			&server, text, sizeof(text), &len, &call,
			SHMR_FOREVER);

		if (status == SHMR_RESTARTED) {
			puts("(another client)");
			continue;
		}
		must(status, &server.error);
		if (call.number == 0)
			break;	/* a message that is not a call ends the program */
		for (at = 0; at < len; at++)
			text[at] = (char)toupper((unsigned char)text[at]);
		switch (shmr_server_answer(&server, &call, text, len, SECOND)) {
		case SHMR_OK:
		case SHMR_PEER_GONE:
		case SHMR_RESTARTED:
		case SHMR_CALLER_RESTARTED:
			break;	/* if it failed, no client waits for the answer */
		default:
			must(server.error.status, &server.error);
		}
	}
	shmr_server_close(&server);
	shmr_session_leave(&session);
	shmr_unmap(&mapping);
	return 0;
}
