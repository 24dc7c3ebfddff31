package hostwheel

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// temporaries numbers the temporary files of this process.
var temporaries atomic.Uint64

// replaceFile replaces target by what fill writes, or leaves it as it is: the new file is written beside it under another
// name, made durable, then renamed. The temporary of dir/name is dir/.name.<process>.<number>.tmp. Its writer holds a lock
// on it, which goes away with the writer, however that ends; so one that nobody holds was left over, and the next writer
// of the same file removes it.
func replaceFile(target string, fill func(io.Writer) error) error {
	folder, name := filepath.Split(target)
	if name == "" || name == "." || name == ".." {
		return invalid("the path %q names no file", target)
	}
	if folder == "" {
		folder = "."
	}
	failed := func(step string, err error) error {
		return fmt.Errorf("hostwheel: %s; the snapshot before, if any, is untouched: %w", step, err)
	}
	removeLeftOvers(folder, name)
	file, err := createTemporary(folder, name)
	if err != nil {
		return failed("create a temporary file", err)
	}
	path := file.Name()
	err = fill(file)
	if err == nil {
		err = file.Sync()
	}
	if closed := closeLocked(file, func() error { return renameOver(err, path, target) }); err == nil {
		err = closed
	}
	if err != nil {
		// There is an error to report already.
		_ = os.Remove(path)
		return failed("write the snapshot", err)
	}
	// The rename itself is in the folder.
	if err := syncFolder(folder); err != nil {
		return fmt.Errorf("hostwheel: the snapshot is in its place, but its folder could not be synced, so a power failure may "+
			"bring the one before back; write it again: %w", err)
	}
	return nil
}

func renameOver(earlier error, path, target string) error {
	if earlier != nil {
		return nil
	}
	return os.Rename(path, target)
}

func createTemporary(folder, name string) (*os.File, error) {
	for {
		path := filepath.Join(folder, fmt.Sprintf(".%s.%d.%d.tmp", name, os.Getpid(), temporaries.Add(1)-1))
		// Only for the owner: ids may be nobody else's business.
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue // of a process with our number, in another container or before us
		}
		if err != nil {
			return nil, err
		}
		// Where files cannot be locked, nobody takes ours for left over.
		locked := lockFile(file)
		if _, err := os.Lstat(path); err == nil && !isLocked(locked) {
			return file, nil
		}
		// Another writer has taken it for left over, and removes it.
		file.Close()
	}
}

// removeLeftOvers removes temporaries that nobody writes any more. What cannot be removed costs nothing but its room.
func removeLeftOvers(folder, name string) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !isTemporaryOf(entry.Name(), name) {
			continue
		}
		path := filepath.Join(folder, entry.Name())
		// To write, as some network file systems lock for themselves alone only what is open for that.
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			continue
		}
		// Removed while it is locked, so that its writer, if it just made it, finds it gone and makes another.
		if lockFile(file) == nil {
			_ = os.Remove(path)
		}
		file.Close()
	}
}

// isTemporaryOf says whether file is .<name>.<digits>.<digits>.tmp.
func isTemporaryOf(file, name string) bool {
	middle, ok := strings.CutPrefix(file, "."+name+".")
	if !ok {
		return false
	}
	middle, ok = strings.CutSuffix(middle, ".tmp")
	process, number, two := strings.Cut(middle, ".")
	return ok && two && isNumber(process) && isNumber(number)
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 64)
	return err == nil && s[0] != '+'
}
