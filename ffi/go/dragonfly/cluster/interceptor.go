package cluster

import (
	"context"

	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"google.golang.org/grpc"
)

// UnaryServerInterceptor tells the wheel of announces and goodbyes; part of ServerOptions. Only the second version of the API
// reaches Redis.
func (w *Watch) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		switch r := request.(type) {
		case *schedulerv2.AnnounceHostRequest:
			if id := r.GetHost().GetId(); id != "" {
				// Before the handler: while it waits for Redis, the host must not be given up. That the handler may fail to
				// store it does not matter, as it lives.
				w.heard(id, r.GetInterval().AsDuration(), r.GetInterval() != nil)
			}
		case *schedulerv2.DeleteHostRequest:
			response, err := handler(ctx, request)
			if err == nil {
				w.forget(r.GetHostId())
			}
			return response, err
		}
		return handler(ctx, request)
	}
}

// ServerOptions are the interceptors, as rpcserver.New takes them. They run after Dragonfly's own, so what those refuse is
// not heard.
func (w *Watch) ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.ChainUnaryInterceptor(w.UnaryServerInterceptor())}
}
