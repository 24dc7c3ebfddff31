//! The libraries as files: what they export, what they are called, and that programs outside of this repository find them.

mod build;

use std::fs;
use std::path::Path;
use std::process::Command;

use build::{build_shared, gcc, libraries, run, scratch, sources, text, top};

fn golden() -> Vec<String> {
    fs::read_to_string(top().join("ffi/symbols.txt")).expect("it exists").lines().map(str::to_owned).collect()
}

/// The symbols that a library defines for others, sorted.
fn exported(library: &Path, flags: &[&str]) -> Vec<String> {
    let listed = text(&run(Command::new("nm").args(flags).arg("--defined-only").arg(library)));
    let mut names: Vec<String> =
        listed.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn only_the_functions_of_the_header_are_exported() {
    assert_eq!(exported(&libraries().join("libhostwheel.so.0"), &["-D"]), golden());
    assert_eq!(exported(&libraries().join("libhostwheel.a"), &["-g"]), golden());
    // The list is that of the sources, so a function that is forgotten here is found.
    let source = ["lib.rs", "internal.rs"]
        .map(|file| fs::read_to_string(top().join("ffi/src").join(file)).expect("it exists"))
        .concat();
    let mut functions: Vec<String> = source
        .split("extern \"C\" fn ")
        .skip(1)
        .filter(|rest| rest.starts_with("hostwheel_"))
        .map(|rest| rest.split('(').next().expect("a name").to_owned())
        .collect();
    functions.sort();
    assert_eq!(functions, golden());
}

#[test]
fn the_shared_library_has_its_name_and_stays_loaded() {
    let dynamic = text(&run(Command::new("readelf").arg("-d").arg(libraries().join("libhostwheel.so"))));
    let major = env!("CARGO_PKG_VERSION_MAJOR");
    assert!(dynamic.contains(&format!("Library soname: [libhostwheel.so.{major}]")), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    for link in ["libhostwheel.so".to_owned(), format!("libhostwheel.so.{major}")] {
        assert!(fs::symlink_metadata(libraries().join(&link)).expect("it exists").is_symlink(), "{link}");
    }
}

#[test]
fn the_static_library_is_small() {
    let bytes = fs::metadata(libraries().join("libhostwheel.a")).expect("it exists").len();
    assert!(bytes < 2 << 20, "{bytes} bytes");
}

/// Both panic inside, each in its own Rust.
#[test]
fn the_static_library_links_beside_another_one_written_in_rust() {
    let folder = scratch("beside");
    fs::write(
        folder.join("other.rs"),
        "#[unsafe(no_mangle)]\npub extern \"C\" fn other_catches() -> i32 {\n\
         std::panic::catch_unwind(|| { if std::env::args().count() > 0 { panic!(\"meant\") } 1 }).unwrap_or(7)\n}\n",
    )
    .expect("it can be written");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--edition", "2024", "--crate-type", "staticlib", "-O", "--crate-name", "other", "-o"]);
    run(rustc.arg(folder.join("libother.a")).arg(folder.join("other.rs")));
    fs::write(
        folder.join("main.c"),
        "#include <hostwheel.h>\nextern int32_t other_catches(void);\n\
         static void on_event(void *ctx, hostwheel_event_t *events, size_t count) { (void)events; *(size_t *)ctx += count; }\n\
         int main(void) {\n  hostwheel_config_t config; hostwheel_t *wheel; size_t seen = 0;\n\
         if (other_catches() != 7 || hostwheel_config_init(&config, sizeof config) != 0) return 1;\n\
         config.clock = HOSTWHEEL_CLOCK_MANUAL; config.watchdog_ns = 0; config.on_event = on_event; config.ctx = &seen;\n\
         if (hostwheel_open(&config, &wheel) != 0) return 2;\n\
         if (hostwheel_announce(wheel, (const uint8_t *)\"a\", 1, 1000000000, 0, 0, NULL) != 0) return 3;\n\
         if (hostwheel_advance(wheel, 2000000000, NULL) != 0 || hostwheel_advance(wheel, 3000000000, NULL) != 0) return 4;\n\
         hostwheel_free(wheel);\n  return seen == 2 && other_catches() == 7 ? 0 : 5;\n}\n",
    )
    .expect("it can be written");
    for order in [["libhostwheel.a", "libother.a"], ["libother.a", "libhostwheel.a"]] {
        let mut gcc = gcc();
        gcc.arg(folder.join("main.c")).arg("-o").arg(folder.join("main"));
        for library in order {
            let from = if library == "libother.a" { folder.as_path() } else { libraries() };
            gcc.arg(from.join(library));
        }
        run(gcc.args(build::STATIC_LIBS));
        run(&mut Command::new(folder.join("main")));
    }
}

/// Installed into an empty folder, found by pkg-config from outside, and gone again.
#[test]
fn an_installed_library_is_found_by_pkg_config() {
    let folder = scratch("installed");
    let install = |args: &[&str]| {
        let mut script = Command::new(top().join("ffi/install.sh"));
        script.args(args).env("DESTDIR", &folder).env("PREFIX", "/opt/hostwheel").env("LIBDIR", "/opt/hostwheel/lib64");
        run(script.env("HOSTWHEEL_BUILT", libraries()));
    };
    install(&[]);
    let root = folder.join("opt/hostwheel");
    let program = folder.join("program.c");
    fs::write(
        &program,
        "#include <hostwheel.h>\n#include <string.h>\nint main(void) { return strcmp(hostwheel_version(), HOSTWHEEL_VERSION); }\n",
    )
    .expect("it can be written");
    let pkg_config = |args: &[&str]| {
        let mut pkg_config = Command::new("pkg-config");
        pkg_config.env("PKG_CONFIG_PATH", root.join("lib64/pkgconfig")).env("PKG_CONFIG_SYSROOT_DIR", &folder);
        let flags = text(&run(pkg_config.args(args).arg("hostwheel")));
        flags.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let built = folder.join("program");
    run(Command::new("gcc").arg(&program).arg("-o").arg(&built).args(pkg_config(&["--cflags", "--libs"])));
    run(Command::new(&built).env("LD_LIBRARY_PATH", root.join("lib64")));
    // Statically, with what pkg-config says about that.
    fs::remove_file(root.join("lib64/libhostwheel.so")).expect("it is there");
    run(Command::new("gcc").arg(&program).arg("-o").arg(&built).args(pkg_config(&["--cflags", "--libs", "--static"])));
    run(&mut Command::new(&built));
    assert_eq!(pkg_config(&["--modversion"]), [env!("CARGO_PKG_VERSION")]);
    install(&["uninstall"]);
    let left: Vec<_> = ["lib64/libhostwheel.a", "include/hostwheel.h", "lib64/pkgconfig/hostwheel.pc"]
        .into_iter()
        .filter(|file| root.join(file).exists())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

/// `dlclose` must not pull the code away from under the wheel's thread, nor from a thread that used the index.
#[test]
fn a_program_can_load_and_unload_it() {
    let folder = scratch("dlopen");
    let source = folder.join("loads.c");
    fs::write(
        &source,
        "#include <dlfcn.h>\n#include <stdio.h>\n\
         int main(int argc, char **argv) {\n  int i;\n  for (i = 0; i < 100; i++) {\n\
         void *library = dlopen(argv[argc - 1], RTLD_NOW);\n\
         if (library == NULL) { puts(dlerror()); return 1; }\n\
         if (dlsym(library, \"hostwheel_open\") == NULL || dlclose(library) != 0) return 2;\n  }\n  return 0;\n}\n",
    )
    .expect("it can be written");
    let program = folder.join("loads");
    run(gcc().arg(&source).arg("-o").arg(&program).arg("-ldl"));
    run(Command::new(&program).arg(libraries().join("libhostwheel.so.0")));
}

#[test]
fn the_licences_of_what_is_linked_in_are_listed() {
    let made = text(&run(&mut Command::new(top().join("ffi/licenses.sh"))));
    let listed = fs::read_to_string(top().join("ffi/LICENSES.md")).expect("it exists");
    assert_eq!(made, listed, "ffi/licenses.sh > ffi/LICENSES.md, and look at the change");
}

/// The build lines of the README, each as it stands there.
#[test]
fn the_build_lines_of_the_readme_work() {
    let folder = scratch("readme");
    fs::copy(top().join("ffi/examples/simple.c"), folder.join("simple.c")).expect("it can be copied");
    let mut install = Command::new(top().join("ffi/install.sh"));
    run(install.env("PREFIX", folder.join("usr")).env("HOSTWHEEL_BUILT", libraries()));
    let readme = fs::read_to_string(top().join("README.md")).expect("it exists");
    let lines: Vec<&str> = readme.lines().filter(|line| line.starts_with("gcc simple.c")).collect();
    assert_eq!(lines.len(), 3, "by pkg-config, shared, static");
    for line in lines {
        let line = line.replace("/usr/local", folder.join("usr").to_str().expect("a path in UTF-8"));
        let mut shell = Command::new("sh");
        shell.args(["-ec", &format!("{line}\n./simple")]).current_dir(&folder);
        shell.env("PKG_CONFIG_PATH", folder.join("usr/lib/pkgconfig")).env("LD_LIBRARY_PATH", folder.join("usr/lib"));
        assert!(text(&run(&mut shell)).contains("leave: dying"), "{line}");
    }
}

/// The check of exports can fail.
#[test]
fn a_missing_symbol_is_noticed() {
    let folder = scratch("missing");
    let source = folder.join("calls.c");
    fs::write(&source, "int hostwheel_nothing(void);\nint main(void) { return hostwheel_nothing(); }\n")
        .expect("it can be written");
    let linked = std::panic::catch_unwind(|| build_shared(gcc(), &source, &folder.join("calls")));
    assert!(linked.is_err());
    assert!(sources("tests").len() >= 5);
}
