//! docs/c-api.md: its programs are the examples, its table has every call.

use libtest_mimic::Trial;

use crate::{ensure, header, read, trial, Outcome};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "page::its_programs_are_the_examples",
            its_programs_are_the_examples,
        ),
        trial(
            "page::its_table_has_every_call_once",
            its_table_has_every_call_once,
        ),
        trial(
            "page::every_call_that_it_names_exists",
            every_call_that_it_names_exists,
        ),
    ]
}

fn page() -> String {
    read("../docs/c-api.md")
}

fn its_programs_are_the_examples() -> Outcome {
    let page = page();
    for example in ["receiver.c", "sender.c"] {
        let text = read(&format!("examples/{example}"));
        ensure(page.contains(&format!("```c\n{text}```\n")), || {
            format!("bindings-c/examples/{example} is not what docs/c-api.md has")
        })?;
    }
    Ok(())
}

/// The rows of the table of calls, by their first cell.
fn rows() -> Vec<String> {
    let page = page();
    let table = page
        .split_once("## Every call")
        .map_or("", |(_, rest)| rest);
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once('|'))
        .map(|(calls, _)| format!("`{calls}"))
        .collect()
}

fn its_table_has_every_call_once() -> Outcome {
    let calls = rows().concat();
    for function in header::functions() {
        let times = calls.matches(&format!("`{}`", function.name)).count();
        ensure(times == 1, || {
            format!("{} is there {times} times", function.name)
        })?;
    }
    Ok(())
}

fn every_call_that_it_names_exists() -> Outcome {
    let header = read("include/shmr.h");
    let page = page();
    let words = page.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    for name in words.filter(|word| word.starts_with("shmr_") || word.starts_with("SHMR_")) {
        let known = header.contains(name) || name == "shmr_examples";
        ensure(known, || name.to_owned())?;
    }
    Ok(())
}
