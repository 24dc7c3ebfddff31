/* What all C tests share: checks that name themselves, and a wheel on the manual clock with a log of its events. */
#ifndef HOSTWHEEL_TEST_CHECK_H
#define HOSTWHEEL_TEST_CHECK_H

#include <hostwheel.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(holds)                                                                                                   \
  do {                                                                                                                 \
    if (!(holds)) {                                                                                                    \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #holds);                                              \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

/* The code that a call must return. */
#define RETURNS(code, call)                                                                                            \
  do {                                                                                                                 \
    int32_t returned = (call);                                                                                         \
    if (returned != (code)) {                                                                                          \
      fprintf(stderr, "%s:%d: %s returned %d (%s), not %d\n", __FILE__, __LINE__, #call, (int)returned,                \
              hostwheel_strerror(returned), (int)(code));                                                              \
      exit(1);                                                                                                         \
    }                                                                                                                  \
  } while (0)

#define OK(call) RETURNS(0, call)

#define SECOND UINT64_C(1000000000)

/* An id and its length, as two arguments. */
#define ID(text) (const uint8_t *)(text), strlen(text)

#define LOG_MAX 4096

/* Events of a wheel that calls back. Zero it, hand it in as ctx. */
struct log {
  hostwheel_event_t events[LOG_MAX];
  uint8_t ids[LOG_MAX][16];
  size_t count;
  /* The verdict of the next leaves. */
  uint32_t verdict;
  uint64_t retry_after_ns;
  uint64_t released[LOG_MAX];
  size_t releases;
};

static void log_events(void *ctx, hostwheel_event_t *events, size_t count) {
  struct log *log = (struct log *)ctx;
  size_t i;
  for (i = 0; i < count; i++) {
    CHECK(log->count < LOG_MAX);
    log->events[log->count] = events[i];
    memcpy(log->ids[log->count], events[i].id, events[i].id_len < 16 ? events[i].id_len : 16);
    log->count++;
    if (events[i].kind == HOSTWHEEL_EVENT_LEAVE) {
      events[i].verdict = log->verdict;
      events[i].retry_after_ns = log->retry_after_ns;
    }
  }
}

static void log_release(void *ctx, uint64_t user_data) {
  struct log *log = (struct log *)ctx;
  CHECK(log->releases < LOG_MAX);
  log->released[log->releases++] = user_data;
}

/* A configuration on the manual clock, all time counted, no guards, events into the log (NULL: drained). */
static hostwheel_config_t manual_config(struct log *log) {
  hostwheel_config_t config;
  OK(hostwheel_config_init(&config, sizeof config));
  config.clock = HOSTWHEEL_CLOCK_MANUAL;
  config.watchdog_ns = 0;
  config.brake_burst_permille = 0;
  config.brake_burst_min = 0;
  config.silence_expected = 0;
  if (log != NULL) {
    config.on_event = log_events;
    config.ctx = log;
  } else {
    config.delivery = HOSTWHEEL_DELIVERY_DRAIN;
  }
  return config;
}

static hostwheel_t *open_with(const hostwheel_config_t *config) {
  hostwheel_t *wheel = NULL;
  OK(hostwheel_open(config, &wheel));
  CHECK(wheel != NULL);
  return wheel;
}

static uint64_t announce(hostwheel_t *wheel, const char *id, uint64_t interval_ns, uint64_t user_data) {
  hostwheel_announced_t announced;
  OK(hostwheel_announce(wheel, ID(id), interval_ns, 0, user_data, &announced));
  return announced.handle;
}

/* How many of the logged events are of a kind. */
static size_t logged(const struct log *log, uint32_t kind) {
  size_t i, found = 0;
  for (i = 0; i < log->count; i++) {
    found += log->events[i].kind == kind;
  }
  return found;
}

/* Not every test uses everything. */
static inline void check_unused(void) {
  (void)log_release;
  (void)manual_config;
  (void)open_with;
  (void)announce;
  (void)logged;
  (void)check_unused;
}

#endif
