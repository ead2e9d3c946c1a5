//! A KMON on a pseudo-terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

use super::{Home, SHELL_PROMPT, becomes_true, guestd, home, kill_servers, kmon_through};

const PROMPT: &str = "KMON# ";

/// A KMON on a pseudo-terminal.
pub(crate) struct Operator {
    keys: File,
    terminal: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
    printed: Arc<Mutex<Vec<u8>>>,
    /// The terminal shows nothing more.
    stopped: Arc<Mutex<bool>>,
    child: Child,
    /// The prompt of the shells in the instances.
    shell_prompt: &'static str,
    pub(crate) home: Arc<Home>,
}

impl Operator {
    /// Starts KMON and waits for its prompt.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_in(Arc::new(home()), arguments)
    }

    /// Starts KMON in `home` and waits for its prompt.
    pub(crate) fn start_in(home: Arc<Home>, arguments: &[&str]) -> Self {
        let size = Winsize {
            ws_row: 40,
            ws_col: 150,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).unwrap();
        // `setsid --ctty` makes it the controlling terminal of KMON.
        let mut kmon = kmon_through(&["setsid", "--ctty"], &home);
        let end = || Stdio::from(pair.slave.try_clone().unwrap());
        if !home.has_server() {
            kmon.arg("--guestd").arg(guestd());
        }
        let child = kmon
            .args(arguments)
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let operator = Self {
            keys: File::from(pair.master),
            terminal: pair.slave,
            screen: Arc::new(Mutex::new(vt100::Parser::new(40, 150, 0))),
            printed: Arc::default(),
            stopped: Arc::default(),
            child,
            shell_prompt: SHELL_PROMPT,
            home,
        };
        operator.watch();
        operator.see(PROMPT);
        operator
    }

    /// Sets the end of the shells' prompts.
    pub(crate) fn with_shells(mut self, shell_prompt: &'static str) -> Self {
        self.shell_prompt = shell_prompt;
        self
    }

    fn watch(&self) {
        let mut output = self.keys.try_clone().unwrap();
        let (screen, printed) = (Arc::clone(&self.screen), Arc::clone(&self.printed));
        let stopped = Arc::clone(&self.stopped);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut bytes) {
                while *stopped.lock().unwrap() {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                screen.lock().unwrap().process(&bytes[..len]);
                printed.lock().unwrap().extend_from_slice(&bytes[..len]);
            }
        });
    }

    /// Stops showing what KMON prints, or continues. Meanwhile KMON's writes block.
    pub(crate) fn stop_reading(&self, stop: bool) {
        *self.stopped.lock().unwrap() = stop;
    }

    /// Presses keys.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for KMON's prompt and types a line.
    pub(crate) fn command(&mut self, line: &str) {
        self.see_last_line(PROMPT);
        self.press(&format!("{line}\r"));
    }

    /// Waits for the shell's prompt and types a line.
    pub(crate) fn shell(&mut self, line: &str) {
        self.see_last_line(self.shell_prompt);
        self.press(&format!("{line}\r"));
    }

    /// Enters a console and waits for its shell.
    pub(crate) fn console(&mut self, number: u8) {
        self.command(&format!("kmconsole {number}"));
        self.see(&format!("## #kmconsole done, cmd_redirection={number}## #"));
        self.see_last_line(self.shell_prompt);
    }

    /// Waits until the screen shows `text`.
    pub(crate) fn see(&self, text: &str) {
        self.see_that(&format!("`{text}`"), |screen| screen.contains(text));
    }

    /// Waits until the last line on the screen ends with `end`.
    pub(crate) fn see_last_line(&self, end: &str) {
        let end = end.trim_end();
        self.see_that(&format!("`{end}` at the end"), |screen| {
            screen.trim_end().ends_with(end)
        });
    }

    /// Waits until the screen satisfies `condition`.
    pub(crate) fn see_that(&self, what: &str, condition: impl Fn(&str) -> bool) {
        if !becomes_true(|| condition(&self.screen())) {
            panic!("no {what} on the screen:\n{}", self.screen());
        }
    }

    /// Waits until KMON has printed `text`, which may be an escape sequence.
    pub(crate) fn see_printed(&self, text: &str) {
        assert!(becomes_true(|| self.printed().contains(text)), "{text:?}");
    }

    /// Gives the terminal the settings that a shell sets for its commands.
    pub(crate) fn cook(&self) {
        let mut settings = tcgetattr(&self.terminal).unwrap();
        settings.local_flags |= LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        tcsetattr(&self.terminal, SetArg::TCSANOW, &settings).unwrap();
    }

    /// Waits until the terminal passes each key to KMON as it is pressed.
    pub(crate) fn see_raw(&self) {
        let is_raw = || {
            let settings = tcgetattr(&self.terminal).unwrap();
            !settings.local_flags.contains(LocalFlags::ICANON)
        };
        assert!(becomes_true(is_raw), "the terminal does not become raw");
    }

    /// Returns the content of the screen.
    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the alternate screen is on or off.
    pub(crate) fn see_alternate(&self, on: bool) {
        let is = || self.screen.lock().unwrap().screen().alternate_screen() == on;
        assert!(becomes_true(is), "alternate screen:\n{}", self.screen());
    }

    /// Returns all that was printed so far.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().unwrap()).into_owned()
    }

    /// Clears the screen.
    pub(crate) fn clear(&mut self) {
        self.see_last_line(PROMPT);
        self.press("\x0c");
        self.see_that("cleared screen", |screen| screen.trim() == PROMPT.trim());
    }

    /// Changes the size of the terminal.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let done = Command::new("stty")
            .args(["rows", &rows.to_string(), "cols", &columns.to_string()])
            .stdin(Stdio::from(self.terminal.try_clone().unwrap()))
            .status()
            .unwrap();
        assert!(done.success());
        let mut screen = self.screen.lock().unwrap();
        screen.screen_mut().set_size(rows, columns);
    }

    /// Returns the process of instance `number`'s guestd, from `kmlist`.
    pub(crate) fn daemon_pid(&mut self, number: u8) -> String {
        self.clear();
        self.command("kmlist");
        self.see("STATE");
        self.see_last_line(PROMPT);
        let name = format!("part{number}");
        let screen = self.screen();
        let mut words = screen.split_whitespace().skip_while(|word| *word != name);
        words.nth(1).unwrap().to_owned()
    }

    /// Kills this client, and then the server.
    pub(crate) fn kill(mut self) -> Arc<Home> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        kill_servers(&self.home.run_dir());
        Arc::clone(&self.home)
    }

    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// Waits for KMON's end, and returns the exit status.
    pub(crate) fn wait(mut self) -> Option<i32> {
        let mut status = None;
        let ended = becomes_true(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        assert!(ended, "KMON does not end:\n{}", self.screen());
        status.unwrap().code()
    }

    /// Ends everything, and returns the exit status.
    pub(crate) fn quit(self) -> i32 {
        self.leave("quit --all")
    }

    /// Runs the command that ends KMON, and returns the exit status.
    pub(crate) fn leave(mut self, command: &str) -> i32 {
        self.command(command);
        self.wait().unwrap()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
