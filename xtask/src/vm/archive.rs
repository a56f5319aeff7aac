//! How is a file system packed for the kernel to unpack at boot? (cpio, format `newc`; the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst)

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// The type bits of a mode: a folder, a file, a symbolic link.
const FOLDER: u32 = 0o04_0000;
const FILE: u32 = 0o10_0000;
const LINK: u32 = 0o12_0000;

/// An archive that is being written.
pub(super) struct Archive<W: Write> {
    out: W,
    /// What it has already. An entry that comes again is left out.
    names: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// An empty one.
    pub(super) fn new(out: W) -> Self {
        Self {
            out,
            names: BTreeSet::new(),
        }
    }

    /// A folder, and those above it.
    pub(super) fn folder(&mut self, path: &Path) -> io::Result<()> {
        let mut above: Vec<&Path> = path.ancestors().collect();
        above.reverse();
        above
            .into_iter()
            .try_for_each(|path| self.entry(path, FOLDER | 0o755, &[]))
    }

    /// A file of these bytes that everybody may run.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.folder(path.parent().unwrap_or(path))?;
        self.entry(path, FILE | 0o755, content)
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &Path, to: &str) -> io::Result<()> {
        self.folder(path.parent().unwrap_or(path))?;
        self.entry(path, LINK | 0o777, to.as_bytes())
    }

    /// Write the end.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.write("TRAILER!!!", 0, &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        let name = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        let name = name.trim_start_matches('/');
        if name.is_empty() || !self.names.insert(name.to_owned()) {
            return Ok(());
        }
        self.write(name, mode, content)
    }

    /// Thirteen numbers of eight hexadecimal digits after the magic, the name with its zero, and the content; name and
    /// content end at multiples of four.
    fn write(&mut self, name: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        let size = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let number = self.names.len();
        write!(
            self.out,
            "070701{number:08X}{mode:08X}{:016X}{:08X}{:08X}",
            0, 1, 0
        )?;
        write!(
            self.out,
            "{size:08X}{:032X}{:08X}{:08X}",
            0,
            name.len() + 1,
            0
        )?;
        write!(self.out, "{name}\0")?;
        pad(&mut self.out, 110 + name.len() + 1)?;
        self.out.write_all(content)?;
        pad(&mut self.out, content.len())
    }
}

fn pad(out: &mut impl Write, written: usize) -> io::Result<()> {
    out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
}

/// Write an archive to a file.
pub(super) fn to_file(path: &Path) -> io::Result<Archive<io::BufWriter<File>>> {
    Ok(Archive::new(io::BufWriter::with_capacity(
        1 << 20,
        File::create(path)?,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed() -> Vec<u8> {
        let mut archive = Archive::new(Vec::new());
        archive.file(Path::new("/a/b"), b"12345").unwrap();
        archive.file(Path::new("/a/b"), b"again").unwrap();
        archive.link(Path::new("/a/c"), "b").unwrap();
        archive.finish().unwrap()
    }

    #[test]
    fn each_entry_comes_once_and_after_its_folder() {
        let text = String::from_utf8(packed()).unwrap();
        let at = |what: &str| text.find(what).unwrap();
        assert!(at("a\0") < at("a/b\0") && at("a/b\0") < at("a/c\0"));
        assert!(text.contains("12345") && !text.contains("again"));
    }

    #[test]
    fn every_header_begins_at_a_multiple_of_four_and_is_110_bytes() {
        let bytes = packed();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let headers: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(headers.len(), 4);
        for at in headers {
            assert_eq!(at % 4, 0);
            let name_size = usize::from_str_radix(&text[at + 94..at + 102], 16).unwrap();
            assert_eq!(bytes[at + 110 + name_size - 1], 0, "the name's zero");
        }
    }
}
