//go:build hostwheel_native

package hostwheel

func (n *core) stamps() *announcing { return &n.announcing }
