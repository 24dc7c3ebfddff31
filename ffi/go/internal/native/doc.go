// Package native is the C ABI of hostwheel in Go's words. It is compiled with the build tag hostwheel_native alone, and is the
// only package with cgo in it.
package native
