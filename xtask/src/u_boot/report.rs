//! The result of the builds, and the size of KMON in them.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::size::Size;
use super::target::{Limits, Target};
use crate::console::Console;

/// The result for one target.
pub(super) struct Outcome {
    pub(super) target: &'static Target,
    pub(super) time: Duration,
    pub(super) built: Result<Built, String>,
}

pub(super) struct Built {
    pub(super) image: PathBuf,
    pub(super) archive: PathBuf,
    pub(super) without: Size,
    pub(super) with: Size,
    /// Region, lookup and ring, without KMON.
    pub(super) core: Size,
    /// Only a ring: opening both ends, push and pop.
    pub(super) ring: Size,
}

impl Built {
    /// Returns the size that KMON adds: its commands and the library.
    fn kmon(&self) -> Size {
        Size {
            code: self.with.code.saturating_sub(self.without.code),
            flash: self.with.flash.saturating_sub(self.without.flash),
        }
    }

    /// Describes the limits that are exceeded.
    pub(super) fn excess(&self, limits: Limits) -> Vec<String> {
        let costs = [
            ("a ring", self.ring.code, limits.ring),
            ("region, lookup and ring", self.core.code, limits.core),
            ("KMON", self.kmon().code, limits.kmon),
        ];
        let over = costs.iter().filter(|(_, cost, limit)| cost > limit);
        over.map(|(what, cost, limit)| format!("{what}: {cost} B of code, more than {limit}"))
            .collect()
    }
}

pub(super) fn list(targets: &[&Target], json: bool) {
    let console = Console { to_stderr: false };
    if json {
        let targets: Vec<_> = targets
            .iter()
            .map(|target| json!({ "name": target.name, "about": target.about }))
            .collect();
        console.line(&Value::from(targets).to_string());
        return;
    }
    for target in targets {
        console.line(&format!("{:<10}  {}", target.name, target.about));
    }
}

pub(super) fn summary(outcomes: &[Outcome], json: bool) {
    let text = if json {
        document(outcomes).to_string()
    } else {
        table(outcomes)
    };
    Console { to_stderr: false }.line(&text);
}

fn table(outcomes: &[Outcome]) -> String {
    let mut lines = vec![format!(
        "\n{:<10} {:>8} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}  {}",
        "TARGET", "TIME", "WITHOUT", "KMON", "CODE", "CORE", "CODE", "RING", "CODE", "IMAGE"
    )];
    for outcome in outcomes {
        let name = outcome.target.name;
        let time = outcome.time.as_secs_f64();
        lines.push(match &outcome.built {
            Ok(built) => format!(
                "{name:<10} {time:>6.1} s {:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}  {}",
                built.without.flash,
                built.kmon().flash,
                built.kmon().code,
                built.core.flash,
                built.core.code,
                built.ring.flash,
                built.ring.code,
                built.image.display()
            ),
            Err(_) => format!("{name:<10} {time:>6.1} s failed"),
        });
    }
    lines.push(
        "\nBytes of flash: WITHOUT is U-Boot without KMON; KMON is what its commands add;\n\
         CORE is the library's region, lookup and ring; RING is push and pop of a ring.\n\
         CODE is the code in the column before."
            .to_owned(),
    );
    lines.join("\n")
}

fn document(outcomes: &[Outcome]) -> Value {
    let targets: Vec<_> = outcomes
        .iter()
        .map(|outcome| {
            let mut row = json!({
                "name": outcome.target.name,
                "seconds": outcome.time.as_secs_f64(),
            });
            match &outcome.built {
                Ok(built) => {
                    row["image"] = built.image.display().to_string().into();
                    row["library"] = built.archive.display().to_string().into();
                    row["without_kmon"] = bytes(built.without);
                    row["with_kmon"] = bytes(built.with);
                    row["kmon"] = bytes(built.kmon());
                    row["core"] = bytes(built.core);
                    row["ring"] = bytes(built.ring);
                }
                Err(error) => row["error"] = error.as_str().into(),
            }
            row
        })
        .collect();
    json!({ "targets": targets })
}

fn bytes(size: Size) -> Value {
    json!({ "code": size.code, "flash": size.flash })
}

#[cfg(test)]
mod tests {
    use super::super::target::TARGETS;
    use super::*;

    fn size(code: u64) -> Size {
        let flash = code + 100;
        Size { code, flash }
    }

    fn built() -> Built {
        Built {
            image: "/o/u-boot.bin".into(),
            archive: "/o/libshmr.a".into(),
            without: size(1000),
            with: size(1500),
            core: size(200),
            ring: size(80),
        }
    }

    #[test]
    fn limits_are_for_code() {
        let (ring, core, kmon) = (80, 200, 500);
        assert!(built().excess(Limits { ring, core, kmon }).is_empty());
        let (ring, core, kmon) = (79, 199, 499);
        let excess = built().excess(Limits { ring, core, kmon });
        let expected = [
            "a ring: 80 B of code, more than 79",
            "region, lookup and ring: 200 B of code, more than 199",
            "KMON: 500 B of code, more than 499",
        ];
        assert_eq!(excess, expected);
    }

    #[test]
    fn the_table_and_the_document_agree() {
        let outcomes = [
            Outcome {
                target: &TARGETS[0],
                time: Duration::from_millis(1500),
                built: Ok(built()),
            },
            Outcome {
                target: &TARGETS[1],
                time: Duration::ZERO,
                built: Err("no compiler".to_owned()),
            },
        ];
        let table = table(&outcomes);
        assert!(table.contains(
            "sandbox       1.5 s      1100     500     500     300     200     180      80  /o/u-boot.bin"
        ));
        assert!(table.contains("qemu_arm64    0.0 s failed"));
        let document = document(&outcomes);
        assert_eq!(document["targets"][0]["kmon"]["flash"], 500);
        assert_eq!(document["targets"][0]["with_kmon"]["code"], 1500);
        assert_eq!(document["targets"][1]["error"], "no compiler");
    }
}
