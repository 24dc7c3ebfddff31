//go:build !hostwheel_native

package hostwheel

const nativeBuilt = false

func newNative(settings) (backend, error) {
	return nil, invalid("the native backend is not in this build: build with -tags hostwheel_native and cgo, on Linux")
}
