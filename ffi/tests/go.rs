//! Runs the Go package's own tests. Where there is no Go they are left out, and said to be; `HOSTWHEEL_REQUIRE_GO=1` does not
//! allow that.

mod build;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use hostwheel::{Config, Event, HostWheel, Interval, Verdict};

use build::{libraries, run, scratch, script, text, top};

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

/// What a command printed.
fn check(what: &str, command: &mut Command) -> String {
    let output = command.output().expect("go runs");
    assert!(
        output.status.success(),
        "{what}:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What has Go link the library: the line that the package's script prints.
fn linking() -> (String, String) {
    static LINE: OnceLock<String> = OnceLock::new();
    let line = LINE.get_or_init(|| text(&run(&mut script("ffi/go/native.sh"))));
    let line = line.trim().strip_prefix("export ").expect("a line for the shell");
    let (variable, value) = line.split_once('=').expect("a variable and its value");
    (variable.to_owned(), value.trim_matches('\'').to_owned())
}

#[test]
fn the_go_package_passes_its_tests_without_cgo() {
    let Some(mut go) = go() else { return };
    check("go test", go.env("CGO_ENABLED", "0").args(["test", "-count=1", "./..."]));
}

#[test]
fn the_go_package_passes_its_tests_on_the_library() {
    let Some(mut go) = go() else { return };
    check("go test", go.envs([linking()]).args(["test", "-count=1", "-tags", "hostwheel_native", "./..."]));
}

#[test]
fn the_native_backend_says_what_it_needs() {
    let Some(mut go) = go() else { return };
    go.env("CGO_ENABLED", "0").args(["build", "-tags", "hostwheel_native", "./..."]);
    let output = go.output().expect("go runs");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("needs_cgo_and_Linux"), "{said}");
}

/// Hosts as a snapshot tells of them: id, interval and age.
fn hosts_of(wheel: &HostWheel) -> Vec<(Vec<u8>, Option<Duration>, Duration)> {
    let mut hosts = Vec::new();
    wheel.each(|host| {
        let status = wheel.inspect(host.handle).expect("it is known");
        hosts.push((host.id.to_vec(), status.interval, status.age));
        ControlFlow::Continue(())
    });
    hosts.sort();
    hosts
}

/// The Go package takes over the hosts of a wheel in Rust, and the other way round.
#[test]
fn a_snapshot_passes_from_rust_to_go_and_back() {
    let Some(mut go) = go() else { return };
    let folder = scratch("go-snapshot");
    let (from_rust, from_go) = (folder.join("rust.snapshot"), folder.join("go.snapshot"));
    let open = || {
        let config = Config { watchdog: Duration::ZERO, ..Config::default() };
        HostWheel::manual(config, |_: &Event| Verdict::Done).expect("a wheel opens")
    };
    let wheel = open();
    wheel.announce("worker-1", Duration::from_secs(30)).expect("it registers");
    wheel.announce([0, 255, b'\n'], Interval::NONE).expect("it registers");
    wheel.announce([b'x'; 1024], Duration::from_secs(4000)).expect("it registers");
    wheel.advance(Duration::from_secs(61)).expect("time passes"); // one is suspect
    wheel.announce("worker-2", Duration::from_millis(1001)).expect("it registers");
    wheel.advance(Duration::from_millis(61_500)).expect("time passes");
    wheel.snapshot(&from_rust).expect("it is written");

    go.env("CGO_ENABLED", "0").env("HOSTWHEEL_SNAPSHOT_IN", &from_rust).env("HOSTWHEEL_SNAPSHOT_OUT", &from_go);
    let said = check("go test", go.args(["test", "-count=1", "-v", "-run", "TestASnapshotOfTheRustCore", "."]));
    assert!(said.contains("--- PASS: TestASnapshotOfTheRustCore"), "{said}");

    let restored = open();
    restored.restore(&from_go).expect("Go writes what Rust reads");
    // Restoring limits an age to the interval, which is half of the host TTL for who names none.
    let limited = |(id, interval, age): (Vec<u8>, Option<Duration>, Duration)| {
        let most = interval.unwrap_or(Duration::from_secs(1800));
        (id, interval, age.min(most))
    };
    let expected: Vec<_> = hosts_of(&wheel).into_iter().map(limited).collect();
    assert_eq!(expected.len(), 4);
    assert_eq!(hosts_of(&restored), expected);
}

/// A folder with somebody else's module, which uses the package.
fn outside(name: &str) -> PathBuf {
    let folder = scratch(name);
    let required = "github.com/hostwheel/hostwheel/ffi/go";
    let module = format!(
        "module example.org/outside\n\ngo 1.25\n\nrequire {required} v0.0.0\n\nreplace {required} => {}\n",
        module().canonicalize().expect("it exists").display()
    );
    std::fs::write(folder.join("go.mod"), module).expect("it can be written");
    std::fs::write(folder.join("main.go"), OUTSIDE).expect("it can be written");
    folder
}

/// With the shared library where it was installed, as pkg-config says.
#[test]
fn an_installed_library_is_linked_by_pkg_config() {
    if go().is_none() {
        return;
    }
    let folder = outside("go-installed");
    let prefix = folder.join("usr");
    run(Command::new(top().join("ffi/install.sh")).env("PREFIX", &prefix).env("HOSTWHEEL_BUILT", libraries()));
    let mut pkg_config = Command::new("pkg-config");
    pkg_config.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(["--libs", "hostwheel"]);
    let mut go = Command::new("go");
    go.current_dir(&folder).stdin(Stdio::null()).args(["run", "-tags", "hostwheel_native", "."]);
    go.env("CGO_LDFLAGS", text(&run(&mut pkg_config)).trim()).env("LD_LIBRARY_PATH", prefix.join("lib"));
    assert_eq!(check("go run", &mut go), "native: a has left\n");
}

/// A program of somebody else: a module of its own, with and without the library, also from vendored sources.
#[test]
fn a_module_outside_the_repository_builds_and_runs() {
    if go().is_none() {
        return;
    }
    let folder = outside("go-outside");
    let line = linking();
    let step = |native: bool, arguments: &[&str]| {
        let mut go = Command::new("go");
        go.current_dir(&folder).stdin(Stdio::null()).args(arguments);
        if native {
            go.envs([line.clone()]);
        } else {
            go.env("CGO_ENABLED", "0");
        }
        check(&format!("go {}", arguments.join(" ")), &mut go)
    };
    for round in ["from the folder", "vendored"] {
        assert_eq!(step(false, &["run", "."]), "pure: a has left\n", "{round}");
        assert_eq!(step(true, &["run", "-tags", "hostwheel_native", "."]), "native: a has left\n", "{round}");
        step(false, &["mod", "vendor"]);
    }
}

const OUTSIDE: &str = r#"package main

import (
	"fmt"
	"time"

	hostwheel "github.com/hostwheel/hostwheel/ffi/go"
)

func main() {
	wheel, err := hostwheel.New(hostwheel.Config[string]{
		Manual:   true,
		Watchdog: hostwheel.Off,
		Leave: func(e *hostwheel.Event[string]) hostwheel.Verdict {
			fmt.Println(e.Value(), "has left")
			return hostwheel.Done
		},
	})
	if err != nil {
		panic(err)
	}
	fmt.Print(wheel.Backend(), ": ")
	if _, _, err := wheel.Announce("a", time.Minute, "a"); err != nil {
		panic(err)
	}
	if _, err := wheel.Advance(time.Hour); err != nil {
		panic(err)
	}
}
"#;
