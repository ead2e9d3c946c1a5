//! Guestd and KMON die at random while an instance prints: no byte is lost, and no command
//! runs twice.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{Fed, Home, assert_back, becomes_true, home, signal};

/// A pseudo-random number generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// Instance 3 prints a known stream while instance 2's guestd and KMON are killed at random.
/// `KMON_STORM` sets how often, `KMON_STORM_SEED` the seed.
#[test]
fn random_deaths_lose_no_byte_and_run_no_command_twice() {
    let home = home();
    let config = fs::read_to_string(home.path().join("kmon.toml")).unwrap();
    fs::write(
        home.path().join("kmon.toml"),
        config + "log_bytes = 33554432\n",
    )
    .unwrap();
    let mut storm = Storm::begin(&home);
    let seed = number("KMON_STORM_SEED", 0x5eed);
    let mut dice = Dice(seed.max(1));
    for round in 0..number("KMON_STORM", 30) {
        std::thread::sleep(Duration::from_millis(dice.below(700)));
        storm.strike(round, &mut dice);
    }
    storm.end();
}

struct Storm<'h> {
    home: &'h Home,
    kmon: Option<Fed>,
    back: Vec<Duration>,
    deaths: u64,
}

impl<'h> Storm<'h> {
    const STREAM: &'static str = "(until [ -e go ]; do sleep 0.1; done; i=0; echo BEGIN-$((1+1)); \
        until [ -e stop ]; do n=0; while [ $n -lt 50 ]; do i=$((i+1)); n=$((n+1)); \
        echo \"line $i of a stream that is known\"; done; sleep 0.02; done; \
        echo END-$i-$((1+1)); : > done) &";

    fn begin(home: &'h Home) -> Self {
        let mut kmon = Fed::start_in(home, &[]);
        kmon.ask(&format!("kmconsole 3\n{}\nkmexitconsole", Self::STREAM));
        fs::write(home.path().join("go"), "").unwrap();
        Self {
            home,
            kmon: Some(kmon),
            back: Vec::new(),
            deaths: 0,
        }
    }

    /// Kills one or both while a command is pending, and waits until both run again.
    fn strike(&mut self, round: u64, dice: &mut Dice) {
        let mut kmon = self.kmon.take().unwrap();
        let pid = kmon.daemon_pid(2);
        let tokens = self.home.path().join("tokens");
        let tokens = tokens.display();
        kmon.send(&format!("kmexec 2 -- sh -c 'echo {round} >> {tokens}'"));
        std::thread::sleep(Duration::from_millis(dice.below(20)));
        let killed = Instant::now();
        let what = dice.below(4);
        let (guestd, kmon_too) = (what != 1, what != 0);
        if guestd && what != 3 {
            signal("-KILL", &pid);
        }
        if kmon_too {
            kmon.kill();
            if what == 3 {
                signal("-KILL", &pid);
            }
            // Some KMONs are killed before they have found the instances.
            for _ in 0..dice.below(3) {
                let short_lived = Fed::start_in(self.home, &[]);
                std::thread::sleep(Duration::from_millis(dice.below(60)));
                short_lived.kill();
                self.deaths += 1;
            }
            kmon = Fed::start_in(self.home, &[]);
        }
        self.deaths += u64::from(guestd) + u64::from(kmon_too);
        let old = pid.parse::<u64>().unwrap();
        kmon.list_until(2, |one| {
            let other = one["pid"].as_u64().is_some_and(|pid| pid != old);
            one["state"] == "running" && (other || !guestd)
        });
        self.back.push(killed.elapsed());
        self.kmon = Some(kmon);
    }

    fn end(mut self) {
        let mut kmon = self.kmon.take().unwrap();
        fs::write(self.home.path().join("stop"), "").unwrap();
        assert!(becomes_true(|| self.home.path().join("done").exists()));
        let mut log = Vec::new();
        let ended = becomes_true(|| {
            log = kmon.ask("kmlog 3 --all");
            String::from_utf8_lossy(&log).contains("\nEND-")
        });
        let log = String::from_utf8_lossy(&log);
        let end = log.chars().rev().take(200).collect::<Vec<_>>();
        let end: String = end.iter().rev().collect();
        assert!(ended, "the stream does not end: {end:?}");
        let stream = log.split("BEGIN-2\r\n").nth(1).unwrap();
        let (stream, end) = stream.split_once("END-").unwrap();
        let count: u64 = end.split('-').next().unwrap().parse().unwrap();
        let line = |n| format!("line {n} of a stream that is known\r\n");
        let expected: String = (1..=count).map(line).collect();
        if stream != expected {
            let both = stream.bytes().zip(expected.bytes());
            let at = both.take_while(|(a, b)| a == b).count();
            let rest = &stream.as_bytes()[at..];
            let rest = String::from_utf8_lossy(&rest[..rest.len().min(200)]);
            panic!("the stream differs from byte {at} on: {rest:?}");
        }
        assert_eq!(kmon.list(3)["dropped_bytes"], 0);
        let tokens = fs::read_to_string(self.home.path().join("tokens")).unwrap_or_default();
        let tokens: Vec<u64> = tokens.lines().map(|line| line.parse().unwrap()).collect();
        assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
        self.back.sort();
        println!(
            "{} deaths; {} bytes of the stream are correct; {} of {} commands ran, none late; \
             restart times: median {:?}, maximum {:?}",
            self.deaths,
            stream.len(),
            tokens.len(),
            self.back.len(),
            self.back[self.back.len() / 2],
            self.back[self.back.len() - 1],
        );
        assert_back("the slowest restart", self.back[self.back.len() - 1]);
        assert_eq!(kmon.leave("quit"), Some(0));
        assert!(self.home.running().is_empty());
    }
}
