//! The declarations of include/shmr.h, read from its text.

use std::collections::BTreeSet;

use libtest_mimic::Trial;

use crate::{ensure, read, trial, Outcome};

/// A function of the header.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) returns: String,
    pub(crate) parameters: Vec<Parameter>,
    /// Its comment.
    pub(crate) text: String,
    /// The macro that it is declared under, if any.
    pub(crate) condition: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    /// The declared type; `(*)` for a pointer to a function.
    pub(crate) kind: String,
    /// Its description in the comment.
    pub(crate) text: String,
}

pub(crate) fn functions() -> Vec<Function> {
    let header = read("include/shmr.h");
    let parts: Vec<_> = header.split("/**").collect();
    parts
        .windows(2)
        .filter_map(|pair| {
            let (text, rest) = pair[1].split_once("*/")?;
            function(text, rest, condition(pair[0]))
        })
        .collect()
}

/// Returns the macro in the last line before a comment, if that is `#if defined`.
fn condition(before: &str) -> Option<String> {
    let line = before.trim_end().lines().next_back()?;
    let name = line.strip_prefix("#if defined(")?.strip_suffix(')')?;
    Some(name.to_owned())
}

/// Returns the function whose comment is `text` and whose declaration starts `rest`, if it is one.
fn function(text: &str, rest: &str, condition: Option<String>) -> Option<Function> {
    let declaration = rest.trim_start().split_once(';')?.0;
    let declaration: Vec<_> = declaration.split_whitespace().collect();
    let declaration = declaration.join(" ");
    let (before, parameters) = declaration.split_once('(')?;
    let before = before.trim();
    let at = before.rfind([' ', '*'])? + 1;
    let name = &before[at..];
    if !name.starts_with("shmr_") || declaration.contains('{') || before.starts_with("extern") {
        return None;
    }
    Some(Function {
        name: name.to_owned(),
        returns: before[..at].trim().to_owned(),
        parameters: split(parameters.strip_suffix(')')?)
            .into_iter()
            .filter(|parameter| parameter != "void")
            .map(|declared| parameter(&declared, text))
            .collect(),
        text: text.to_owned(),
        condition,
    })
}

/// Splits parameters at commas that are not inside parentheses.
fn split(parameters: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in parameters.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("there is one").push(letter);
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

fn parameter(declared: &str, comment: &str) -> Parameter {
    let (name, kind) = if let Some((_, rest)) = declared.split_once("(*") {
        (rest.split(')').next().unwrap_or(""), "(*)")
    } else {
        let at = declared.rfind([' ', '*']).map_or(0, |at| at + 1);
        (&declared[at..], declared[..at].trim())
    };
    Parameter {
        name: name.to_owned(),
        kind: kind.to_owned(),
        text: described(comment, name),
    }
}

/// Returns the text after `@name:` in a comment, up to the next item or an empty line.
fn described(comment: &str, name: &str) -> String {
    let mark = format!("@{name}:");
    let lines = comment
        .lines()
        .map(|line| line.trim().trim_start_matches('*').trim());
    let mut text = Vec::new();
    for line in lines.skip_while(|line| !line.starts_with(&mark)) {
        let goes_on = !text.is_empty();
        if goes_on && (line.is_empty() || line.starts_with('@')) {
            break;
        }
        text.push(line.trim_start_matches(&mark).trim());
    }
    text.join(" ")
}

/// Returns the names in `enum shmr_status`.
pub(crate) fn statuses() -> Vec<String> {
    let header = read("include/shmr.h");
    let body = header
        .split_once("enum shmr_status {")
        .and_then(|(_, rest)| rest.split_once("};"));
    let lines = body.map_or("", |(body, _)| body).lines();
    lines
        .filter_map(|line| line.trim().split_once(" = "))
        .map(|(name, _)| name.to_owned())
        .collect()
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "header::every_parameter_is_described",
            every_parameter_is_described,
        ),
        trial(
            "header::every_function_says_what_it_returns",
            every_function_says_what_it_returns,
        ),
        trial(
            "header::every_status_that_it_names_exists",
            every_status_that_it_names_exists,
        ),
    ]
}

fn every_parameter_is_described() -> Outcome {
    let functions = functions();
    ensure(functions.len() > 100, || {
        format!("only {}", functions.len())
    })?;
    for function in functions {
        for parameter in &function.parameters {
            ensure(!parameter.text.is_empty(), || {
                format!("{}: @{}", function.name, parameter.name)
            })?;
        }
    }
    Ok(())
}

fn every_function_says_what_it_returns() -> Outcome {
    for function in functions() {
        let says = function.text.contains("Return:");
        ensure(says, || function.name.clone())?;
        ensure(function.returns != "void", || function.name.clone())?;
    }
    Ok(())
}

fn every_status_that_it_names_exists() -> Outcome {
    let header = read("include/shmr.h");
    let known: BTreeSet<_> = statuses().into_iter().collect();
    for function in functions() {
        for word in function
            .text
            .split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        {
            let constant = header.contains(&format!("#define {word} "));
            ensure(
                !word.starts_with("SHMR_") || known.contains(word) || constant,
                || format!("{}: {word}", function.name),
            )?;
        }
    }
    Ok(())
}
