module github.com/hostwheel/hostwheel/ffi/go

go 1.25
