//! The compiled programs, and how the kernel takes them.

use std::fs;
use std::io;
use std::path::Path;

use aya::programs::{Program, ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};
use aya_obj::programs::XdpAttachType;

use super::error::StartError;
use super::layout::Layout;
use super::packets::PacketLog;
use super::pins::{Pins, file};

/// The object with all programs and maps; `None` when the daemon was built without.
pub(super) fn embedded() -> Option<&'static [u8]> {
    #[cfg(xdp_object)]
    {
        Some(aya::include_bytes_aligned!(concat!(
            env!("OUT_DIR"),
            "/lb.o"
        )))
    }
    #[cfg(not(xdp_object))]
    {
        None
    }
}

/// The object with the edition of the director's program that logs packets.
fn embedded_logging() -> Option<&'static [u8]> {
    #[cfg(xdp_object)]
    {
        Some(aya::include_bytes_aligned!(concat!(
            env!("OUT_DIR"),
            "/lb_log.o"
        )))
    }
    #[cfg(not(xdp_object))]
    {
        None
    }
}

/// A number that tells this object from others.
pub(super) const DIGEST: u64 = match u64::from_str_radix(env!("LB_XDP_DIGEST"), 10) {
    Ok(digest) => digest,
    Err(_) => panic!("build.rs writes a number"),
};

/// Has the kernel take the maps of the object, with these sizes, and one program, which is pinned.
///
/// Maps that are pinned under `maps` are used as they are, the others are made and pinned there.
pub(super) fn load(
    name: &'static str,
    maps: &Path,
    layouts: &[Layout],
    pin: &Path,
) -> Result<Xdp, StartError> {
    let object = embedded().ok_or(StartError::NoProgram)?;
    load_from(object, name, maps, layouts, pin).map(|(program, _)| program)
}

/// The same from the object that logs packets, with what it logs.
///
/// It is loaded by each daemon anew, for only who loads a program may hear it without more privileges than a daemon has.
pub(super) fn load_logging(
    name: &'static str,
    maps: &Path,
    layouts: &[Layout],
    pin: &Path,
) -> Result<(Xdp, PacketLog), StartError> {
    if pin.exists() {
        fs::remove_file(pin).map_err(file("remove", pin))?;
    }
    let object = embedded_logging().ok_or(StartError::NoProgram)?;
    let (program, mut ebpf) = load_from(object, name, maps, layouts, pin)?;
    Ok((program, PacketLog::of(&mut ebpf)?))
}

fn load_from(
    object: &[u8],
    name: &'static str,
    maps: &Path,
    layouts: &[Layout],
    pin: &Path,
) -> Result<(Xdp, Ebpf), StartError> {
    let mut loader = EbpfLoader::new();
    for layout in layouts {
        loader.map_max_entries(layout.name, layout.shape.entries);
        loader.map_pin_path(layout.name, maps.join(layout.name));
    }
    let mut ebpf = loader.load(object).map_err(|e| refused(&e))?;
    let Some(Program::Xdp(program)) = ebpf.program_mut(name) else {
        return Err(StartError::NoProgram);
    };
    program.load().map_err(|e| refused_program(&e))?;
    program
        .pin(pin)
        .map_err(|e| file("pin", pin)(io::Error::other(e)))?;
    Ok((open(pin)?, ebpf))
}

/// A program over the maps of an earlier daemon. If that loaded the same, it need not be verified again, which takes most of
/// a start's time.
pub(super) fn load_once(
    name: &'static str,
    pins: &Pins,
    layouts: &[Layout],
) -> Result<Xdp, StartError> {
    let pin = pins.program(DIGEST);
    if pin.exists() {
        let program = open(&pin)?;
        if uses(&program, &pins.map_ids(layouts)?) {
            return Ok(program);
        }
        fs::remove_file(&pin).map_err(file("remove", &pin))?;
    }
    load(name, &pins.maps(), layouts, &pin)
}

/// Opens a pinned program.
fn open(pin: &Path) -> Result<Xdp, StartError> {
    Xdp::from_pin(pin, XdpAttachType::Interface).map_err(|e| refused_program(&e))
}

/// Whether a program works on these very maps.
fn uses(program: &Xdp, maps: &[u32]) -> bool {
    let used = program.info().and_then(|info| info.map_ids());
    used.is_ok_and(|used| used.is_some_and(|used| maps.iter().all(|id| used.contains(id))))
}

fn refused(error: &EbpfError) -> StartError {
    StartError::Load {
        reason: chain(error),
        hint: "lower `connections: max` if memory is short; `dmesg` may tell more",
    }
}

fn refused_program(error: &ProgramError) -> StartError {
    StartError::Load {
        reason: chain(error),
        hint: "the verifier's log above says where; report it with the output of `uname -r`",
    }
}

/// An error and what caused it, on one line; of a verifier's log the end, which says what is wrong.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = e.source();
    }
    shorten(&text)
}

/// The first line and the last ones of a long text.
fn shorten(text: &str) -> String {
    const LAST: usize = 20;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    match lines.split_first() {
        Some((first, rest)) if rest.len() > LAST => {
            let (_, last) = rest.split_at(rest.len() - LAST);
            format!("{first}\n…\n{}", last.join("\n"))
        }
        _ => text.trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_shown() {
        let log: Vec<String> = (0..1000).map(|i| i.to_string()).collect();
        let short = shorten(&log.join("\n"));
        assert!(
            short.starts_with("0\n…\n980\n") && short.ends_with("\n999"),
            "{short}"
        );
        assert_eq!(shorten("one\ntwo\n"), "one\ntwo");
    }
}
