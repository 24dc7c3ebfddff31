//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package hostwheel

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the file's lock, which the end of the process gives back at the latest.
func lockFile(file *os.File) error {
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}

// isLocked says whether another has the lock that lockFile did not get.
func isLocked(err error) bool { return errors.Is(err, syscall.EWOULDBLOCK) }

// closeLocked does the last step with a file, and closes it after that: the lock protects the file until then.
func closeLocked(file *os.File, last func() error) error {
	return errors.Join(last(), file.Close())
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
