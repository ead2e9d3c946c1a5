//! An operator works in a guest, at a terminal.

use std::sync::Arc;

use crate::common::{Operator, becomes_true};
use crate::guests::{guest, guest_release, home_of};

/// The end of the prompt of a guest's shell.
const PROMPT: &str = ":~# ";

fn operator(guests: usize) -> Operator {
    let home = home_of(&vec![guest(""); guests]);
    Operator::start_in(Arc::new(home), &[]).with_shells(PROMPT)
}

#[test]
fn the_session_in_the_paper_works_with_machines() {
    let mut kmon = operator(2);
    kmon.command("kmlist");
    kmon.see_that("two running guests", |screen| {
        screen.matches(" running").count() == 2
    });
    kmon.console(2);
    kmon.shell("ls /");
    kmon.see("init");
    kmon.see_last_line(PROMPT);
    kmon.shell("uname -a");
    let release = guest_release();
    kmon.see(&format!("Linux part2 {release} "));
    kmon.shell("kmexitconsole");
    kmon.console(3);
    kmon.shell("echo I-am-$(hostname)");
    kmon.see("I-am-part3");
    kmon.see_last_line(PROMPT);
    kmon.press("\x1d");
    kmon.clear();
    kmon.command("kmmonitorall -d 1 -n 2");
    // The screen is too small for all output.
    for number in [2, 3] {
        let title = format!("*****part_id:{number}*****");
        let twice = || kmon.printed().matches(&title).count() == 2;
        assert!(becomes_true(twice), "{}", kmon.printed());
    }
    kmon.clear();
    kmon.command("kmexec 3 -- sh -c 'echo unseen-$((1+1)) > /dev/pts/0'");
    kmon.command("kmlog 3");
    kmon.see("unseen-2");
    kmon.command("kmlog 3 --kernel");
    kmon.see("init: starting guestd");
    kmon.clear();
    assert_eq!(kmon.quit(), 0);
}

#[test]
fn full_screen_programs_control_c_and_the_window_size_work_in_a_guest() {
    let mut kmon = operator(1);
    kmon.console(2);
    kmon.shell("stty size");
    kmon.see("40 150");
    kmon.resize(33, 99);
    kmon.shell("until stty size | grep '^33 '; do sleep 0.1; done");
    kmon.see("33 99");
    kmon.shell("clear; vi note");
    kmon.see("note");
    kmon.see("~\n~\n~");
    kmon.press("ifirst line\rkmexitconsole");
    kmon.see("kmexitconsole");
    // The program goes on while the operator is not in the console.
    kmon.press("\x1d");
    kmon.see_last_line("KMON#");
    kmon.press("kmconsole 2\r");
    kmon.see_that("the file", |screen| {
        let lines = screen.lines().map(str::trim_end).take(2);
        lines.eq(["first line", "kmexitconsole"])
    });
    // The guest reads keys that come at once after an escape as one key.
    kmon.press("\x1b");
    kmon.see("- note [Modified]");
    kmon.press(":wq\r");
    kmon.shell("clear; sed s/^/read:/ note");
    kmon.see("read:first line\nread:kmexitconsole");
    // One program prints and sleeps: a shell between two commands may lose an interrupt.
    kmon.shell("sh -c 'echo begun-$((1+1)); exec sleep 1000'");
    kmon.see("begun-2");
    kmon.press("\x03");
    kmon.shell("yes");
    kmon.see("y\ny\ny\ny");
    kmon.press("\x03");
    kmon.see_last_line(PROMPT);
    kmon.shell("clear; echo alive-$((40+2))");
    kmon.see("alive-42");
    kmon.shell("kmexitconsole");
    assert_eq!(kmon.quit(), 0);
}
