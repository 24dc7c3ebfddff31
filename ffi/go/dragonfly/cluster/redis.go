package cluster

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	pkgredis "d7y.io/dragonfly/v2/pkg/redis"
	"github.com/redis/go-redis/v9"
)

//go:embed remove.lua
var removeScript string

// most is how many commands go to Redis at a time.
const most = 256

// patience is for how long the client may begin to try one exchange with Redis again. Most clients do not look at it while they
// wait for an answer.
const patience = 15 * time.Second

// commands counts what was sent to Redis, for what.
type commands struct{ page, read, ask, remove, beat, load atomic.Uint64 }

// command is one that waits to be sent.
type command struct {
	add  func(redis.Pipeliner) redis.Cmder
	sent *atomic.Uint64
	cmd  redis.Cmder
	done chan struct{} // closed when it was answered
}

// redisStore is a store in Redis. Commands of many workers go together, by one connection: a round trip serves as many hosts as
// wait for one.
type redisStore struct {
	client     redis.UniversalClient
	keys       [resources]keys
	heartbeat  string
	pageSize   int64
	leavePeers bool
	script     *redis.Script
	logger     *slog.Logger

	sent  commands
	queue chan *command
	ended chan struct{} // closed when nobody takes from the queue any more
}

func newRedisStore(o *Options) *redisStore {
	s := &redisStore{
		client:     o.Redis,
		heartbeat:  pkgredis.MakeKeyInScheduler(pkgredis.SchedulerClustersNamespace, fmt.Sprintf("%d:hostwheel-heartbeat", o.ClusterID)),
		pageSize:   int64(o.Page),
		leavePeers: o.LeavePeers,
		script:     redis.NewScript(removeScript),
		logger:     o.Logger,
		queue:      make(chan *command, most),
		ended:      make(chan struct{}),
	}
	for r := range resources {
		s.keys[r] = r.keys(o.ClusterID)
	}
	return s
}

// run sends what workers ask for, until ctx ends.
func (s *redisStore) run(ctx context.Context) {
	defer close(s.ended)
	for {
		var batch []*command
		select {
		case <-ctx.Done():
			return
		case c := <-s.queue:
			batch = append(batch, c)
		}
		for more := true; more && len(batch) < most; {
			select {
			case c := <-s.queue:
				batch = append(batch, c)
			default:
				more = false
			}
		}
		s.send(ctx, batch)
		for _, c := range batch {
			close(c.done)
		}
	}
}

// send sends commands; each is answered, or has an error.
func (s *redisStore) send(ctx context.Context, batch []*command) {
	s.exchange(ctx, batch)
	var again []*command
	for _, c := range batch {
		if redis.HasErrorPrefix(c.cmd.Err(), "NOSCRIPT") {
			again = append(again, c)
		}
	}
	if len(again) == 0 {
		return
	}
	// Redis has restarted, or is another one.
	s.sent.load.Add(1)
	if err := s.script.Load(ctx, s.client).Err(); err != nil {
		s.logger.Warn("hostwheel/cluster: Redis does not take the script that deletes hosts", "error", err)
		return
	}
	s.logger.Info("hostwheel/cluster: the script that deletes hosts was loaded into Redis")
	s.exchange(ctx, again)
}

// exchange has one round trip.
func (s *redisStore) exchange(ctx context.Context, batch []*command) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pipe := s.client.Pipeline()
	for _, c := range batch {
		c.sent.Add(1)
		c.cmd = c.add(pipe)
	}
	// Each command has its own error.
	_, _ = pipe.Exec(ctx)
}

// do sends a command together with those of others, and waits for its answer, which has an error of its own.
func (s *redisStore) do(ctx context.Context, sent *atomic.Uint64, add func(redis.Pipeliner) redis.Cmder) (redis.Cmder, error) {
	c := &command{add: add, sent: sent, done: make(chan struct{})}
	select {
	case s.queue <- c:
	case <-s.ended:
		return nil, errEnded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case <-c.done:
	case <-s.ended:
		// It may have been the last one that was answered.
		select {
		case <-c.done:
		default:
			return nil, errEnded
		}
	}
	return c.cmd, nil
}

var errEnded = errors.New("hostwheel/cluster: the watch has ended")

func (s *redisStore) fields(r Resource, id string) func(redis.Pipeliner) redis.Cmder {
	return func(pipe redis.Pipeliner) redis.Cmder {
		return pipe.HMGet(context.Background(), s.keys[r].host+id, "updated_at", "announce_interval")
	}
}

// recordOf is what HMGET has answered.
func recordOf(cmd redis.Cmder) (record, error) {
	values, err := cmd.(*redis.SliceCmd).Result()
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		// Something else, under the name of a host: a record that makes no sense.
		return record{updated: err.Error()}, nil
	case err != nil:
		return record{}, err
	case len(values) != 2:
		return record{}, fmt.Errorf("hostwheel/cluster: Redis answers %d fields, of 2", len(values))
	}
	// What is not there is nil, which is the empty string here.
	updated, _ := values[0].(string)
	interval, _ := values[1].(string)
	return record{updated, interval}, nil
}

func (s *redisStore) ask(ctx context.Context, r Resource, id string) (record, error) {
	cmd, err := s.do(ctx, &s.sent.ask, s.fields(r, id))
	if err != nil {
		return record{}, err
	}
	return recordOf(cmd)
}

func (s *redisStore) read(ctx context.Context, r Resource, ids []string) ([]record, error) {
	records := make([]record, 0, len(ids))
	for len(ids) > 0 {
		n := min(len(ids), most)
		batch := make([]*command, n)
		for i, id := range ids[:n] {
			batch[i] = &command{add: s.fields(r, id), sent: &s.sent.read}
		}
		s.exchange(ctx, batch)
		for _, c := range batch {
			is, err := recordOf(c.cmd)
			if err != nil {
				return nil, err
			}
			records = append(records, is)
		}
		ids = ids[n:]
	}
	return records, nil
}

func (s *redisStore) page(ctx context.Context, r Resource, cursor uint64) ([]string, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.sent.page.Add(1)
	return s.client.SScan(ctx, s.keys[r].hosts, cursor, "", s.pageSize).Result()
}

func (s *redisStore) remove(ctx context.Context, r Resource, id string, was record, earliest time.Time) (removal, error) {
	k := &s.keys[r]
	keys := []string{k.host + id, k.hosts, k.hostPeers.key(id)}
	args := []any{id, was.updated, was.interval, strconv.FormatFloat(float64(earliest.UnixMicro())/1e6, 'f', 6, 64)}
	if s.leavePeers {
		args = append(args, k.peer, k.taskPeers[0], k.taskPeers[1], k.persistentTaskPeers[0], k.persistentTaskPeers[1])
	}
	cmd, err := s.do(ctx, &s.sent.remove, func(pipe redis.Pipeliner) redis.Cmder {
		return pipe.EvalSha(ctx, s.script.Hash(), keys, args...)
	})
	if err != nil {
		return removal{}, err
	}
	words, err := cmd.(*redis.Cmd).StringSlice()
	if err != nil {
		return removal{}, err
	}
	return removalOf(words)
}

// removalOf is what the script has answered.
func removalOf(words []string) (removal, error) {
	switch {
	case len(words) >= 1 && words[0] == "removed":
		return removal{outcome: removed, peers: words[1:]}, nil
	case len(words) == 1 && words[0] == "missing":
		return removal{outcome: missing}, nil
	case len(words) == 3 && words[0] == "changed":
		return removal{outcome: changed, record: record{words[1], words[2]}}, nil
	case len(words) == 2 && words[0] == "early":
		seconds, err := strconv.ParseFloat(words[1], 64)
		return removal{outcome: early, wait: time.Duration(seconds * float64(time.Second))}, err
	default:
		return removal{}, fmt.Errorf("hostwheel/cluster: the script answers %q", strings.Join(words, " "))
	}
}

func (s *redisStore) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.sent.beat.Add(1)
	return s.client.Set(ctx, s.heartbeat, "", time.Minute).Err()
}
