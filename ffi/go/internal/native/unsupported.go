//go:build hostwheel_native && !(cgo && linux)

package native

// This does not compile, to say why.
var _ = the_build_tag_hostwheel_native_needs_cgo_and_Linux__leave_it_out_for_the_backend_in_Go
