//! What the tests of the C ABI share: the libraries as the script makes them, compilers, and programs that must succeed.

// Not every test uses everything.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The top of the repository.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is a folder of the repository")
}

/// A folder for what this test binary makes, empty at its start.
pub fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Runs a command that must succeed. A tool that is missing is named with its install line.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().unwrap_or_else(|e| {
        panic!("{program} cannot be run ({e}): apt-get install gcc g++ libc6-dev binutils pkg-config");
    });
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    output
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The folder of the libraries, built once per test binary; cargo builds only what changed.
pub fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| PathBuf::from(text(&run(&mut script("ffi/build-lib.sh"))).trim()))
}

/// A script that builds the libraries.
pub fn script(path: &str) -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a folder of the target folder");
    let mut script = Command::new(top().join(path));
    // Flags of this build (of a sanitizer, of a coverage run) are not for the libraries.
    script.env("CARGO_TARGET_DIR", target).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    script
}

/// What a static link needs beside the library.
pub const STATIC_LIBS: [&str; 6] = ["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl"];

/// A C compiler as strict as the header promises to bear.
pub fn gcc() -> Command {
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g", "-D_POSIX_C_SOURCE=200809L"]);
    gcc.arg("-I").arg(top().join("include"));
    gcc
}

/// The same sources as C++.
pub fn gxx() -> Command {
    let mut gxx = Command::new("g++");
    gxx.args(["-std=c++11", "-x", "c++", "-Wall", "-Wextra", "-Werror", "-O1", "-g", "-D_POSIX_C_SOURCE=200809L"]);
    gxx.arg("-I").arg(top().join("include"));
    gxx
}

/// Builds one program with the shared library, which it finds where it is.
pub fn build_shared(mut compiler: Command, source: &Path, to: &Path) {
    let libraries = libraries();
    compiler.arg(source).arg("-o").arg(to);
    // The language switch of g++ must not reach the libraries.
    compiler.args(["-x", "none"]).arg("-L").arg(libraries);
    compiler.arg("-lhostwheel").arg(format!("-Wl,-rpath,{}", libraries.display())).arg("-lpthread");
    run(&mut compiler);
}

/// Builds one program with the static library.
pub fn build_static(mut compiler: Command, source: &Path, to: &Path) {
    compiler.arg(source).arg("-o").arg(to).args(["-x", "none"]);
    compiler.arg(libraries().join("libhostwheel.a")).args(STATIC_LIBS);
    run(&mut compiler);
}

/// All C sources of a folder of this crate.
pub fn sources(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(folder).expect("the folder exists").map(|entry| entry.expect("readable").path());
    let mut sources: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|e| e == "c")).collect();
    sources.sort();
    assert!(!sources.is_empty());
    sources
}
