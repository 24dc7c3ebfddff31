/* Both deliveries: a callback that calls back in, retries until success, and every way to settle a drained leave. */
#include "check.h"

#include <poll.h>

static struct log the_log;

struct reentrant {
  hostwheel_t *wheel;
  uint64_t returned;
  int leaves;
};

/* The host comes back, another leaves, all inside the callback. */
static void calls_back(void *ctx, hostwheel_event_t *events, size_t count) {
  struct reentrant *scene = (struct reentrant *)ctx;
  size_t i, made;
  uint64_t due;
  for (i = 0; i < count; i++) {
    if (events[i].kind != HOSTWHEEL_EVENT_LEAVE) {
      continue;
    }
    RETURNS(HOSTWHEEL_ERR_IN_CALLBACK, hostwheel_advance(scene->wheel, 99 * SECOND, &made));
    RETURNS(HOSTWHEEL_ERR_IN_CALLBACK, hostwheel_next_due(scene->wheel, &due));
    RETURNS(HOSTWHEEL_ERR_TAKEN, hostwheel_renew(scene->wheel, events[i].handle, 0, NULL));
    scene->leaves++;
    if (scene->leaves == 1) {
      hostwheel_announced_t announced;
      CHECK(events[i].user_data == 1);
      OK(hostwheel_announce(scene->wheel, events[i].id, events[i].id_len, 10 * SECOND, 0, 2, &announced));
      CHECK(announced.outcome == HOSTWHEEL_OUTCOME_REGISTERED && announced.handle != events[i].handle);
      scene->returned = announced.handle;
      OK(hostwheel_leave(scene->wheel, ID("other"), NULL));
      events[i].verdict = HOSTWHEEL_VERDICT_RETRY;
      events[i].retry_after_ns = 5 * SECOND;
    } else if (scene->leaves == 2) {
      CHECK(events[i].attempt == 2 && events[i].flags == HOSTWHEEL_EVENT_SUPERSEDED && events[i].user_data == 1);
    }
  }
}

static void a_callback_that_calls_back(void) {
  hostwheel_config_t config = manual_config(&the_log);
  struct reentrant scene = {NULL, 0, 0};
  hostwheel_stats_t stats;
  config.on_event = calls_back;
  config.ctx = &scene;
  config.grace_ns = 0;
  scene.wheel = open_with(&config);
  announce(scene.wheel, "a", SECOND, 1);
  announce(scene.wheel, "other", 60 * SECOND, 9);
  OK(hostwheel_advance(scene.wheel, 2 * SECOND, NULL));
  CHECK(scene.leaves == 1);
  OK(hostwheel_advance(scene.wheel, 7 * SECOND, NULL));
  CHECK(scene.leaves == 2);
  OK(hostwheel_renew(scene.wheel, scene.returned, 0, NULL));
  OK(hostwheel_stats(scene.wheel, &stats, sizeof stats));
  CHECK(stats.live == 1 && stats.left == 1 && stats.outstanding == 0 && stats.superseded == 1);
  hostwheel_free(scene.wheel);
}

static void retry_until_success(void) {
  hostwheel_config_t config = manual_config(&the_log);
  hostwheel_t *wheel;
  const uint64_t delays[] = {1, 2, 4, 8, 16, 32, 60, 60};
  uint64_t at = 2;
  size_t n;
  hostwheel_stats_t stats;
  memset(&the_log, 0, sizeof the_log);
  config.grace_ns = 0;
  wheel = open_with(&config);
  announce(wheel, "a", SECOND, 1);
  the_log.verdict = HOSTWHEEL_VERDICT_RETRY;
  for (n = 0; n < sizeof delays / sizeof *delays; n++) {
    OK(hostwheel_advance(wheel, at * SECOND, NULL));
    CHECK(the_log.count == n + 1 && the_log.events[n].attempt == n + 1);
    at += delays[n];
    OK(hostwheel_advance(wheel, at * SECOND - 1000000, NULL));
    CHECK(the_log.count == n + 1);
  }
  the_log.verdict = 99; /* no verdict at all counts as a retry */
  OK(hostwheel_advance(wheel, at * SECOND, NULL));
  the_log.verdict = HOSTWHEEL_VERDICT_DONE;
  OK(hostwheel_advance(wheel, (at + 60) * SECOND, NULL));
  CHECK(the_log.count == n + 2);
  OK(hostwheel_stats(wheel, &stats, sizeof stats));
  CHECK(stats.outstanding == 0 && stats.retries == n + 1 && stats.leaves_ttl == 1);
  hostwheel_free(wheel);
}

static int readable(int fd) {
  struct pollfd entry;
  entry.fd = fd;
  entry.events = POLLIN;
  entry.revents = 0;
  CHECK(poll(&entry, 1, 0) >= 0);
  return entry.revents != 0;
}

static void settling(void) {
  hostwheel_config_t config = manual_config(NULL);
  hostwheel_t *wheel;
  hostwheel_event_t events[4];
  hostwheel_host_t host;
  size_t count = 77;
  uint64_t old, again;
  int fd = -1;
  config.grace_ns = 0;
  config.settle_timeout_ns = 9 * SECOND;
  config.max_hosts = 1;
  wheel = open_with(&config);
  OK(hostwheel_event_fd(wheel, &fd));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_event_fd(wheel, NULL));
  CHECK(fd >= 0 && !readable(fd));
  old = announce(wheel, "a", SECOND, 1);
  OK(hostwheel_advance(wheel, 2 * SECOND, &count));
  CHECK(count == 1 && readable(fd));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_drain(wheel, NULL, 1, &count));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_drain(wheel, events, 1, NULL));
  OK(hostwheel_drain(wheel, NULL, 0, &count));
  CHECK(count == 0 && readable(fd));
  OK(hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 1 && !readable(fd) && events[0].handle == old && events[0].attempt == 1);
  CHECK(events[0].id_len == 1 && events[0].id[0] == 'a');
  OK(hostwheel_inspect(wheel, old, &host, sizeof host));
  CHECK(host.state == HOSTWHEEL_STATE_TAKEN);
  RETURNS(HOSTWHEEL_ERR_FULL, hostwheel_announce(wheel, ID("b"), SECOND, 0, 0, NULL));
  RETURNS(HOSTWHEEL_ERR_ATTEMPT, hostwheel_settle(wheel, old, 2, HOSTWHEEL_VERDICT_DONE, 0));
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_settle(wheel, 1, 1, HOSTWHEEL_VERDICT_DONE, 0));

  /* Too late: it is handed out again, and the old attempt does not count. */
  OK(hostwheel_advance(wheel, 11 * SECOND, NULL));
  RETURNS(HOSTWHEEL_ERR_ATTEMPT, hostwheel_settle(wheel, old, 1, HOSTWHEEL_VERDICT_DONE, 0));
  OK(hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 1 && events[0].attempt == 2 && events[0].id[0] == 'a');
  OK(hostwheel_settle(wheel, old, 2, HOSTWHEEL_VERDICT_RETRY, 3 * SECOND));
  RETURNS(HOSTWHEEL_ERR_ATTEMPT, hostwheel_settle(wheel, old, 2, HOSTWHEEL_VERDICT_DONE, 0));
  OK(hostwheel_advance(wheel, 12 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 0);
  OK(hostwheel_advance(wheel, 14 * SECOND, NULL));
  OK(hostwheel_advance(wheel, 15 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 1 && events[0].attempt == 3 && events[0].id[0] == 'a');
  OK(hostwheel_settle(wheel, old, 3, HOSTWHEEL_VERDICT_DONE, 0));
  /* Twice: before the wheel has looked, and after. */
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_settle(wheel, old, 3, HOSTWHEEL_VERDICT_DONE, 0));
  OK(hostwheel_advance(wheel, 16 * SECOND, NULL));
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_settle(wheel, old, 3, HOSTWHEEL_VERDICT_DONE, 0));

  /* After the record's reuse. */
  again = announce(wheel, "b", SECOND, 2);
  CHECK(again != old);
  OK(hostwheel_advance(wheel, 18 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 1 && events[0].handle == again);
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_settle(wheel, old, 1, HOSTWHEEL_VERDICT_DONE, 0));
  OK(hostwheel_settle(wheel, again, 1, HOSTWHEEL_VERDICT_DONE, 0));

  /* After close what was made before is given out. */
  OK(hostwheel_advance(wheel, 19 * SECOND, NULL));
  announce(wheel, "c", SECOND, 3);
  OK(hostwheel_advance(wheel, 21 * SECOND, NULL));
  OK(hostwheel_close(wheel, SECOND));
  OK(hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 1 && events[0].user_data == 3);
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 1 && readable(fd));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_settle(wheel, events[0].handle, 1, HOSTWHEEL_VERDICT_DONE, 0));
  hostwheel_free(wheel);
}

/* The brake, and its release, through the ABI. */
static void braking(void) {
  hostwheel_config_t config = manual_config(&the_log);
  hostwheel_t *wheel;
  hostwheel_stats_t stats;
  hostwheel_host_t host;
  uint64_t handle = 0;
  char id[16];
  int n;
  size_t gone;
  memset(&the_log, 0, sizeof the_log);
  config.grace_ns = 0;
  config.brake_burst_min = 2;
  config.brake_refill_permille = 0;
  config.brake_refill_min = 1;
  wheel = open_with(&config);
  for (n = 0; n < 10; n++) {
    snprintf(id, sizeof id, "%d", n);
    announce(wheel, id, SECOND, 0);
  }
  OK(hostwheel_advance(wheel, 2 * SECOND, NULL));
  /* A guard event, which comes first, and two leaves. */
  gone = the_log.count;
  CHECK(gone == 3 && the_log.events[0].kind == HOSTWHEEL_EVENT_GUARD);
  CHECK(the_log.events[0].reason == HOSTWHEEL_GUARD_BRAKE_BEGAN && the_log.events[0].user_data == 8);
  CHECK(the_log.events[0].handle == 0 && the_log.events[0].id != NULL && the_log.events[0].id_len == 0);
  CHECK(the_log.events[0].now_ns == 2 * SECOND && the_log.events[0].last_seen_ns == 2 * SECOND);
  OK(hostwheel_stats(wheel, &stats, sizeof stats));
  CHECK(stats.waiting == 8);
  for (n = 0; n < 10; n++) {
    snprintf(id, sizeof id, "%d", n);
    if (hostwheel_find(wheel, ID(id), &handle) == 0) {
      break;
    }
  }
  OK(hostwheel_inspect(wheel, handle, &host, sizeof host));
  CHECK(host.held_by == HOSTWHEEL_HELD_BRAKE && host.held_since_ns == 2 * SECOND);
  OK(hostwheel_advance(wheel, 62 * SECOND, NULL));
  CHECK(the_log.count == 4 && the_log.events[3].brake_ns == 60 * SECOND);
  OK(hostwheel_release(wheel));
  OK(hostwheel_advance(wheel, 63 * SECOND, NULL));
  CHECK(the_log.count == 12);
  for (gone = 0; gone < 12 && the_log.events[gone].reason != HOSTWHEEL_GUARD_BRAKE_ENDED; gone++) {
  }
  CHECK(gone < 12 && the_log.events[gone].kind == HOSTWHEEL_EVENT_GUARD);
  CHECK(the_log.events[gone].last_seen_ns == 2 * SECOND && the_log.events[gone].away_ns == 61 * SECOND);
  OK(hostwheel_stats(wheel, &stats, sizeof stats));
  CHECK(stats.waiting == 0 && stats.brake_ns >= 60 * SECOND && stats.silences == 0);
  hostwheel_free(wheel);
}

/* Guard events are drained before those of hosts. */
static void guards_are_drained(void) {
  hostwheel_config_t config = manual_config(NULL);
  hostwheel_event_t events[4];
  hostwheel_t *wheel;
  size_t count;
  config.delivery = HOSTWHEEL_DELIVERY_DRAIN;
  config.on_event = NULL;
  config.watchdog_ns = SECOND;
  wheel = open_with(&config);
  announce(wheel, "a", SECOND, 1);
  OK(hostwheel_advance(wheel, 0, NULL));
  OK(hostwheel_advance(wheel, 60 * SECOND, NULL));
  OK(hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 1 && events[0].kind == HOSTWHEEL_EVENT_GUARD && events[0].reason == HOSTWHEEL_GUARD_AWAY);
  CHECK(events[0].away_ns > 59 * SECOND && events[0].last_seen_ns < SECOND);
  OK(hostwheel_drain(wheel, events, 4, &count));
  CHECK(count == 0);
  hostwheel_free(wheel);
}

/* A host that came back as another process. */
static void replacing(void) {
  hostwheel_config_t config = manual_config(&the_log);
  hostwheel_announced_t announced;
  hostwheel_t *wheel;
  uint64_t old, ended = 7, data = 7;
  wheel = open_with(&config);
  OK(hostwheel_replace(wheel, ID("a"), SECOND, 1, &announced, &ended, &data));
  CHECK(announced.outcome == HOSTWHEEL_OUTCOME_REGISTERED && ended == 0 && data == 7);
  old = announced.handle;
  OK(hostwheel_replace(wheel, ID("a"), 9 * SECOND, 2, &announced, &ended, &data));
  CHECK(ended == old && data == 1 && announced.handle != old && announced.interval_ns == 9 * SECOND);
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_leave_handle(wheel, old, NULL));
  OK(hostwheel_replace(wheel, ID("a"), SECOND, 3, NULL, NULL, NULL));
  RETURNS(HOSTWHEEL_ERR_STALE, hostwheel_renew(wheel, announced.handle, 0, NULL));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_replace(NULL, ID("a"), SECOND, 3, NULL, NULL, NULL));
  RETURNS(HOSTWHEEL_ERR_NULL_ARG, hostwheel_replace(wheel, NULL, 1, SECOND, 3, NULL, NULL, NULL));
  RETURNS(HOSTWHEEL_ERR_ID_LENGTH, hostwheel_replace(wheel, (const uint8_t *)"", 0, SECOND, 3, &announced, &ended, &data));
  OK(hostwheel_close(wheel, 0));
  RETURNS(HOSTWHEEL_ERR_CLOSED, hostwheel_replace(wheel, ID("a"), SECOND, 3, NULL, NULL, NULL));
  hostwheel_free(wheel);
}

/* A cut of 1,000 hosts of 300 s in the default configuration costs nobody, whatever their phases. */
static void a_cut_costs_nobody(void) {
  hostwheel_config_t config = manual_config(&the_log);
  hostwheel_t *wheel;
  hostwheel_stats_t stats;
  char id[16];
  uint64_t at;
  int n;
  memset(&the_log, 0, sizeof the_log);
  OK(hostwheel_config_init(&config, sizeof config));
  config.clock = HOSTWHEEL_CLOCK_MANUAL;
  config.watchdog_ns = 0;
  config.on_event = log_events;
  config.ctx = &the_log;
  wheel = open_with(&config);
  /* Host n announces at 0.3 n s of each interval; all are heard until 1000 s, and again from 2000 s on. */
  for (at = 0; at <= 3000; at++) {
    OK(hostwheel_advance(wheel, at * SECOND, NULL));
    for (n = 0; n < 1000 && (at <= 1000 || at >= 2000); n++) {
      if ((uint64_t)n * 3 / 10 == at % 300) {
        snprintf(id, sizeof id, "%d", n);
        announce(wheel, id, 300 * SECOND, 0);
      }
    }
  }
  OK(hostwheel_stats(wheel, &stats, sizeof stats));
  CHECK(stats.live == 1000 && stats.leaves_ttl == 0 && stats.silences == 1 && stats.suspect == 0);
  hostwheel_free(wheel);
}

int main(void) {
  guards_are_drained();
  replacing();
  a_cut_costs_nobody();
  a_callback_that_calls_back();
  retry_until_success();
  settling();
  braking();
  return 0;
}
