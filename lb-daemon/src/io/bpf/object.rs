//! The compiled programs, and how the kernel takes them.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;

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

/// Programs that belong together: one that takes packets, and those that it hands some over to.
#[derive(Debug)]
pub(super) struct Programs {
    /// The one that runs on interfaces.
    pub first: Xdp,
    /// The others, in the order of `PROGRAMS`.
    pub others: Vec<Xdp>,
}

/// The names of programs that belong together, in the same order, and where each is pinned.
pub(super) type Names = [(&'static str, PathBuf)];

/// Has the kernel take the maps of the object, with these sizes, and some programs, which are pinned.
///
/// Maps that are pinned under `maps` are used as they are, the others are made and pinned there.
pub(super) fn load(names: &Names, maps: &Path, layouts: &[Layout]) -> Result<Programs, StartError> {
    let object = embedded().ok_or(StartError::NoProgram)?;
    load_from(object, names, maps, layouts).map(|(programs, _)| programs)
}

/// The same from the object that logs packets, with what it logs.
///
/// It is loaded by each daemon anew, for only who loads a program may hear it without more privileges than a daemon has.
pub(super) fn load_logging(
    names: &Names,
    maps: &Path,
    layouts: &[Layout],
) -> Result<(Programs, PacketLog), StartError> {
    let object = embedded_logging().ok_or(StartError::NoProgram)?;
    let (programs, mut ebpf) = load_from(object, names, maps, layouts)?;
    Ok((programs, PacketLog::of(&mut ebpf)?))
}

/// Removes what is pinned where programs are to be: those of other maps, and what a kill has left.
fn unpin(names: &Names) -> Result<(), StartError> {
    for (_, pin) in names.iter().filter(|(_, pin)| pin.exists()) {
        fs::remove_file(pin).map_err(file("remove", pin))?;
    }
    Ok(())
}

fn load_from(
    object: &[u8],
    names: &Names,
    maps: &Path,
    layouts: &[Layout],
) -> Result<(Programs, Ebpf), StartError> {
    unpin(names)?;
    let mut loader = EbpfLoader::new();
    for layout in layouts {
        loader.map_max_entries(layout.name, layout.shape.entries);
        loader.map_pin_path(layout.name, maps.join(layout.name));
    }
    let mut ebpf = loader.load(object).map_err(|e| refused(&e))?;
    let wanted: Vec<&str> = names.iter().map(|(name, _)| *name).collect();
    verify(&mut ebpf, &wanted).map_err(|e| refused_program(&e))?;
    for (name, pin) in names {
        let Some(Program::Xdp(program)) = ebpf.program_mut(name) else {
            return Err(StartError::NoProgram);
        };
        program
            .pin(pin)
            .map_err(|e| file("pin", pin)(io::Error::other(e)))?;
    }
    Ok((open(names)?, ebpf))
}

/// Has the kernel verify XDP programs, each on a thread of its own: that takes most of a start's time.
///
/// # Errors
///
/// The verifier refuses one of them.
pub fn verify(ebpf: &mut Ebpf, names: &[&str]) -> Result<(), ProgramError> {
    let wanted = ebpf
        .programs_mut()
        .filter(|(name, _)| names.contains(name))
        .map(|(_, program)| program);
    thread::scope(|scope| {
        let verifying: Vec<_> = wanted
            .map(|program| scope.spawn(|| <&mut Xdp>::try_from(program).and_then(Xdp::load)))
            .collect();
        verifying
            .into_iter()
            .try_for_each(|verified| verified.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

/// Programs over the maps of an earlier daemon. If that loaded the same, they need not be verified again, which takes most of
/// a start's time.
pub(super) fn load_once(
    names: &Names,
    pins: &Pins,
    layouts: &[Layout],
) -> Result<Programs, StartError> {
    if names.iter().all(|(_, pin)| pin.exists()) {
        let programs = open(names)?;
        if programs.use_all(&pins.map_ids(layouts)?) {
            return Ok(programs);
        }
    }
    load(names, &pins.maps(), layouts)
}

/// Opens pinned programs.
fn open(names: &Names) -> Result<Programs, StartError> {
    let mut programs = Vec::with_capacity(names.len());
    for (_, pin) in names {
        let program = Xdp::from_pin(pin, XdpAttachType::Interface);
        programs.push(program.map_err(|e| refused_program(&e))?);
    }
    if programs.is_empty() {
        return Err(StartError::NoProgram);
    }
    Ok(Programs {
        first: programs.remove(0),
        others: programs,
    })
}

impl Programs {
    /// Whether the programs work on these very maps, each of which one of them uses.
    fn use_all(&self, maps: &[u32]) -> bool {
        let programs = std::iter::once(&self.first).chain(&self.others);
        let used: HashSet<u32> = programs
            .filter_map(|program| program.info().ok()?.map_ids().ok()?)
            .flatten()
            .collect();
        maps.iter().all(|id| used.contains(id))
    }
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
