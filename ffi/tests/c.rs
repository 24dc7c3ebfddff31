//! The C programs: built as C99 and as C++, with the shared and with the static library, and run.

mod build;

use std::process::Command;

use build::{build_shared, build_static, gcc, gxx, run, scratch, sources, text};

#[test]
fn every_c_test_passes_with_the_shared_library() {
    let folder = scratch("c-shared");
    for source in sources("tests") {
        let program = folder.join(source.file_stem().expect("a name"));
        build_shared(gcc(), &source, &program);
        run(&mut Command::new(&program));
    }
}

#[test]
fn every_c_test_passes_with_the_static_library() {
    let folder = scratch("c-static");
    for source in sources("tests") {
        let program = folder.join(source.file_stem().expect("a name"));
        build_static(gcc(), &source, &program);
        run(&mut Command::new(&program));
    }
}

#[test]
fn the_examples_do_what_they_say() {
    let folder = scratch("c-examples");
    for (source, said) in sources("examples").iter().zip([
        ["host-0 has gone", "host-4 has gone"],
        ["20 s: suspect every 10 s", "135 s: leave every minute"],
        ["suspect: dying", "leave: dying"],
    ]) {
        let program = folder.join(source.file_stem().expect("a name"));
        build_static(gcc(), source, &program);
        let output = text(&run(&mut Command::new(&program)));
        assert!(said.iter().all(|said| output.contains(said)) && !output.contains("leave: steady"), "{output}");
        // The other languages and the other library are the reader's choice as well.
        build_shared(gxx(), source, &program);
        run(&mut Command::new(&program));
    }
}

#[test]
fn every_c_test_passes_as_cpp() {
    let folder = scratch("cpp");
    for source in sources("tests") {
        let program = folder.join(source.file_stem().expect("a name"));
        build_shared(gxx(), &source, &program);
        run(&mut Command::new(&program));
    }
}
