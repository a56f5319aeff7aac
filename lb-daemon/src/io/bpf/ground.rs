//! May a program be brought up here? Everything that can be refused is looked at before anything is changed.

use std::path::Path;

use super::error::StartError;
use super::links::{self, Interface};
use super::object;
use super::pins::Pins;
use crate::io::lock::InstanceLock;
use crate::io::preflight;

/// Where a program can be brought up: nobody else is at work there, and what is there fits.
pub(super) struct Ground {
    /// The pin directory.
    pub pins: Pins,
    /// Where the program is to run.
    pub interfaces: Vec<Interface>,
    /// Whether an earlier daemon left maps.
    pub adopted: bool,
    /// Keeps others away.
    pub lock: InstanceLock,
}

impl Ground {
    /// Looks. `fits` says whether the maps that an earlier daemon left are what is needed; with `replace` other programs
    /// on the interfaces are no hindrance.
    pub(super) fn look(
        pin_dir: &Path,
        interfaces: &[String],
        replace: bool,
        fits: impl FnOnce(&Pins) -> Result<(), StartError>,
    ) -> Result<Self, StartError> {
        preflight::capabilities()?;
        preflight::kernel()?;
        let interfaces = links::interfaces(interfaces)?;
        if object::embedded().is_none() {
            return Err(StartError::NoProgram);
        }
        preflight::bpf_fs(pin_dir)?;
        let lock = InstanceLock::directory(pin_dir)?;
        let pins = Pins::new(pin_dir);
        let adopted = pins.has_maps();
        if adopted {
            fits(&pins)?;
        }
        if !replace {
            links::check(&pins, &interfaces)?;
        }
        Ok(Self {
            pins,
            interfaces,
            adopted,
            lock,
        })
    }

    /// Brings a program up. Where that fails, what it has made is taken away again.
    pub(super) fn build<T>(
        self,
        bring_up: impl FnOnce(Self) -> Result<T, StartError>,
    ) -> Result<T, StartError> {
        let (pins, adopted) = (self.pins.clone(), self.adopted);
        let result = bring_up(self);
        if result.is_err() && !adopted {
            // Whatever was made so far was made here.
            drop(links::remove_everything(&pins));
        }
        result
    }
}
