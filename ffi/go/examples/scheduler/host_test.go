package main

import (
	"context"
	"testing"
	"time"

	commonv2 "d7y.io/api/v2/pkg/apis/common/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestHostAnnouncesAndSaysGoodbye(t *testing.T) {
	s := mustServer(t, manual())
	client := dial(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- announceUntil(ctx, client, 10*time.Millisecond, request("a", "one", 0).Host) }()
	// Each of these announces is clamped to the least interval, and counted for that.
	for deadline := time.Now().Add(time.Minute); s.wheel.Stats().Clamps < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("three announces did not come within a minute")
		}
	}
	expectList(t, client, "a one")
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	expectList(t, client)
	if left := s.wheel.Stats().Left; left != 1 {
		t.Errorf("%d goodbyes, want 1", left)
	}
}

func TestHostGivesUpIfItIsRefused(t *testing.T) {
	client := dial(t, mustServer(t, manual()))
	err := announceUntil(t.Context(), client, time.Minute, &commonv2.Host{Id: "no address"})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("the error is %v, want InvalidArgument", err)
	}
}
