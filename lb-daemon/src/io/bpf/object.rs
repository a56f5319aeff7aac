//! The compiled programs, and how the kernel takes them.

use std::path::Path;

use aya::programs::{Program, ProgramError, Xdp};
use aya::{Ebpf, EbpfError, EbpfLoader};

use super::error::StartError;
use super::layout::Layout;

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

/// Has the kernel take the maps of the object, with these sizes, and one program.
///
/// Maps that are pinned under `pins` are used as they are, the others are made and pinned there.
pub(super) fn load(
    program: &'static str,
    pins: &Path,
    layouts: &[Layout],
) -> Result<Ebpf, StartError> {
    let object = embedded().ok_or(StartError::NoProgram)?;
    let mut loader = EbpfLoader::new();
    for layout in layouts {
        loader.map_max_entries(layout.name, layout.shape.entries);
        loader.map_pin_path(layout.name, pins.join(layout.name));
    }
    let mut ebpf = loader.load(object).map_err(|e| refused(&e))?;
    xdp(&mut ebpf, program)?
        .load()
        .map_err(|e| refused_program(&e))?;
    Ok(ebpf)
}

/// A program of the object.
pub(super) fn xdp<'e>(
    ebpf: &'e mut Ebpf,
    program: &'static str,
) -> Result<&'e mut Xdp, StartError> {
    match ebpf.program_mut(program) {
        Some(Program::Xdp(xdp)) => Ok(xdp),
        _ => Err(StartError::NoProgram),
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

/// An error and what caused it, in one line; of the verifier's log the end.
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
    text
}
