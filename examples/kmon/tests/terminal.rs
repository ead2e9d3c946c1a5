//! Runs KMON on a pseudo-terminal.

mod common;

use common::{Operator, SHELL_PROMPT, becomes_true, signal};

#[test]
fn the_session_in_the_paper_works() {
    let mut kmon = Operator::start(&[]);
    kmon.console(2);
    kmon.shell("ls -d /proc /bin");
    kmon.see("/bin  /proc");
    kmon.shell("kmexitconsole");
    kmon.see_last_line("KMON#");
    kmon.console(3);
    kmon.shell("hostname; kmexitconsole");
    kmon.see("kmexitconsole: not found");
    kmon.shell("kmexitconsole");
    kmon.clear();
    kmon.command("kmmonitorall -n 1");
    for text in [
        "*****part_id:2*****",
        "*****part_id:3*****",
        "lo:",
        "MEM",
        "total size:",
        "cpu utilization_ratio:",
        "CPU0  cpu utilization_ratio:",
    ] {
        kmon.see(text);
    }
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn switching_between_instances_loses_no_output() {
    let mut kmon = Operator::start(&[]);
    const LINES: usize = 3000;
    for (number, name) in [(2, "A"), (3, "B")] {
        kmon.console(number);
        kmon.shell(&format!(
            "i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo \"{name}$i;\"; \
             [ $((i % 100)) = 0 ] && sleep 0.05; done; echo end-of-{name}$((1+1))"
        ));
        kmon.press("\x1d");
        kmon.see_last_line("KMON#");
    }
    // Enters and leaves both consoles while both instances print.
    let mut ended = [false; 2];
    while ended != [true; 2] {
        for (at, mark) in ["end-of-A2", "end-of-B2"].into_iter().enumerate() {
            let greetings = kmon.printed().matches("kmconsole done").count();
            kmon.command(&format!("kmconsole {}", at + 2));
            let entered = || kmon.printed().matches("kmconsole done").count() > greetings;
            assert!(becomes_true(entered), "{}", kmon.screen());
            std::thread::sleep(std::time::Duration::from_millis(60));
            kmon.press("\x1d");
            kmon.see_last_line("KMON#");
            ended[at] |= kmon.printed().contains(mark);
        }
    }
    let printed = kmon.printed();
    for name in ["A", "B"] {
        let lines = printed.split([';', '\n', '\r']).filter_map(|word| {
            let number = word.strip_prefix(name)?;
            number.parse::<usize>().ok()
        });
        // A line that was cut when the console was left is shown again, whole.
        let mut lines: Vec<_> = lines.collect();
        let mut expected = 1;
        lines.retain(|&line| {
            let new = line == expected;
            expected += usize::from(new);
            new
        });
        assert_eq!(lines.len(), LINES, "{name}: {:?} is missing", expected);
    }
}

#[test]
fn control_c_reaches_the_instance_and_not_kmon() {
    let mut kmon = Operator::start(&[]);
    kmon.console(2);
    // One program prints and sleeps: a shell between two commands may lose an interrupt.
    kmon.shell("sh -c 'echo begun-$((1+1)); exec sleep 1000'");
    kmon.see("begun-2");
    kmon.press("\x03");
    kmon.see_last_line(SHELL_PROMPT);
    kmon.shell("echo alive-$((40+2))");
    kmon.see("alive-42");
    kmon.shell("kmexitconsole");
    // At the prompt it clears the line; in a command it ends the command.
    kmon.see_last_line("KMON#");
    kmon.press("nonsense\x03");
    kmon.command("kmmonitorall");
    kmon.see("part_id:3");
    // `^\` would end programs, but KMON and its instances continue.
    kmon.press("\x1c\x03");
    kmon.clear();
    kmon.command("kmexec 2 -- sh -c 'echo run-$((1+1)); sleep 1000'");
    kmon.see("run-2");
    kmon.press("\x03");
    kmon.see("kmexec: killed by signal");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn one_escape_key_leaves_and_two_send_one() {
    let mut kmon = Operator::start(&[]);
    kmon.console(2);
    kmon.shell("cat -v");
    kmon.press("a\x1d\x1db\r");
    kmon.see("a^]b");
    // It leaves inside pasted input, too; the rest is for KMON.
    kmon.press("pasted\x1dkmlist\r");
    kmon.see("STATE");
    kmon.see_last_line("KMON#");
    kmon.press("kmconsole 2\r");
    kmon.see_last_line("pasted");
    kmon.press("\x03");
    kmon.shell("echo back-$((1+1))");
    kmon.see("back-2");
}

#[test]
fn another_escape_key_can_be_chosen() {
    let mut kmon = Operator::start(&["--escape", "^A", "--prompt", "KMON# "]);
    kmon.console(2);
    kmon.press("\x01");
    kmon.see_last_line("KMON#");
}

#[test]
fn input_typed_ahead_reaches_its_destination() {
    let mut kmon = Operator::start(&[]);
    kmon.press("kmconsole 2\recho in-$((1+1))\rkmexitconsole\rkmconsole 3\recho in-$((1+2))\r");
    kmon.see("in-3");
    kmon.press("\x1d");
    // The console was left before the answer arrived, so the answer is unseen.
    kmon.console(2);
    kmon.see("in-2");
}

#[test]
fn a_new_size_of_the_terminal_reaches_the_instance() {
    let mut kmon = Operator::start(&[]);
    kmon.console(2);
    kmon.shell("stty size");
    kmon.see("40 150");
    kmon.resize(33, 99);
    kmon.see_last_line(SHELL_PROMPT);
    kmon.shell("until stty size | grep '^33 '; do sleep 0.1; done");
    kmon.see("33 99");
}

#[test]
fn a_full_screen_program_survives_leaving_the_console() {
    let mut kmon = Operator::start(&[]);
    let file = kmon.home.path().join("note");
    kmon.console(2);
    kmon.shell("vi note");
    kmon.see_alternate(true);
    kmon.press("ikmexitconsole\rsecond line");
    kmon.see("second line");
    kmon.press("\x1d");
    kmon.see_alternate(false);
    kmon.see_last_line("KMON#");
    kmon.press("kmconsole 2\r");
    kmon.see_alternate(true);
    kmon.see("second line");
    kmon.press("\x1b:wq\r");
    kmon.see_alternate(false);
    let written =
        || std::fs::read_to_string(&file).is_ok_and(|t| t == "kmexitconsole\nsecond line\n");
    assert!(
        becomes_true(written),
        "{:?}",
        std::fs::read_to_string(&file)
    );
    kmon.shell("top");
    kmon.see("load average");
    kmon.press("q");
    kmon.see_last_line(SHELL_PROMPT);
    kmon.shell("kmexitconsole");
    kmon.see_last_line("KMON#");
}

#[test]
fn a_killed_instance_is_reported_and_a_reset_restarts_it() {
    const DIED: &str = "instance 2 died: its first process was killed by signal 9";
    let mut kmon = Operator::start(&["--instances", "1"]);
    let kill = |kmon: &Operator| signal("-KILL", &kmon.home.running()[0].to_string());
    kmon.press("half a line");
    kmon.see_last_line("half a line");
    kill(&kmon);
    kmon.see(&format!("{DIED}; kmreset 2 starts it again"));
    kmon.see_last_line("KMON# half a line");
    kmon.press("\x15kmconsole 2\r");
    kmon.see("kmconsole: instance 2 is not running (dead: its first process was killed");
    kmon.command("kmreset 2");
    kmon.see("instance 2 is running");
    kmon.console(2);
    kmon.shell("echo again-$((1+1))");
    kmon.see("again-2");
    // Again, while the operator is in its console.
    kmon.press("\x1d");
    kmon.clear();
    kmon.console(2);
    kill(&kmon);
    // Input for the shell is not run as a command of KMON.
    kmon.see("## #instance 2: dead");
    kmon.see("press Enter to leave its console## #");
    kmon.press("exit\rquit\r");
    kmon.see(&format!("{DIED}; kmreset 2 starts it again"));
    kmon.see_last_line("KMON#");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn a_command_in_a_silent_instance_fails() {
    let mut kmon = Operator::start(&[]);
    let pid = kmon.daemon_pid(2);
    kmon.command("kmexec 2 -- sh -c 'echo run-$((1+1)); sleep 1000'");
    kmon.see("run-2");
    signal("-STOP", &pid);
    kmon.see("kmexec: instance 2 is silent; kmreset 2 starts it again");
    kmon.see_last_line("KMON#");
    kmon.command("kmreset 2");
    kmon.see("instance 2 is running");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn a_shell_that_always_ends_immediately_is_reported_once() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("short.toml");
    std::fs::write(&config, "[kmon]\nshell = '/bin/false'\n").unwrap();
    let config = config.to_str().unwrap();
    let mut kmon = Operator::start(&["--instances", "1", "--config", config]);
    kmon.see("instance 2's shell ends immediately (status 1)");
    kmon.command("kmexec 2 -- sleep 3");
    kmon.command("kmlist");
    kmon.see("running");
    assert_eq!(kmon.printed().matches("ends immediately").count(), 1);
}

#[test]
fn a_silent_guestd_is_reported_and_delays_no_other_instance() {
    let mut kmon = Operator::start(&[]);
    let pid = kmon.daemon_pid(2);
    signal("-STOP", &pid);
    kmon.see("instance 2 is silent");
    kmon.clear();
    kmon.command("kmlist");
    kmon.see("silent: no heartbeat");
    kmon.command("kmexec 3 -- sh -c 'echo quick-$((1+1))'");
    kmon.see("quick-2");
    kmon.clear();
    kmon.command("kmmonitorall -n 1");
    kmon.see("state:silent");
    signal("-CONT", &pid);
    kmon.see("instance 2 is running again");
    signal("-STOP", &pid);
    kmon.clear();
    kmon.command("kmreset 2");
    kmon.see("instance 2 is running");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn a_command_leaves_no_terminal_mode_set() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    kmon.command("kmexec 2 -- printf '\\033[?1049hfull-%s' screen");
    kmon.see_printed("full-screen");
    kmon.see_alternate(false);
    kmon.see_last_line("KMON#");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn a_signal_at_the_prompt_resets_the_editors_mode() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    kmon.see_last_line("KMON#");
    kmon.clear();
    kmon.press("half");
    kmon.see_last_line("half");
    signal("-TERM", &kmon.pid());
    kmon.see_printed("\x1b[?2004l");
}

#[test]
fn the_editor_works_again_after_kmon_was_stopped() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    kmon.command("kmlist");
    kmon.see_last_line("KMON#");
    let pid = kmon.pid();
    signal("-STOP", &pid);
    kmon.cook(); // As a shell does.
    signal("-CONT", &pid);
    kmon.see_raw();
    kmon.clear();
    kmon.press("\x1b[A");
    kmon.see_last_line("KMON# kmlist");
    kmon.press("\r");
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn a_restarted_guestd_gets_the_terminals_size() {
    let mut kmon = Operator::start(&["--instances", "1"]);
    let daemon = kmon.daemon_pid(2);
    kmon.console(2);
    signal("-KILL", &daemon);
    kmon.see("guestd was restarted");
    kmon.shell("stty size");
    kmon.see("40 150");
    kmon.press("\x1d");
    assert_eq!(kmon.quit(), 0);
}
