module github.com/hostwheel/hostwheel/ffi/go/examples/scheduler

go 1.25.5

require (
	d7y.io/api/v2 v2.3.0
	github.com/hostwheel/hostwheel/ffi/go v0.0.0
	github.com/hostwheel/hostwheel/ffi/go/hostwheelprom v0.0.0
	github.com/prometheus/client_golang v1.23.2
	google.golang.org/grpc v1.83.0
	google.golang.org/protobuf v1.36.11
)

require (
	github.com/beorn7/perks v1.0.1 // indirect
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/envoyproxy/protoc-gen-validate v1.3.3 // indirect
	github.com/munnerz/goautoneg v0.0.0-20191010083416-a7dc8b61c822 // indirect
	github.com/prometheus/client_model v0.6.2 // indirect
	github.com/prometheus/common v0.66.1 // indirect
	github.com/prometheus/procfs v0.16.1 // indirect
	go.yaml.in/yaml/v2 v2.4.2 // indirect
	golang.org/x/net v0.55.0 // indirect
	golang.org/x/sys v0.45.0 // indirect
	golang.org/x/text v0.37.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260526163538-3dc84a4a5aaa // indirect
)

replace (
	github.com/hostwheel/hostwheel/ffi/go => ../..
	github.com/hostwheel/hostwheel/ffi/go/hostwheelprom => ../../hostwheelprom
)
