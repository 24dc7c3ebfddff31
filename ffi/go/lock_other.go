//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package hostwheel

import (
	"errors"
	"os"
)

// lockFile has no lock to take here, so nothing is ever taken for left over.
func lockFile(*os.File) error { return errors.ErrUnsupported }

func isLocked(error) bool { return false }

// closeLocked closes the file before the last step with it: an open file cannot be renamed everywhere.
func closeLocked(file *os.File, last func() error) error {
	if err := file.Close(); err != nil {
		return err
	}
	return last()
}

// syncFolder has nothing to do: folders cannot be synced here.
func syncFolder(string) error { return nil }
