//! Which instances a command acts on: numbers, names, ranges or all.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::bail;

use super::session::Session;
use crate::api::instances::{List, Row};
use crate::config::InstanceName;
use crate::monitor;
use crate::text;

/// One instance: its number or name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Number(u8),
    Name(String),
}

/// Instances, separated by commas: `2`, `web`, `2,5-7,web`, `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selection(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    One(Key),
    /// `text` is the range as it was typed, which can also be a name.
    Range {
        first: u8,
        last: u8,
        text: String,
    },
    All,
}

/// An instance that a command acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) number: u8,
    /// Its name, which marks what is printed; `None` if a single number or name was typed.
    pub(super) label: Option<String>,
}

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if number >= monitor::FIRST => return Ok(Self::Number(number)),
            Ok(1) => return Err("1 is KMON itself; instances count from 2".into()),
            _ => {}
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        match InstanceName::try_from(text.to_owned()) {
            Ok(name) if !is_number => Ok(Self::Name(name.0)),
            _ => Err("not the number or name of an instance; kmlist lists them".into()),
        }
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(Part::from_str);
        Ok(Self(parts.collect::<Result<_, _>>()?))
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let ends = text.split_once('-');
        let ends = ends.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
        let Some((first, last)) = ends else {
            return Ok(Self::One(text.parse()?));
        };
        if first < monitor::FIRST {
            return Err("instances count from 2".into());
        }
        if first > last {
            return Err("a range goes from the lower to the higher number, as in 2-5".into());
        }
        let text = text.to_owned();
        Ok(Self::Range { first, last, text })
    }
}

impl Session {
    /// Returns the number of the instance that `key` means.
    ///
    /// # Errors
    /// No instance has this name. That a number exists is not checked.
    pub(super) fn number(&self, key: &Key) -> anyhow::Result<u8> {
        match key {
            Key::Number(number) => Ok(*number),
            Key::Name(name) => {
                let row: Row = self.client.get(&format!("/v1/instances/{name}"))?;
                Ok(row.number)
            }
        }
    }

    /// Returns the instances that `selections` mean, in the order of their numbers. For `all`,
    /// these are the ones for which `suits` returns true.
    ///
    /// # Errors
    /// A name does not exist, or nothing is selected.
    pub(super) fn choose(
        &self,
        selections: &[Selection],
        suits: impl Fn(&Row) -> bool,
    ) -> anyhow::Result<Vec<Target>> {
        if let [Selection(parts)] = selections
            && let [Part::One(key)] = parts.as_slice()
        {
            let (number, label) = (self.number(key)?, None);
            return Ok(vec![Target { number, label }]);
        }
        let List { instances } = self.client.get("/v1/instances")?;
        let parts = selections.iter().flat_map(|selection| &selection.0);
        select(parts, &instances, suits)
    }
}

fn select<'a>(
    parts: impl IntoIterator<Item = &'a Part>,
    rows: &[Row],
    suits: impl Fn(&Row) -> bool,
) -> anyhow::Result<Vec<Target>> {
    let mut selected = BTreeMap::new();
    for part in parts {
        let found = found(part, rows, &suits)?;
        selected.extend(found.into_iter().map(|row| (row.number, row.name.clone())));
    }
    if selected.is_empty() {
        bail!("no instance is in a state for this; kmlist shows the states");
    }
    let selected = selected.into_iter();
    let targets = selected.map(|(number, name)| Target {
        number,
        label: Some(name),
    });
    Ok(targets.collect())
}

fn found<'r>(
    part: &Part,
    rows: &'r [Row],
    suits: impl Fn(&Row) -> bool,
) -> anyhow::Result<Vec<&'r Row>> {
    let with = |wanted: &dyn Fn(&Row) -> bool| -> Vec<&'r Row> {
        rows.iter().filter(|row| wanted(row)).collect()
    };
    let (found, what) = match part {
        Part::All => return Ok(with(&suits)),
        Part::One(Key::Number(number)) => (with(&|row| row.number == *number), number.to_string()),
        Part::One(Key::Name(name)) => (with(&|row| row.name == *name), text::brief(name)),
        Part::Range { first, last, text } => match with(&|row| row.name == *text) {
            named if !named.is_empty() => (named, text.clone()),
            _ => {
                let inside = with(&|row| (*first..=*last).contains(&row.number));
                (inside, format!("from {first} to {last}"))
            }
        },
    };
    if found.is_empty() {
        bail!("there is no instance {what}; kmlist lists them");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u8, name: &str, state: &str) -> Row {
        let row = serde_json::json!({
            "number": number, "name": name, "kind": "process", "state": state, "unseen_bytes": 0,
            "kernel_unseen_bytes": 0, "dropped_bytes": 0, "discarded_commands": 0
        });
        serde_json::from_value(row).unwrap()
    }

    fn selected(text: &str) -> anyhow::Result<Vec<u8>> {
        let rows = [
            row(2, "web", "running"),
            row(3, "part3", "halted"),
            row(5, "2-3", "running"),
            row(7, "db-1", "running"),
        ];
        let Selection(parts) = text.parse().map_err(anyhow::Error::msg)?;
        let targets = select(&parts, &rows, Row::is_alive)?;
        Ok(targets.into_iter().map(|target| target.number).collect())
    }

    #[test]
    fn numbers_names_ranges_and_all_select_each_instance_once() {
        for (text, expected) in [
            ("2", vec![2]),
            ("db-1,web,2", vec![2, 7]),
            ("3-6,7", vec![3, 5, 7]),
            // A name has priority over a range.
            ("2-3", vec![5]),
            // Only those in a suitable state.
            ("all", vec![2, 5, 7]),
            ("all,3", vec![2, 3, 5, 7]),
        ] {
            assert_eq!(selected(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_selects_nothing_is_an_error() {
        for (text, expected) in [
            ("9", "there is no instance 9;"),
            ("2,mail", "there is no instance mail;"),
            ("8-200", "there is no instance from 8 to 200;"),
            ("1", "1 is KMON itself"),
            ("1-3", "instances count from 2"),
            ("4-3", "from the lower to the higher"),
            ("256", "not the number or name"),
            ("2,", "not the number or name"),
            ("", "not the number or name"),
            ("a b", "not the number or name"),
            ("-n", "not the number or name"),
        ] {
            let error = selected(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
