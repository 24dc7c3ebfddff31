//! Runs the Go package's own tests. Where there is no Go they are left out, and said to be; `HOSTWHEEL_REQUIRE_GO=1` does not
//! allow that.

use std::path::PathBuf;
use std::process::{Command, Stdio};

const REQUIRE: &str = "HOSTWHEEL_REQUIRE_GO";

fn module() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("go")
}

/// `go` in the Go module's folder; `None` if there is no Go and none is required.
fn go() -> Option<Command> {
    let mut version = Command::new("go");
    version.arg("version").stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::null());
    let found = version.status().is_ok_and(|status| status.success());
    let required = std::env::var(REQUIRE).is_ok_and(|value| value == "1");
    assert!(
        found || !required,
        "Go is missing and {REQUIRE}=1: install Go 1.25 or later, see https://go.dev/doc/install"
    );
    if !found {
        // Past the harness, which shows what a passing test prints to nobody.
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "Go is not installed: the tests of the Go package did NOT run");
        return None;
    }
    let mut go = Command::new("go");
    go.current_dir(module()).stdin(Stdio::null());
    Some(go)
}

fn check(what: &str, command: &mut Command) {
    let output = command.output().expect("go runs");
    assert!(
        output.status.success(),
        "{what}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn the_go_package_passes_its_tests_without_cgo() {
    let Some(mut go) = go() else { return };
    check("go test", go.env("CGO_ENABLED", "0").args(["test", "-count=1", "./..."]));
}
