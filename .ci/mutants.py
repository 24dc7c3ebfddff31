"""Copies of the tree in which one thing is changed, and tests that should notice: for orderings.py and looks.py."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

# What a run of tests may take. A mutant that never comes to an end is noticed as well.
LIMIT_S = 900


class Tree:
    """A copy of the tree in the current directory, removed at the end."""

    def __init__(self, name):
        self.top = os.getcwd()
        self.name = name
        self.scratch = tempfile.mkdtemp(prefix=f"hostwheel-{name}-")
        self.root = os.path.join(self.scratch, "tree")
        # Copied with new times: with the old ones cargo would take the last run's last mutant for up to date.
        ignored = shutil.ignore_patterns("target", ".git")
        shutil.copytree(self.top, self.root, ignore=ignored, copy_function=shutil.copyfile)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.scratch)

    def path(self, name):
        return os.path.join(self.root, name)

    @contextlib.contextmanager
    def changed(self, name, change):
        """With what `change` makes of a file."""
        original = open(self.path(name)).read()
        open(self.path(name), "w").write(change(original))
        try:
            yield
        finally:
            open(self.path(name), "w").write(original)

    def env(self, cfg, more):
        # Its own: cargo gives the tests of all copies one name, and other tests must not run a mutant.
        target = os.environ.get(f"HOSTWHEEL_{self.name.upper()}_TARGET", os.path.join(self.top, "target", self.name))
        # Backtraces of expected panics would take longer than the models.
        env = dict(os.environ, RUST_BACKTRACE="0", CARGO_TARGET_DIR=os.path.join(target, cfg), **more)
        if cfg:
            env["RUSTFLAGS"] = f"--cfg {cfg}"
        return env

    def cargo(self, cfg, arguments, **more):
        """Runs cargo with `--cfg`, or without one; returns what it said if it failed."""
        try:
            done = subprocess.run(["cargo", *arguments], cwd=self.root, env=self.env(cfg, more), stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"no end within {LIMIT_S} s"
        return done.stdout if done.returncode != 0 else None

    def noticed(self, cfg, arguments, **more):
        """How the first test fails that does, after which the others are not waited for; `None` if none does."""
        running = subprocess.Popen(["cargo", *arguments], cwd=self.root, env=self.env(cfg, more), stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, start_new_session=True)
        ended = []

        def end(how):
            ended.append(how)
            os.killpg(running.pid, signal.SIGKILL)

        timer = threading.Timer(LIMIT_S, end, [f"no end within {LIMIT_S} s"])
        timer.start()
        for line in running.stdout:
            if line.rstrip().endswith("... FAILED") and not ended:
                end(line.split()[1])
        timer.cancel()
        failed = running.wait() != 0
        return ended[0] if ended else "an end by itself" if failed else None

    def build(self, cfg, arguments, where, **more):
        """Builds the tests: a mutant that does not build would fail as well, and show nothing."""
        failure = self.cargo(cfg, [*arguments, "--no-run"], **more)
        if failure:
            sys.exit(f"{where}: the mutant does not build\n{failure}")
