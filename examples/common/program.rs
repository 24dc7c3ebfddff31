//! What every example program does: it says how it ended, and answers Ctrl-C.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use indicatif::ProgressStyle;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// The exit code of a run in which a promise was broken.
const BROKEN: u8 = 1;
/// The exit code of a run that came to no result.
const NO_RESULT: u8 = 2;
/// What a shell reports of a process that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Why a run has no result.
#[derive(Debug)]
pub enum Failure {
    /// Ctrl-C.
    Interrupted,
    /// Anything else, in words.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Interrupted => f.write_str("interrupted; whatever was started is ended"),
            Failure::Broken(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(e: io::Error) -> Failure {
        Failure::Broken(e.to_string())
    }
}

impl From<String> for Failure {
    fn from(why: String) -> Failure {
        Failure::Broken(why)
    }
}

/// The exit code of a program's run: whether every promise was kept, or why that cannot be said.
pub fn exit_code(program: &str, kept: Result<bool, Failure>) -> ExitCode {
    match kept {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(BROKEN),
        Err(failure) => {
            eprintln!("{program}: {failure}");
            ExitCode::from(if matches!(failure, Failure::Interrupted) { INTERRUPTED } else { NO_RESULT })
        }
    }
}

/// Gets true at the first Ctrl-C or SIGTERM, which asks; whoever is too impatient to wait for the answer repeats it.
pub fn interrupted() -> io::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED.into(), Arc::clone(&interrupted))?;
        flag::register(signal, Arc::clone(&interrupted))?;
    }
    Ok(interrupted)
}

/// A progress bar with that beside it.
#[allow(dead_code, reason = "some examples have bars of their own")]
pub fn bar(beside: &str) -> ProgressStyle {
    // Templates are literals; should one ever be wrong, a plain bar serves as well.
    ProgressStyle::with_template(&format!("{{bar:30}} {beside}")).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A seed that differs from run to run, short enough to be typed.
#[allow(dead_code, reason = "not every example draws its seed")]
pub fn fresh_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_micros())
}

/// Where cargo puts what it builds: this executable is in `<target>/<profile>/examples`.
pub fn target_directory() -> PathBuf {
    let executable = std::env::current_exe().unwrap_or_default();
    match executable.ancestors().nth(3) {
        Some(target) if target.join("CACHEDIR.TAG").exists() => target.to_path_buf(),
        _ => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
    }
}
