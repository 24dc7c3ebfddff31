//! A file that is there whole or not at all: written beside its place under another name, made durable, then renamed.
//!
//! The temporary of `dir/name` is `dir/.name.<process>.<number>.tmp`. Its writer holds a lock on it (`flock`), which goes
//! away with the writer, however that ends. So a temporary that nobody holds was left over by a process that was killed, and
//! the next writer of the same file removes it. (A process number would not tell: containers that share a volume count
//! their processes from 1 each.)

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;

use crate::error::{RestoreError, SnapshotError};
use crate::sync::{AtomicU64, Ordering};

/// Replaces `target` by what `fill` writes, or leaves it as it is.
pub(super) fn replace<T>(target: &Path, fill: impl FnOnce(&File) -> io::Result<T>) -> Result<T, SnapshotError> {
    let failed = |step| move |error| SnapshotError::Io { step, error };
    let name = target.file_name().ok_or_else(|| failed("use the path, which names no file")(nameless()))?;
    let folder_path = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = File::open(folder_path).map_err(failed("open the snapshot's folder"))?;
    remove_left_overs(folder_path, name);
    let temporary = Temporary::create(folder_path, name).map_err(failed("create a temporary file"))?;
    let filled = fill(&temporary.file).map_err(failed("write the temporary file"))?;
    temporary.file.sync_all().map_err(failed("sync the temporary file"))?;
    temporary.rename(target).map_err(failed("rename the temporary file to the snapshot"))?;
    // The rename itself is in the folder.
    folder.sync_all().map_err(SnapshotError::NotDurable)?;
    Ok(filled)
}

fn nameless() -> io::Error {
    io::Error::from(ErrorKind::InvalidInput)
}

/// Opens a snapshot to read it.
pub(super) fn open(path: &Path) -> Result<File, RestoreError> {
    // Not blocking: to open a pipe would wait for its writer. For files it means nothing.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(RestoreError::Io)?;
    let kind = file.metadata().map_err(RestoreError::Io)?.file_type();
    if kind.is_file() { Ok(file) } else { Err(RestoreError::NotASnapshot) }
}

/// A file that goes away again, unless it is renamed.
struct Temporary {
    file: File,
    path: PathBuf,
    renamed: bool,
}

impl Temporary {
    fn create(folder: &Path, name: &OsStr) -> io::Result<Temporary> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        loop {
            // Relaxed: only uniqueness matters.
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let mut own = OsStr::new(".").to_os_string();
            own.push(name);
            own.push(format!(".{}.{number}.tmp", process::id()));
            let path = folder.join(own);
            // Only for the owner: ids may be nobody else's business.
            let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                // Of a process with our number, in another container or before us.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            // Another writer has taken it for left over, and is about to remove it. (Where files cannot be locked, nobody
            // takes ours for left over.)
            if lock(&file).is_err_and(|e| e.kind() == ErrorKind::WouldBlock) {
                continue;
            }
            let temporary = Temporary { file, path, renamed: false };
            // Or it was removed already.
            if temporary.file.metadata()?.nlink() > 0 {
                return Ok(temporary);
            }
        }
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // There is an error to report already.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes temporaries of `name` that nobody writes any more. What cannot be removed costs nothing but its room.
fn remove_left_overs(folder: &Path, name: &OsStr) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if !is_temporary_of(&entry.file_name(), name) {
            continue;
        }
        let path = entry.path();
        // To write, as some network file systems lock for themselves alone only what is open for that.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let Ok(file) = OpenOptions::new().write(true).custom_flags(flags).open(&path) else { continue };
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        // Removed while it is locked, so that its writer, if it just made it, finds it gone and makes another.
        if is_file && lock(&file).is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Whether `file` is `.<name>.<digits>.<digits>.tmp`.
fn is_temporary_of(file: &OsStr, name: &OsStr) -> bool {
    let middle = file.as_bytes().strip_prefix(b".").and_then(|rest| rest.strip_prefix(name.as_bytes()));
    let Some(numbers) = middle.and_then(|rest| rest.strip_prefix(b".")?.strip_suffix(b".tmp")) else { return false };
    let mut parts = numbers.split(|byte| *byte == b'.');
    let mut number = || parts.next().is_some_and(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit));
    number() && number() && parts.next().is_none()
}

/// Takes the file's lock, which the end of the process gives back at the latest; `WouldBlock` if another has it.
fn lock(file: &File) -> io::Result<()> {
    // SAFETY: takes plain numbers; the descriptor is open.
    let refused = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporaries_are_told_from_other_files() {
        let is = |file: &str| is_temporary_of(OsStr::new(file), OsStr::new("hosts.snap"));
        assert!(is(".hosts.snap.1.0.tmp"));
        assert!(is(".hosts.snap.4711.23.tmp"));
        for other in [
            "hosts.snap",
            "hosts.snap.1.0.tmp",
            ".hosts.snap.tmp",
            ".hosts.snap.1.tmp",
            ".hosts.snap.1..tmp",
            ".hosts.snap.1.2.3.tmp",
            ".hosts.snap.a.0.tmp",
            ".hosts.snap.1.0.tmp~",
            ".hosts.snap2.1.0.tmp",
            ".other.1.0.tmp",
        ] {
            assert!(!is(other), "{other}");
        }
    }
}
