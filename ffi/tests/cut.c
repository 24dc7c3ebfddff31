/* All hosts cut off at once, with the guards as they come by default: nobody leaves, and all are alive when they are back. */
#include "check.h"

/* What was told. */
struct told {
  unsigned leaves, began, ended;
};

static void count(void *ctx, hostwheel_event_t *events, size_t count) {
  struct told *told = (struct told *)ctx;
  size_t i;
  for (i = 0; i < count; i++) {
    if (events[i].kind == HOSTWHEEL_EVENT_LEAVE) {
      told->leaves++;
    } else if (events[i].kind == HOSTWHEEL_EVENT_GUARD) {
      CHECK(events[i].id != NULL && events[i].id_len == 0);
      told->began += events[i].reason == HOSTWHEEL_GUARD_SILENCE_BEGAN;
      told->ended += events[i].reason == HOSTWHEEL_GUARD_SILENCE_ENDED;
    }
  }
}

/* A fleet whose hosts announce evenly over their interval, heard for four intervals, cut off for six. */
static void play(uint64_t interval_ms, unsigned hosts) {
  const uint64_t ms = UINT64_C(1000000), fifty_minutes = UINT64_C(3000000);
  const uint64_t longest = 6 * interval_ms < fifty_minutes ? 6 * interval_ms : fifty_minutes;
  const uint64_t cut = 4 * interval_ms + 5, back = cut + longest, end = back + interval_ms * 5 / 2;
  struct told told;
  hostwheel_config_t config;
  hostwheel_t *wheel;
  hostwheel_stats_t stats;
  uint64_t at, last = 0;
  unsigned n;
  size_t delivered;
  memset(&told, 0, sizeof told);
  OK(hostwheel_config_init(&config, sizeof config));
  config.clock = HOSTWHEEL_CLOCK_MANUAL;
  config.watchdog_ns = 0;
  config.on_event = count;
  config.ctx = &told;
  wheel = open_with(&config);
  for (at = 0; at <= end; at += interval_ms / 40) {
    for (n = 0; n < hosts; n++) {
      /* Whether one of its announces was due since the last round. */
      uint64_t phase = interval_ms * n / hosts;
      int due = at >= phase && (at == 0 || last < phase || (at - phase) / interval_ms != (last - phase) / interval_ms);
      if (due && (at < cut || at >= back)) {
        char id[16];
        int length = snprintf(id, sizeof id, "host-%u", n);
        OK(hostwheel_announce(wheel, (const uint8_t *)id, (size_t)length, interval_ms * ms, 0, 0, NULL));
      }
    }
    OK(hostwheel_advance(wheel, at * ms, &delivered));
    last = at;
  }
  OK(hostwheel_stats(wheel, &stats, sizeof stats));
  if (told.leaves != 0 || stats.live != hosts || stats.suspect != 0 || told.began != 1 || told.ended != 1) {
    fprintf(stderr, "%u hosts of %lu ms: %u leaves, %lu live, silence began %u times and ended %u times\n", hosts,
            (unsigned long)interval_ms, told.leaves, (unsigned long)stats.live, told.began, told.ended);
    exit(1);
  }
  OK(hostwheel_close(wheel, SECOND));
  hostwheel_free(wheel);
}

int main(void) {
  const uint64_t intervals_ms[] = {1000, 1200, 5000, 60000, 120000, 300000, 1200000, 1800000};
  const unsigned hosts[] = {40, 200, 1000};
  size_t i, j;
  for (i = 0; i < sizeof intervals_ms / sizeof *intervals_ms; i++) {
    for (j = 0; j < sizeof hosts / sizeof *hosts; j++) {
      play(intervals_ms[i], hosts[j]);
    }
  }
  return 0;
}
