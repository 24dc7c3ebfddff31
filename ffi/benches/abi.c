/* What a call through the ABI costs, beside the timers that C programs re-arm today: libevent's and libuv's. Prints
 * nanoseconds per call, the median of five rounds in which every subject has its turn, with the least and the greatest.
 *
 * Usage: ffi/bench.sh [hosts ...] (default 10000 1000000), alone on the machine.
 */
#define _POSIX_C_SOURCE 200809L
#include <hostwheel.h>

#include <event2/event.h>
#include <uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 5
#define ID_LEN 64
#define SECOND UINT64_C(1000000000)

struct fleet {
  size_t hosts;
  uint32_t *order; /* host numbers in the order of the calls */
  uint8_t *ids;    /* in the order of the calls */
  uint64_t *handles;
  hostwheel_t *wheel;
  struct event_base *base;
  struct event **events;
  uv_loop_t loop;
  uv_timer_t *timers;
  uv_timer_t **timers_in_order;
};

static uint64_t state = 3350;

static uint64_t draw(void) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

static void check(int holds, const char *what) {
  if (!holds) {
    fprintf(stderr, "%s failed\n", what);
    exit(1);
  }
}

static void *get(size_t count, size_t size) {
  void *memory = calloc(count, size);
  check(memory != NULL, "calloc");
  return memory;
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void on_event(void *ctx, hostwheel_event_t *events, size_t count) {
  (void)ctx;
  (void)events;
  (void)count;
}

static void on_timeout(evutil_socket_t fd, short what, void *arg) {
  (void)fd;
  (void)what;
  (void)arg;
}

static void on_timer(uv_timer_t *timer) {
  (void)timer;
}

static struct fleet *muster(size_t hosts) {
  struct fleet *fleet = (struct fleet *)get(1, sizeof *fleet);
  hostwheel_config_t config;
  uint64_t *handles = (uint64_t *)get(hosts, sizeof *handles);
  const struct timeval hour = {3600, 0};
  const struct timeval *common;
  size_t n, at;
  fleet->hosts = hosts;
  fleet->order = (uint32_t *)get(hosts, sizeof *fleet->order);
  fleet->ids = (uint8_t *)get(hosts, ID_LEN);
  fleet->handles = (uint64_t *)get(hosts, sizeof *fleet->handles);
  for (n = 0; n < hosts; n++) {
    at = draw() % (n + 1);
    fleet->order[n] = fleet->order[at];
    fleet->order[at] = (uint32_t)n;
  }
  check(hostwheel_config_init(&config, sizeof config) == 0, "config");
  config.on_event = on_event;
  check(hostwheel_open(&config, &fleet->wheel) == 0, "open");
  for (n = 0; n < hosts; n++) {
    uint8_t *id = fleet->ids + n * ID_LEN;
    for (at = 0; at < ID_LEN; at++) {
      id[at] = (uint8_t)("0123456789abcdef"[draw() % 16]);
    }
  }
  /* Registered in the order of their numbers, called in another. */
  {
    uint32_t *position = (uint32_t *)get(hosts, sizeof *position);
    for (n = 0; n < hosts; n++) {
      position[fleet->order[n]] = (uint32_t)n;
    }
    for (n = 0; n < hosts; n++) {
      hostwheel_announced_t announced;
      const uint8_t *id = fleet->ids + (size_t)position[n] * ID_LEN;
      check(hostwheel_announce(fleet->wheel, id, ID_LEN, 1800 * SECOND, 0, 0, &announced) == 0, "announce");
      handles[n] = announced.handle;
    }
    free(position);
  }
  for (n = 0; n < hosts; n++) {
    fleet->handles[n] = handles[fleet->order[n]];
  }
  free(handles);

  /* libevent's fast case: all of one length, in a queue of its own (a common timeout), and precise stamps cached. */
  fleet->base = event_base_new();
  check(fleet->base != NULL, "event_base_new");
  common = event_base_init_common_timeout(fleet->base, &hour);
  fleet->events = (struct event **)get(hosts, sizeof *fleet->events);
  for (n = 0; n < hosts; n++) {
    fleet->events[n] = evtimer_new(fleet->base, on_timeout, NULL);
    check(fleet->events[n] != NULL && evtimer_add(fleet->events[n], common) == 0, "evtimer_add");
  }
  check(uv_loop_init(&fleet->loop) == 0, "uv_loop_init");
  fleet->timers = (uv_timer_t *)get(hosts, sizeof *fleet->timers);
  fleet->timers_in_order = (uv_timer_t **)get(hosts, sizeof *fleet->timers_in_order);
  for (n = 0; n < hosts; n++) {
    uv_timer_init(&fleet->loop, &fleet->timers[n]);
    uv_timer_start(&fleet->timers[n], on_timer, 3600 * 1000, 0);
  }
  for (n = 0; n < hosts; n++) {
    fleet->timers_in_order[n] = &fleet->timers[fleet->order[n]];
  }
  return fleet;
}

static double renew(struct fleet *fleet, size_t calls) {
  uint64_t began = now_ns();
  size_t n, at = 0;
  int32_t failed = 0;
  for (n = 0; n < calls; n++) {
    failed |= hostwheel_renew(fleet->wheel, fleet->handles[at], 0, NULL);
    at = at + 1 == fleet->hosts ? 0 : at + 1;
  }
  check(failed == 0, "renew");
  return (double)(now_ns() - began) / (double)calls;
}

static double announce(struct fleet *fleet, size_t calls) {
  uint64_t began = now_ns();
  size_t n, at = 0;
  int32_t failed = 0;
  for (n = 0; n < calls; n++) {
    failed |= hostwheel_announce(fleet->wheel, fleet->ids + at * ID_LEN, ID_LEN, 1800 * SECOND, 0, 0, NULL);
    at = at + 1 == fleet->hosts ? 0 : at + 1;
  }
  check(failed == 0, "announce");
  return (double)(now_ns() - began) / (double)calls;
}

/* All of one length, which the base keeps in a queue of its own. */
static double libevent_common(struct fleet *fleet, size_t calls) {
  const struct timeval hour = {3600, 0};
  const struct timeval *common = event_base_init_common_timeout(fleet->base, &hour);
  uint64_t began = now_ns();
  size_t n, at = 0;
  int failed = 0;
  for (n = 0; n < calls; n++) {
    failed |= evtimer_add(fleet->events[fleet->order[at]], common);
    at = at + 1 == fleet->hosts ? 0 : at + 1;
  }
  check(failed == 0, "evtimer_add");
  return (double)(now_ns() - began) / (double)calls;
}

/* Hosts have intervals of their own, so this is the case to compare with. */
static double libevent_heap(struct fleet *fleet, size_t calls) {
  uint64_t began = now_ns();
  size_t n, at = 0;
  int failed = 0;
  for (n = 0; n < calls; n++) {
    struct timeval length;
    length.tv_sec = 3600 + (long)(n & 15);
    length.tv_usec = (long)(n & 1023);
    failed |= evtimer_add(fleet->events[fleet->order[at]], &length);
    at = at + 1 == fleet->hosts ? 0 : at + 1;
  }
  check(failed == 0, "evtimer_add");
  return (double)(now_ns() - began) / (double)calls;
}

static double libuv(struct fleet *fleet, size_t calls) {
  uint64_t began = now_ns();
  size_t n, at = 0;
  int failed = 0;
  uv_update_time(&fleet->loop);
  for (n = 0; n < calls; n++) {
    failed |= uv_timer_start(fleet->timers_in_order[at], on_timer, 3600 * 1000 + (n & 15) * 1000 + (n & 1023), 0);
    at = at + 1 == fleet->hosts ? 0 : at + 1;
  }
  check(failed == 0, "uv_timer_start");
  return (double)(now_ns() - began) / (double)calls;
}

/* The same renews made by Rust, on a wheel of its own: benches/direct.rs. */
extern double direct_renews(uint64_t hosts, uint64_t calls);

static double direct(struct fleet *fleet, size_t calls) {
  return direct_renews(fleet->hosts, calls);
}

static int by_value(const void *one, const void *other) {
  double a = *(const double *)one, b = *(const double *)other;
  return (a > b) - (a < b);
}

int main(int argc, char **argv) {
  static const struct {
    const char *name;
    double (*run)(struct fleet *, size_t);
  } subjects[] = {
      {"renew by handle, in Rust", direct},
      {"renew by handle, through the ABI", renew},
      {"announce by 64-byte id, through the ABI", announce},
      {"libevent: evtimer_add, a length of its own", libevent_heap},
      {"libevent: evtimer_add, common timeout", libevent_common},
      {"libuv: uv_timer_start", libuv},
  };
  enum { SUBJECTS = sizeof subjects / sizeof *subjects };
  int size;
  for (size = 1; size < (argc > 1 ? argc : 3); size++) {
    size_t hosts = argc > 1 ? strtoul(argv[size], NULL, 10) : size == 1 ? 10000 : 1000000;
    struct fleet *fleet;
    double times[SUBJECTS][ROUNDS], medians[SUBJECTS];
    int round, subject;
    check(hosts > 0, "a number of hosts");
    fleet = muster(hosts);
    for (subject = 0; subject < SUBJECTS; subject++) {
      subjects[subject].run(fleet, hosts); /* warm */
    }
    for (round = 0; round < ROUNDS; round++) {
      for (subject = 0; subject < SUBJECTS; subject++) {
        times[subject][round] = subjects[subject].run(fleet, 2000000);
      }
    }
    printf("%zu hosts %38s\n", hosts, "ns/call   min .. max");
    for (subject = 0; subject < SUBJECTS; subject++) {
      qsort(times[subject], ROUNDS, sizeof(double), by_value);
      medians[subject] = times[subject][ROUNDS / 2];
      printf("  %-44s %7.1f   %.1f .. %.1f\n", subjects[subject].name, medians[subject], times[subject][0],
             times[subject][ROUNDS - 1]);
    }
    printf("  the ABI adds %.1f ns to a renew; libevent / renew %.1f, libuv / renew %.1f\n", medians[1] - medians[0],
           medians[3] / medians[1], medians[5] / medians[1]);
    /* The process ends next: timers and hosts end with it. */
    hostwheel_close(fleet->wheel, SECOND);
    hostwheel_free(fleet->wheel);
    fflush(stdout);
  }
  return 0;
}
