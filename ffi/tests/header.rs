//! The header is made from the sources, says what the library says, and bears strict compilers.

mod build;

use std::path::Path;

use build::{gcc, gxx, run, scratch, top};

/// Set to write the header instead of comparing it.
const BLESS: &str = "HOSTWHEEL_BLESS";

/// The header as the sources of a folder make it.
fn header_of(sources: &Path) -> String {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("cbindgen.toml");
    let mut builder = cbindgen::Builder::new().with_config(cbindgen::Config::from_file(config).expect("it is TOML"));
    for file in ["errors.rs", "types.rs", "lib.rs"] {
        builder = builder.with_src(sources.join(file));
    }
    let mut header = Vec::new();
    builder.generate().expect("the sources make a header").write(&mut header);
    String::from_utf8(header).expect("it is text")
}

/// The Go package's copy: `go get` fetches its own folder and no other.
fn copied() -> std::path::PathBuf {
    top().join("ffi/go/internal/native/hostwheel.h")
}

fn committed() -> String {
    std::fs::read_to_string(top().join("include/hostwheel.h")).expect("the header is committed")
}

#[test]
fn the_committed_header_is_that_of_the_sources() {
    let made = header_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    if std::env::var_os(BLESS).is_some() {
        std::fs::write(top().join("include/hostwheel.h"), &made).expect("it can be written");
        std::fs::write(copied(), &made).expect("it can be written");
    }
    assert!(
        made == committed(),
        "the header is not that of ffi/src: run the tests with {BLESS}=1 and look at the change"
    );
    assert!(
        std::fs::read_to_string(copied()).expect("the copy is committed") == committed(),
        "the Go package has another header: run the tests with {BLESS}=1"
    );
}

/// The check can fail: a field more, and a function less, make another header.
#[test]
fn a_changed_source_makes_another_header() {
    let folder = scratch("header-changed");
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for file in ["errors.rs", "types.rs", "lib.rs"] {
        std::fs::copy(sources.join(file), folder.join(file)).expect("it can be copied");
    }
    assert_eq!(header_of(&folder), committed());
    for (file, from, to) in [
        ("types.rs", "    pub retry_after_ns: u64,", "    pub retry_after_ns: u64,\n    pub more: u64,"),
        ("lib.rs", "fn hostwheel_release(", "fn hostwheel_let_go("),
        ("errors.rs", "HOSTWHEEL_ERR_ATTEMPT: i32 = -17", "HOSTWHEEL_ERR_ATTEMPT: i32 = -18"),
    ] {
        let text = std::fs::read_to_string(sources.join(file)).expect("it exists");
        assert!(text.contains(from), "{from}");
        std::fs::write(folder.join(file), text.replacen(from, to, 1)).expect("it can be written");
        assert_ne!(header_of(&folder), committed(), "{to}");
        std::fs::write(folder.join(file), text).expect("it can be written");
    }
}

#[test]
fn the_versions_are_those_of_the_crates() {
    let header = committed();
    let define = |name: &str| {
        let line = header.lines().find(|line| line.starts_with(&format!("#define {name} "))).expect(name);
        line.rsplit(' ').next().expect("a value").trim_matches('"').to_owned()
    };
    let version = ["MAJOR", "MINOR", "PATCH"].map(|part| define(&format!("HOSTWHEEL_VERSION_{part}"))).join(".");
    assert_eq!(
        (version.as_str(), define("HOSTWHEEL_VERSION").as_str()),
        (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_VERSION"))
    );
    let core = std::fs::read_to_string(top().join("Cargo.toml")).expect("it exists");
    assert!(core.contains(&format!("\nversion = \"{version}\"")), "the core has another version than its C ABI");
}

#[test]
fn the_header_stands_alone_twice_in_every_language() {
    let folder = scratch("header-alone");
    let source = folder.join("twice.c");
    std::fs::write(&source, "#include <hostwheel.h>\n#include <hostwheel.h>\nint main(void) { return 0; }\n")
        .expect("it can be written");
    for standard in ["-std=c99", "-std=c11", "-std=c17"] {
        run(gcc().arg(standard).arg("-fsyntax-only").arg(&source));
    }
    for standard in ["-std=c++11", "-std=c++17", "-std=c++20"] {
        run(gxx().arg(standard).arg("-Wpedantic").arg("-fsyntax-only").arg(&source));
    }
}

/// A compiler that packs the structs otherwise must refuse the header.
#[test]
fn another_layout_is_refused() {
    let folder = scratch("header-layout");
    let source = folder.join("packed.c");
    for standard in ["-std=c99", "-std=c11"] {
        std::fs::write(
            &source,
            "#include <stddef.h>\n#include <stdint.h>\n#define uint64_t uint32_t\n#include <hostwheel.h>\n",
        )
        .expect("it can be written");
        let refused = gcc().arg(standard).arg("-fsyntax-only").arg(&source).output().expect("gcc runs");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("hostwheel_layout"), "{said}");
    }
}

/// Each function's comment says its errors; each struct's field has a comment.
#[test]
fn the_header_reads_as_documentation() {
    let header = committed();
    let symbols = std::fs::read_to_string(top().join("ffi/symbols.txt")).expect("it exists");
    // What is for the Go package alone is not in the header.
    for symbol in symbols.lines().filter(|symbol| !symbol.starts_with("hostwheel_internal_")) {
        let declares = |line: &&str| !line.starts_with("//") && line.contains(&format!("{symbol}("));
        assert_eq!(header.lines().filter(declares).count(), 1, "{symbol}");
        let before = header.lines().take_while(|line| !declares(line)).collect::<Vec<_>>();
        let comment = before.iter().rev().take_while(|line| line.starts_with("//")).copied().collect::<String>();
        assert!(comment.len() > 20, "{symbol} has no comment of its own");
        let without = ["hostwheel_free", "hostwheel_strerror", "hostwheel_version", "hostwheel_abi_version"];
        assert!(comment.contains("Errors:") || without.contains(&symbol), "{symbol} does not say its errors");
    }
    let long = header.lines().find(|line| line.len() > 130);
    assert_eq!(long, None);
}
