//! Is each command of ours that the documents show one that exists, and each link one that leads somewhere?

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lb_daemon::cli::Cli;
use lb_daemon::core::doctor::Check;

#[test]
fn every_lbctl_command_is_understood() -> Result<()> {
    let mut seen = 0;
    for (document, text) in documents()? {
        for command in commands(&text, "lbctl ") {
            let words = command.split_whitespace();
            // An option without a verb is spoken of, not typed.
            if words
                .clone()
                .nth(1)
                .is_some_and(|word| word.starts_with('-'))
            {
                continue;
            }
            if let Err(refusal) = Cli::try_parse_from(words) {
                ensure!(
                    !refusal.use_stderr(),
                    "{}: `{command}`: {refusal}",
                    document.display()
                );
            }
            seen += 1;
        }
    }
    ensure!(seen > 10, "only {seen} commands");
    Ok(())
}

#[test]
fn every_link_to_a_file_leads_to_one() -> Result<()> {
    let mut seen = 0;
    for (document, text) in documents()? {
        let folder = document.parent().context("a document is in a folder")?;
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let file = link.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                ensure!(
                    folder.join(file).exists(),
                    "{}: no {file}",
                    document.display()
                );
                seen += 1;
            }
        }
    }
    ensure!(seen > 5, "only {seen} links");
    Ok(())
}

#[test]
fn each_check_of_the_doctor_is_described() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/doctor.md");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let described: Vec<&str> = text
        .lines()
        .skip_while(|line| {
            *line != "| check | what is looked at | what is wrong when it is not well |"
        })
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    let all = Check::ALL.map(Check::name);
    ensure!(
        described == all,
        "described {described:?}, there are {all:?}"
    );
    Ok(())
}

/// The README and all of `docs/`.
fn documents() -> Result<Vec<(PathBuf, String)>> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = vec![top.join("README.md"), top.join("CONTRIBUTING.md")];
    let mut folders = vec![top.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok((path, text))
    };
    paths.into_iter().map(read).collect()
}

/// The code in a document, in the line or in a block, that begins with `prefix`.
fn commands<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            found.push(line.trim_start_matches("# ").trim_start_matches("$ "));
        } else {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found.retain(|code| code.starts_with(prefix));
    found
        .iter()
        .map(|code| code.split(" #").next().unwrap_or(code).trim())
        .collect()
}
