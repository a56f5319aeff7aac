//! What is this machine like?

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability};
use nix::unistd::{AccessFlags, access};

use super::error::BackendError;
use super::kernel::Kernel;
use crate::core::backend::setting::{Decap, Key, Sysctl, Tunnel};
use crate::core::backend::{Change, Facts, Role, Setting};
use crate::io::bpf::{self, Decapsulator};

/// Where the kernel has its parameters.
const PROC_SYS: &str = "/proc/sys";

/// Everything that matters to a role.
pub(super) async fn facts(
    kernel: &Kernel,
    role: &Role,
    pin_dir: &Path,
) -> Result<Facts, BackendError> {
    let interfaces = kernel.interfaces().await?;
    let mut tunnels = vec![Tunnel::Ip4, Tunnel::Ip6];
    tunnels
        .retain(|tunnel| interfaces.contains_key(tunnel.device()) || has_module(tunnel.module()));
    Ok(Facts {
        addresses: kernel.addresses().await?,
        default_routes: kernel.default_routes().await?,
        default_routes6: kernel.default_routes6().await?,
        proxies: kernel.proxies().await?,
        sysctls: sysctls(role),
        tunnels,
        can_decap: bpf::is_built_in(),
        decap: decap(pin_dir)?,
        interfaces,
    })
}

/// The parameters that exist of those that may matter.
fn sysctls(role: &Role) -> BTreeMap<Sysctl, String> {
    let [ip4, ip6] = [Tunnel::Ip4, Tunnel::Ip6].map(Tunnel::device);
    let interfaces = ["all", "lo", &role.interface, ip4, ip6];
    let names = interfaces
        .into_iter()
        .flat_map(|interface| Key::ALL.map(|key| Sysctl::new(interface, key)));
    names
        .filter_map(|name| {
            let value = fs::read_to_string(path(&name)).ok()?;
            Some((name, value.trim().to_owned()))
        })
        .collect()
}

/// What the program for tunnels does, if it is there.
fn decap(pin_dir: &Path) -> Result<Option<Decap>, BackendError> {
    let Some(mut left) = Decapsulator::look(pin_dir)? else {
        return Ok(None);
    };
    left.addresses.sort_unstable();
    let interface = left.interfaces.into_iter().next();
    Ok(interface.map(|interface| Decap {
        interface,
        addresses: left.addresses,
    }))
}

/// Whether the running kernel has a module, built in or to be loaded.
fn has_module(name: &str) -> bool {
    let Ok(uname) = nix::sys::utsname::uname() else {
        return false;
    };
    let dir = Path::new("/lib/modules").join(uname.release());
    let file = format!("/{name}.ko");
    ["modules.dep", "modules.builtin"]
        .iter()
        .any(|list| fs::read_to_string(dir.join(list)).is_ok_and(|list| list.contains(&file)))
}

/// The file of a parameter.
pub(super) fn path(name: &Sysctl) -> PathBuf {
    Path::new(PROC_SYS).join(name.path())
}

/// Whether this process may change the network at all.
pub(super) fn may_change() -> Result<(), BackendError> {
    let may = caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN);
    if may.unwrap_or(false) {
        return Ok(());
    }
    let words: Vec<String> = std::env::args().collect();
    Err(BackendError::NotRoot(words.join(" ")))
}

/// Whether the kernel parameters among these changes can be written.
pub(super) fn writable(changes: &[Change]) -> Result<(), BackendError> {
    for change in changes {
        let Setting::Sysctl { name, .. } = &change.new else {
            continue;
        };
        let path = path(name);
        // One that is still to come comes with its interface.
        if path.exists() {
            access(&path, AccessFlags::W_OK).map_err(|err| BackendError::ReadOnly {
                path: path.clone(),
                source: err.into(),
            })?;
        }
    }
    Ok(())
}
