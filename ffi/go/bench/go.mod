module github.com/hostwheel/hostwheel/ffi/go/bench

go 1.25

require (
	github.com/hostwheel/hostwheel/ffi/go v0.0.0
	github.com/jellydator/ttlcache/v3 v3.4.1
	github.com/maypok86/otter/v2 v2.4.0
)

require golang.org/x/sync v0.16.0 // indirect

replace github.com/hostwheel/hostwheel/ffi/go => ../
