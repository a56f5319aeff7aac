//! A command line that cannot be understood: what is wrong with it, and what to write?

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::failure::describe;
use super::render::style::{Style, When};
use crate::api::types::Problem;
use crate::config::value::Wrong;

/// The exit status of wrong usage.
const USAGE: u8 = 2;

/// Tells whoever wrote a command line what clap has to say about it: what is wrong, or help and version where they were asked
/// for. Gives the exit status.
pub fn explain(err: &Error, command: Command, args: &[OsString]) -> ExitCode {
    if !err.use_stderr() {
        err.exit();
    }
    let style = Style::detect(When::Auto, &std::io::stderr());
    let problem = problem(err, command, args);
    if is_help(err) {
        eprintln!("{}", err.render());
    }
    eprint!("{}", describe(&problem, style));
    ExitCode::from(USAGE)
}

/// Whether clap answers with help where a command is missing.
fn is_help(err: &Error) -> bool {
    err.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// What is wrong with a command line of `command`, and what to write.
pub(super) fn problem(err: &Error, command: Command, args: &[OsString]) -> Problem {
    let called = called(command, args, err);
    if is_help(err) {
        return Problem::invalid("a command is missing").hint(format!(
            "choose one of these; `{called} COMMAND --help` tells what it takes"
        ));
    }
    let help = format!("`{called} --help`");
    let text = err.render().to_string();
    let mut paragraphs = text.split("\n\n");
    let said = paragraphs.next().unwrap_or_default();
    let mut lines = said.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    let error = first.strip_prefix("error: ").unwrap_or(first);
    let usage = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("Usage: "));
    let hint = match (err.kind(), usage) {
        (ErrorKind::MissingRequiredArgument, Some(usage)) => {
            format!("write `{usage}`; {help} tells more")
        }
        (ErrorKind::ArgumentConflict, _) => {
            format!("leave one of them out; {help} tells what each does")
        }
        _ => instead(err, &help),
    };
    // What may be written is in the hint.
    let mut why: Vec<String> = lines
        .filter(|line| !line.starts_with('['))
        .map(str::to_owned)
        .collect();
    if !hint.starts_with("write `") {
        why.extend(usage.map(|usage| format!("usage: {usage}")));
    }
    let problem = Problem::invalid(error).hint(hint);
    if why.is_empty() {
        problem
    } else {
        problem.why(why.join("\n"))
    }
}

/// What to write instead of a word or a value.
fn instead(err: &Error, help: &str) -> String {
    let source = std::error::Error::source(err);
    if let Some(wrong) = source.and_then(|source| source.downcast_ref::<Wrong>()) {
        return wrong.hint.clone();
    }
    let nearest = [
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedArg,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(|kind| words(err, kind).pop());
    let all = words(err, ContextKind::ValidValue);
    let rest = if all.is_empty() {
        format!("{help} tells what it takes")
    } else {
        format!("the words are {}", all.join(", "))
    };
    match nearest {
        Some(word) => format!("did you mean `{word}`? {rest}"),
        None => rest,
    }
}

/// Words that clap knows about an error, the likeliest last.
fn words(err: &Error, kind: ContextKind) -> Vec<String> {
    match err.get(kind) {
        Some(ContextValue::String(word)) => vec![word.clone()],
        Some(ContextValue::Strings(words)) => words.clone(),
        _ => Vec::new(),
    }
}

/// As which command a command line was understood, as far as it was: `lbctl backend prepare`.
fn called(mut command: Command, args: &[OsString], err: &Error) -> String {
    let mut name = command.get_name().to_owned();
    let unknown = words(err, ContextKind::InvalidSubcommand);
    for arg in args.iter().skip(1).filter_map(|arg| arg.to_str()) {
        if unknown.iter().any(|word| word == arg) {
            break;
        }
        let flag = arg
            .strip_prefix('-')
            .and_then(|letters| letters.chars().next());
        let next = command.get_subcommands().find(|verb| {
            let is_flag = flag.is_some() && verb.get_short_flag() == flag;
            is_flag || verb.get_name() == arg || verb.get_all_aliases().any(|alias| alias == arg)
        });
        if let Some(next) = next.cloned() {
            name = format!("{name} {}", next.get_name());
            command = next;
        }
    }
    name
}
