// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * kmexec: one command in an instance, outside its console
 */

#include <common.h>
#include <command.h>
#include <console.h>
#include <env.h>
#include <time.h>
#include <asm/unaligned.h>
#include <linux/delay.h>
#include "kmon.h"

/* How long the report of a killed command's end may take. */
#define END_REPORT_MS	2000
/* A command ends after its daemon's heartbeat stands still for this long. */
#define SILENT_MS	5000
/* Bytes printed between two checks of the keyboard. */
#define PIECE		128

/* Values of $kmstatus, as in a shell. */
#define STATUS_LOST		125
#define STATUS_TIMED_OUT	124
#define STATUS_NOT_STARTED	127
#define STATUS_SIGNALLED	128

/**
 * struct exec - a running command
 * @incarnation: of the daemon that runs it
 * @stream:      number that its output carries
 * @ended:       it has ended
 * @how:         KMON_EVENT_EXITED and so on
 * @value:       its exit code or signal
 * @reason:      why it was not started
 * @interrupted: Ctrl-C was typed
 * @killing:     it must be killed, since @killed_at
 * @killed:      the kill command was sent
 * @in_line:     its last output did not end a line
 */
struct exec {
	u32 incarnation;
	u32 stream;
	bool ended;
	u32 how;
	int value;
	char reason[80];
	bool interrupted;
	bool killing;
	bool killed;
	ulong killed_at;
	bool in_line;
};

static void print_output(struct exec *exec, struct km_text output)
{
	size_t i;

	for (i = 0; i < output.len; i++) {
		if (i % PIECE == 0) {
			km_yield();
			if (ctrlc())
				exec->interrupted = true;
		}
		putc(output.at[i]);
	}
	if (output.len)
		exec->in_line = output.at[output.len - 1] != '\n';
}

static bool handle(struct km_instance *k, const struct km_event *event,
		   void *context)
{
	struct exec *exec = context;

	if (event->kind == KMON_EVENT_OUTPUT)
		km_save_output(k, event->bytes);
	if (event->stream != exec->stream || exec->ended)
		return true;
	switch (event->kind) {
	case KMON_EVENT_STDOUT:
	case KMON_EVENT_STDERR:
		print_output(exec, event->bytes);
		break;
	case KMON_EVENT_ENDED:
		exec->ended = true;
		exec->how = event->how;
		exec->value = (s32)event->value;
		km_copy_text(exec->reason, sizeof(exec->reason), event->bytes);
		break;
	}

	return true;
}

/* Appends a text; returns the bytes that it takes, or -ve. */
static int put_text(u8 *body, size_t at, const char *text, size_t len)
{
	if (len > KMON_COMMAND_BODY || at + 2 + len > KMON_COMMAND_BODY)
		return -E2BIG;
	put_unaligned_le16(len, body + at);
	memcpy(body + at + 2, text, len);

	return 2 + len;
}

/* Writes the arguments sh -c COMMAND; returns the bytes that they take, or -ve. */
static int put_command(u8 *body, int argc, char *const argv[])
{
	static char line[KMON_COMMAND_BODY];
	size_t len = 0, word;
	int i, at = 4, ret;

	for (i = 0; i < argc; i++) {
		word = strlen(argv[i]);
		if (len + word + 1 > sizeof(line))
			return -E2BIG;
		if (i)
			line[len++] = ' ';
		memcpy(line + len, argv[i], word);
		len += word;
	}
	put_unaligned_le32(0, body); /* no time-out */
	at += put_text(body, at, "sh", 2);
	at += put_text(body, at, "-c", 2);
	ret = put_text(body, at, line, len);

	return ret < 0 ? ret : at + ret;
}

static int start(struct km_instance *k, struct exec *exec, int argc,
		 char *const argv[])
{
	static u8 body[KMON_COMMAND_BODY];
	int len = put_command(body, argc, argv);

	if (len < 0) {
		printf("kmexec: the command is too long; put it in a file of the instance\n");
		return len;
	}
	if (km_get_state(k, &exec->incarnation) != KM_RUNNING)
		return km_require_running("kmexec", k);
	/* Differs from that of every command of an earlier incarnation of KMON. */
	exec->stream = (shmr_session_incarnation(&k->session) >> 8) << 16 |
		       ++k->execs;
	switch (km_send(k, exec->incarnation, KMON_COMMAND_EXEC, exec->stream, body,
			len)) {
	case KM_SENT:
		return 0;
	case KM_FULL:
		printf("kmexec: instance %u accepts no commands now; nothing was run\n",
		       k->number);
		return -EAGAIN;
	default:
		printf("kmexec: instance %u: %s; nothing was run\n", k->number,
		       k->trouble);
		return -EPROTO;
	}
}

static void kill(struct km_instance *k, struct exec *exec)
{
	if (exec->killed)
		return;
	if (!exec->killing)
		exec->killed_at = get_timer(0);
	exec->killing = true;
	exec->killed = km_send(k, exec->incarnation, KMON_COMMAND_KILL, exec->stream,
			       NULL, 0) == KM_SENT;
}

/* Returns why the command's end cannot be known any more; NULL, it can. */
static const char *find_loss(struct km_instance *k, struct exec *exec)
{
	u32 incarnation;
	enum km_state state = km_get_state(k, &incarnation);

	if (state == KM_CORRUPT || state == KM_REPLACED)
		return k->trouble;
	if (incarnation != exec->incarnation || state == KM_GONE || state == KM_WAITING)
		return "guestd died, and the command with it";
	if (state == KM_SILENT && km_silent_ms(k) > SILENT_MS) {
		kill(k, exec);
		return "its heartbeat stands still; the command is abandoned";
	}
	if (exec->killing && get_timer(exec->killed_at) > END_REPORT_MS)
		return "interrupted; guestd did not report how the command ended";

	return NULL;
}

/* Shows output until the command ends; returns NULL, or why its end is lost. */
static const char *run(struct km_instance *k, struct exec *exec)
{
	const char *why = NULL;
	int count;

	while (!exec->ended) {
		km_yield();
		count = km_receive(k, handle, exec);
		if (count < 0)
			return k->trouble;
		if (ctrlc())
			exec->interrupted = true;
		if (exec->interrupted && !exec->ended)
			kill(k, exec);
		/* Read the ring first; a killed command may print on. */
		if (!count || exec->killing)
			why = exec->ended ? NULL : find_loss(k, exec);
		if (why)
			return why;
		if (!count)
			udelay(500);
	}

	return NULL;
}

static int print_ending(struct km_instance *k, struct exec *exec)
{
	if (exec->how == KMON_EVENT_EXITED && !exec->value)
		return 0;
	printf("kmexec: instance %u: ", k->number);
	switch (exec->how) {
	case KMON_EVENT_EXITED:
		printf("exit status %d\n", exec->value);
		return exec->value;
	case KMON_EVENT_SIGNALLED:
		printf("%skilled by signal %d\n",
		       exec->interrupted ? "interrupted, " : "", exec->value);
		return STATUS_SIGNALLED + exec->value;
	case KMON_EVENT_TIMED_OUT:
		puts("time-out; it was killed\n");
		return STATUS_TIMED_OUT;
	default:
		printf("not started: %s\n", exec->reason);
		return STATUS_NOT_STARTED;
	}
}

static int exec(struct km_instance *k, int argc, char *const argv[])
{
	static struct exec exec;
	const char *why;

	memset(&exec, 0, sizeof(exec));
	if (start(k, &exec, argc, argv))
		return STATUS_LOST;
	why = run(k, &exec);
	if (exec.in_line)
		putc('\n');
	if (!why)
		return print_ending(k, &exec);
	printf("kmexec: instance %u: %s\n", k->number, why);

	return STATUS_LOST;
}

static int do_kmexec(struct cmd_tbl *cmdtp, int flag, int argc,
		     char *const argv[])
{
	struct km_instance *k;
	int status = STATUS_LOST;
	char text[12];

	if (argc < 3)
		return CMD_RET_USAGE;
	k = km_argument("kmexec", argv[1]);
	if (k && !km_require_running("kmexec", k))
		status = exec(k, argc - 2, argv + 2);
	sprintf(text, "%d", status);
	env_set("kmstatus", text);

	return status ? CMD_RET_FAILURE : CMD_RET_SUCCESS;
}

U_BOOT_CMD(kmexec, CONFIG_SYS_MAXARGS, 0, do_kmexec,
	   "run a command in an instance, outside its console",
	   "N COMMAND...\n"
	   "    - runs sh -c \"COMMAND...\" and shows its output; Ctrl-C kills it.\n"
	   "      Fails unless it exits with 0. $kmstatus is its exit status, or\n"
	   "      128 plus its signal; 127: not started; 125: unknown. Quote what\n"
	   "      U-Boot's own shell would interpret: ; & | $ \""
);
