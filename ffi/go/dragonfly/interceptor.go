package dragonfly

import (
	"context"
	"sync"
	"time"

	schedulerv1 "d7y.io/api/v2/pkg/apis/scheduler/v1"
	schedulerv2 "d7y.io/api/v2/pkg/apis/scheduler/v2"
	"google.golang.org/grpc"
)

// UnaryServerInterceptor tells the wheel of announces; part of ServerOptions.
func (r *Resource) UnaryServerInterceptor() grpc.UnaryServerInterceptor {
	return func(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		id, interval, says := announced(request)
		if id == "" || r.watch == nil {
			return handler(ctx, request)
		}
		m := r.watch.heard(id, interval, says)
		response, err := handler(ctx, request)
		if m == nil || says && m.Interval() != interval || m.Renew() != nil {
			// It was stored by now, or another announce crossed this one, or it was found gone in the meantime.
			r.watch.heard(id, interval, says)
		}
		return response, err
	}
}

// announced is the host that a request announces, and the interval if it says one. An empty id: none.
func announced(request any) (id string, interval time.Duration, says bool) {
	switch r := request.(type) {
	case *schedulerv2.AnnounceHostRequest:
		return r.GetHost().GetId(), r.GetInterval().AsDuration(), r.GetInterval() != nil
	case *schedulerv1.AnnounceHostRequest:
		return r.GetId(), 0, false
	case *schedulerv1.PeerTaskRequest:
		return r.GetPeerHost().GetId(), 0, false
	case *schedulerv1.AnnounceTaskRequest:
		return r.GetPeerHost().GetId(), 0, false
	default:
		return "", 0, false
	}
}

// StreamServerInterceptor tells the wheel of downloads; part of ServerOptions.
func (r *Resource) StreamServerInterceptor() grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		if r.watch == nil || r.watch.IgnoreDownloads {
			return handler(server, stream)
		}
		d := &download{ServerStream: stream, watch: r.watch}
		defer d.end()
		return handler(server, d)
	}
}

// download is a stream on which a host reports what it downloads. It is heard with each message, and counts as heard while
// the stream is open and the latest message is not too old.
type download struct {
	grpc.ServerStream
	watch *watch

	host    string
	member  *member
	reports *reports
	release func()
}

// RecvMsg receives a message.
func (d *download) RecvMsg(message any) error {
	if err := d.ServerStream.RecvMsg(message); err != nil {
		return err
	}
	if d.host == "" {
		if d.host = d.watch.hostOf(message); d.host == "" {
			return nil
		}
		d.begin()
	}
	d.reports.last.Store(d.watch.now())
	if d.member == nil || d.member.Renew() != nil {
		d.member = d.watch.heard(d.host, 0, false)
	}
	return nil
}

// hostOf is the host that a message on a stream comes from; empty if it does not say.
func (w *watch) hostOf(message any) string {
	switch m := message.(type) {
	case interface{ GetHostId() string }:
		return m.GetHostId()
	case *schedulerv1.PieceResult:
		if peer, ok := w.peers.Load(m.GetSrcPid()); ok {
			return peer.Host.ID
		}
	}
	return ""
}

// begin counts the stream until it breaks or its handler returns.
func (d *download) begin() {
	w, host := d.watch, d.host
	s := w.table.lock(host)
	r := s.reports[host]
	if r == nil {
		r = &reports{}
		s.reports[host] = r
	}
	r.open++
	s.mu.Unlock()
	d.reports = r
	d.release = sync.OnceFunc(func() {
		s.mu.Lock()
		counts := w.counts(r)
		if r.open--; r.open == 0 {
			delete(s.reports, host)
		}
		s.mu.Unlock()
		if counts {
			// Up to now.
			w.heard(host, 0, false)
		}
	})
	context.AfterFunc(d.Context(), d.release)
}

func (d *download) end() {
	if d.release != nil {
		d.release()
	}
}
