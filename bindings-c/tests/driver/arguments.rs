//! A C program, generated from the header, that calls every function with invalid arguments.
//!
//! Each pointer in turn is NULL, misaligned or a handle that is not open, while all other arguments
//! are valid (`tests/c/all.h`). The header's comments say where NULL is valid, too.

use std::fmt::Write;

use crate::header::{functions, Function, Parameter};

/// Returns the program, with one test for each function.
pub(crate) fn as_c() -> String {
    let mut text = String::from(
        "/* Generated from include/shmr.h. */\n#include <limits.h>\n#include \"all.h\"\n",
    );
    // The library under test is for coherent memory.
    let is_included =
        |function: &Function| function.condition.as_deref() != Some("SHMR_NONCOHERENT");
    for function in functions().into_iter().filter(is_included) {
        let calls = calls(&function);
        assert!(!calls.is_empty(), "{} is called", function.name);
        let _ = write!(
            text,
            "\nTEST({}_refuses_invalid_arguments)\n{{\n{}}}\n",
            function.name,
            calls.concat()
        );
    }
    text
}

/// Returns the calls of one function, each with a new region.
fn calls(function: &Function) -> Vec<String> {
    let mut calls = Vec::new();
    for (at, parameter) in function.parameters.iter().enumerate() {
        for (bad, refused) in bad(parameter) {
            let arguments = arguments(function, Some((at, &bad)));
            calls.push(call(function, &arguments, refused));
        }
    }
    if calls.is_empty() {
        // No pointers: the function must return for any numbers.
        for number in ["0", "1", "-1", "INT_MAX"] {
            let numbers = vec![number; function.parameters.len()];
            let casts = function.parameters.iter().zip(numbers);
            let numbers: Vec<_> = casts
                .map(|(parameter, number)| format!("({}){number}", parameter.kind))
                .collect();
            calls.push(format!(
                "\t(void){}({});\n",
                function.name,
                numbers.join(", ")
            ));
        }
    }
    calls
}

fn call(function: &Function, arguments: &str, refused: bool) -> String {
    let call = format!("{}({arguments})", function.name);
    let check = match (refused, function.returns.as_str()) {
        (true, "enum shmr_status") => format!("RETURNS({call}, SHMR_EINVAL);"),
        (false, "enum shmr_status") => format!("CHECK({call} != SHMR_EINVAL);"),
        (true, "int") => format!("SAME({call}, -1);"),
        (_, "struct shmr_liveness") => {
            format!("struct shmr_liveness made = {call};\n\t\tSAME(made.state(made.context, all.incarnation), SHMR_ALIVE);")
        }
        (true, _) => format!("SAME((uintptr_t){call}, 0);"),
        (false, _) => format!("(void){call};"),
    };
    format!("\t{{\n\t\tmake_all();\n\t\t{check}\n\t\tend_all();\n\t}}\n")
}

/// Returns all arguments; one of them is replaced.
fn arguments(function: &Function, replaced: Option<(usize, &str)>) -> String {
    let parameters = function.parameters.iter().enumerate();
    let all: Vec<_> = parameters
        .map(|(at, parameter)| match replaced {
            Some((which, bad)) if which == at => format!("({}){bad}", cast(parameter)),
            _ => good(function, parameter),
        })
        .collect();
    all.join(", ")
}

fn cast(parameter: &Parameter) -> &str {
    match parameter.kind.as_str() {
        "(*)" => "int (*)(void *, const void *, size_t)",
        kind => kind,
    }
}

/// Returns a valid argument.
fn good(function: &Function, parameter: &Parameter) -> String {
    let of_ring = ["shmr_producer", "shmr_consumer", "shmr_ring"]
        .iter()
        .any(|prefix| function.name.starts_with(prefix));
    let opens_channel = ["shmr_client_open", "shmr_server_open"].contains(&&*function.name);
    let good = match parameter.kind.trim_start_matches("const ") {
        "struct shmr_segment *" if of_ring => "&all.ring",
        "char *" if opens_channel => "\"another\"",
        "void *" | "char *" if parameter.name == "base" => "all.shmr_segment.base",
        "void *" | "char *" => "all.bytes",
        "size_t *" => "&all.size",
        "uint32_t *" => "&all.word",
        "void **" if parameter.kind.starts_with("const") => "&all.const_at",
        "void **" => "&all.at",
        "(*)" => "take_all",
        "uint32_t" if ["incarnation", "earlier"].contains(&&*parameter.name) => "all.incarnation",
        "size_t" if parameter.name == "len" && parameter.text.contains("mapped") => "FIXTURE_LEN",
        "uint8_t" => "4",
        "uint32_t" if parameter.name == "on_restart" => "SHMR_KEEP",
        "uint32_t" | "size_t" | "uint64_t" | "int" => "8",
        kind => match kind.strip_prefix("struct ") {
            Some(name) if parameter.text.contains("to be opened") => {
                return format!("(struct {name})to_be_opened()")
            }
            Some(name) => return format!("&all.{}", name.trim_end_matches(" *")),
            None => panic!("{}: no argument for a {kind}", function.name),
        },
    };
    good.to_owned()
}

/// Returns invalid arguments for a parameter, and whether the call must refuse each.
fn bad(parameter: &Parameter) -> Vec<(String, bool)> {
    let kind = parameter.kind.trim_start_matches("const ");
    if !kind.ends_with('*') && kind != "(*)" || parameter.name == "context" {
        return Vec::new();
    }
    let mut all = vec![("NULL".to_owned(), !may_be_null(parameter))];
    let Some(name) = kind.strip_suffix('*').map(str::trim) else {
        return all;
    };
    if !["void", "char"].contains(&name) {
        all.push(("misaligned()".to_owned(), true));
    }
    let handle = name.strip_prefix("struct ").is_some_and(is_handle);
    if handle && !parameter.text.contains("to be ") {
        for which in ["ZEROES", "GARBAGE", "OTHER_TYPE"] {
            all.push((format!("not_open({which})"), true));
        }
        let open = format!("all.{}", name.trim_start_matches("struct "));
        all.push((format!("copy_of(&{open}, sizeof({open}))"), true));
    }
    all
}

/// Returns the text of a comment in one line.
fn words(comment: &str) -> String {
    let words = comment.split(|c: char| c == '*' || c.is_whitespace());
    let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

/// Returns true if the comment of the parameter, or of its struct, allows NULL.
fn may_be_null(parameter: &Parameter) -> bool {
    let header = crate::read("include/shmr.h");
    let name = parameter
        .kind
        .trim_start_matches("const ")
        .trim_end_matches([' ', '*']);
    let of_struct = header
        .split("/**")
        .find(|part| part.contains(&format!(" * {name} - ")))
        .is_some_and(|part| words(part).contains("A NULL pointer to this struct"));
    let is_result = parameter.text.contains("to be ");
    parameter.text.contains("or NULL") || of_struct && !is_result
}

/// Returns true if a struct of the header is a handle: it has an error and opaque memory.
fn is_handle(name: &str) -> bool {
    let header = crate::read("include/shmr.h");
    let body = header
        .split_once(&format!(" {name} {{"))
        .and_then(|(_, rest)| rest.split_once('}'));
    body.is_some_and(|(body, _)| body.contains("error;") && body.contains("opaque["))
}
